"""Supervised training on a stream (article Eq. 8-9), bounded by steps, samples or time."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Timer, TQDMProgressBar

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import torch_threads
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.failure_log import FailureLog
from ipads_stream.train.interrupt import Interrupt
from ipads_stream.train.saving import Saving
from ipads_stream.train.tracker import finish, loggers
from ipads_stream.train.training import Training

FLOOR = 0.005  # of the learning rate at the end of the budget
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
LIMITS: dict[str, tuple[str, float, float]] = {
    "learning_rate": ("number", 1e-12, 10),
    "warmup": ("number", 0, 1),
    "weight_decay": ("number", 0, 10),
    "clip": ("number", 1e-12, math.inf),
    "save_every": ("number", 1e-3, math.inf),
    "max_time": ("number", 1e-3, math.inf),
    "max_steps": ("whole number", 1, math.inf),
    "max_samples": ("whole number", 1, math.inf),
    "devices": ("whole number", 1, 4096),
    "num_threads": ("whole number", 1, 4096),
    "val_every": ("whole number", 0, math.inf),
    "val_samples": ("whole number", 1, math.inf),
}

Rows = np.ndarray
Streams = tuple[Stream, Stream]
MakeStream = Callable[[System, str, int | None], Stream]


def check_numbers(trainer: Any, limits: dict[str, tuple[str, float, float]]) -> None:
    """Refuses a trainer's numbers outside their limits: name -> kind, lowest, highest."""
    for name, (kind, lowest, highest) in limits.items():
        value = getattr(trainer, name)
        if value is None and name.startswith("max_"):
            continue
        wanted = (int,) if kind == "whole number" else (int, float)
        is_number = isinstance(value, wanted) and not isinstance(value, bool)
        if not is_number or not lowest <= value <= highest:
            bounds = f"{lowest:g} to {highest:g}" if highest < math.inf else f"{lowest:g} or more"
            raise ConfigError(name, value, f"a {kind}, {bounds}")


def refuse_rows(rows: Rows | None) -> None:
    """Refuses measured signals, for trainers that would not look at them."""
    if rows is not None:
        raise ConfigError("data", f"{len(rows)} rows", "null; trainer=transfer trains on them")


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """AdamW with a cosine learning rate over the budget, on batches that never repeat.

    Attributes:
        learning_rate: highest, reached after ``warmup``.
        warmup: share of the budget over which the rate rises from zero.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        max_steps, max_samples: budget; exactly reproducible.
        max_time: s, budget; the learning rate then depends on the machine's speed. A budget that
            grows on resume stretches the cosine: the rate steps up to that of the longer one.
        precision: Lightning's name, e.g. "32-true", "bf16-mixed".
        devices: processes; more than one trains with DDP, sharding the stream.
        num_threads: of torch on the CPU; small networks are fastest with one, and leave the other
            processors to the stream.
        val_every: steps between validations; 0: none.
        val_samples: samples of the validation split, in whole batches.
        save_every: s between checkpoints.
        bar: show a progress bar.
    """

    learning_rate: float = 4e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    max_steps: int | None = None
    max_samples: int | None = None
    max_time: float | None = None
    precision: str = "32-true"
    devices: int = 1
    num_threads: int = 1
    val_every: int = 500
    val_samples: int = 256
    save_every: float = 60.0
    bar: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, LIMITS)
        if self.precision not in PRECISIONS:
            raise ConfigError("precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        if not isinstance(self.bar, bool):
            raise ConfigError("bar", self.bar, "true or false")
        if self.max_steps is None and self.max_samples is None and self.max_time is None:
            raise ConfigError("max_steps", None, "a budget: max_steps, max_samples or max_time")

    def streams(self, system: System, make: MakeStream, rows: Rows | None) -> Streams:
        """The stream to train on, and the held-out one.

        Args:
            system: that simulates.
            make: (system, split, batch size or None for the run's) -> stream.
            rows: measured signals of the run, where it names any.

        Raises:
            ConfigError: measured signals, which this trainer does not train on.
        """
        refuse_rows(rows)
        return make(system, "train", None), make(system, "validation", None)

    def module(
        self,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        rate: Callable[[int], float],
    ) -> Training:
        """What one step does; the arguments are those of Training."""
        return Training(net, loss, stream, config, self.optimizer, rate)

    def callbacks(self, output: Path) -> list[Callback]:
        """What this trainer does besides, in Lightning's loop."""
        return []

    def run(
        self, trainer: Trainer, module: Training, held: Held, resume: str | Path | None
    ) -> None:
        """Runs the loop, from the start or from a checkpoint."""
        trainer.fit(
            module,
            train_dataloaders=_Endless(module.stream),
            val_dataloaders=held,
            ckpt_path=None if resume is None else str(resume),
            weights_only=True,
        )

    def fit(
        self,
        *,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        validation: Stream,
        config: dict[str, Any],
        output: Path,
        resume: str | Path | None = None,
    ) -> bool:
        """Trains ``net`` and leaves ``run.ckpt``, ``metrics.jsonl`` and the W&B run in ``output``.

        Returns:
            Whether the budget was used up; False after an interrupt (which saves, too).
        """
        if stream.batch_size % self.devices:
            allowed = f"a divisor of stream.batch_size={stream.batch_size}"
            raise ConfigError("trainer.devices", self.devices, allowed)
        steps = self._steps(stream.batch_size)
        if resume is not None:
            before = read_checkpoint(resume)
            self._check_budget(before["steps"], steps, before["elapsed"])
            stream.load_state_dict(before["stream"])
        timer = None if self.max_time is None else Timer(timedelta(seconds=self.max_time))

        def rate(step: int) -> float:
            elapsed = 0.0 if timer is None else timer.time_elapsed()
            return self.rate(self.progress(step, steps, elapsed))

        interrupt = Interrupt()
        callbacks: list[Callback] = [
            interrupt,
            Saving(output / "run.ckpt", every=self.save_every),
            FailureLog(output),
            *self.callbacks(output),
            *([TQDMProgressBar(refresh_rate=10)] if self.bar else []),
            *([timer] if timer is not None else []),
        ]
        trainer = self._trainer(stream.device, steps, callbacks, config, output)
        try:
            with warnings.catch_warnings(), torch_threads(self.num_threads):
                # Lightning's own: it uses what torch deprecates, and asks for worker processes.
                warnings.filterwarnings("ignore", module="lightning")
                module = self.module(net, loss, stream, config, rate)
                self.run(trainer, module, Held(validation, self.val_samples), resume)
        except SystemExit:  # how Lightning ends on a Ctrl-C that it catches itself
            raise KeyboardInterrupt from None
        finally:
            finish()
        return not interrupt.requested

    def _trainer(
        self,
        device: str,
        steps: int | None,
        callbacks: list[Callback],
        config: dict[str, Any],
        output: Path,
    ) -> Trainer:
        # What Lightning found in the machine is doctor's to tell, not every run's.
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        return Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=self.devices,
            strategy="ddp" if self.devices > 1 else "auto",
            precision=self.precision,  # type: ignore[arg-type]
            max_steps=-1 if steps is None else steps,
            max_epochs=-1,
            gradient_clip_val=self.clip,
            logger=loggers(config["logger"], config, output),
            callbacks=callbacks,
            log_every_n_steps=1,
            val_check_interval=self.val_every or None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if self.val_every else 0,
            num_sanity_val_steps=0,
            inference_mode=False,  # meta-learning adapts, by gradients, while it validates
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=self.bar,
            default_root_dir=str(output),
        )

    def _check_budget(self, done: int, steps: int | None, elapsed: float) -> None:
        """A run whose budget is used up has nothing to go on with."""
        if steps is not None and done >= steps:
            allowed = f"more than the {done} steps that the run has; raise it to go on"
            raise ConfigError("trainer.max_steps", steps, allowed)
        if self.max_time is not None and elapsed >= self.max_time:
            allowed = f"more than the {elapsed:.0f} s that the run has; raise it to go on"
            raise ConfigError("trainer.max_time", self.max_time, allowed)

    def _steps(self, batch_size: int) -> int | None:
        by_samples = None if self.max_samples is None else -(-self.max_samples // batch_size)
        limits = [limit for limit in (self.max_steps, by_samples) if limit is not None]
        return min(limits, default=None)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        """Parameters that are trained, in groups for the optimizer."""
        return [{"params": list(net.parameters())}]

    def optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        """AdamW with a short memory of squared gradients, which suits short budgets."""
        return torch.optim.AdamW(
            self.groups(net),
            lr=self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.weight_decay,
        )

    def progress(self, step: int, steps: int | None, elapsed: float) -> float:
        """Share of the budget used: of the steps, or of the time, whichever is nearer its end."""
        by_steps = 0.0 if steps is None else step / steps
        by_time = 0.0 if self.max_time is None else elapsed / self.max_time
        return max(by_steps, by_time)

    def rate(self, progress: float) -> float:
        """Learning rate at a share of the budget: linear rise, then half a cosine to 0.5 %."""
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        share = (progress - self.warmup) / max(1.0 - self.warmup, 1e-9)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
        return self.learning_rate * (FLOOR + (1.0 - FLOOR) * cosine)


class _Endless:
    """The stream without its state methods: the checkpoint holds the state of what was trained."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.stream)


class Held:
    """The first samples of the validation split, the same each time."""

    def __init__(self, stream: Stream, num_samples: int) -> None:
        self.stream, self.batches = stream, max(1, num_samples // stream.batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Sample]:
        return (self.stream.batch(step) for step in range(self.batches))
