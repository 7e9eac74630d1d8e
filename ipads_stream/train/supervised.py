"""Supervised training on a stream (article Eq. 8-9), bounded by steps, samples or time."""

import logging
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, Timer, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import check, choice, flag, number, whole
from ipads_stream.core.files import cut_log
from ipads_stream.core.handover import network_device, torch_threads
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.callbacks import FailureLog, Interrupt, Saving, ShareLog
from ipads_stream.train.checkpoint import UNREADABLE, read_checkpoint
from ipads_stream.train.lightning_data import StreamDataModule
from ipads_stream.train.placement import Placement, placement
from ipads_stream.train.tracker import LOG, finish, is_first_process
from ipads_stream.train.training import Training

FLOOR = 0.005  # of the learning rate at the end of the budget
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # Lightning refuses samples in 64-true
Streams = tuple[Stream, Stream]
MakeStream = Callable[[System, str, int | None], Stream]


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
        devices: processes on each node; more than one in all train with DDP, sharding the stream.
            None: as many as torchrun or SLURM started.
        num_threads: of torch on the CPU; small networks are fastest with one, and leave the other
            processors to the stream.
        val_every: steps between validations; 0: none.
        val_samples: samples of the validation split, in whole batches.
        save_every: s between checkpoints.
        log_every: steps from one that is logged to the next.
        bar: show a progress bar.
    """

    learning_rate: float = number(4e-3, low=1e-12, high=10)
    warmup: float = number(0.05, low=0, high=1)
    weight_decay: float = number(0.0, low=0, high=10)
    clip: float = number(1.0, low=1e-12, infinite=True)
    max_steps: int | None = whole(None, low=1, optional=True)
    max_samples: int | None = whole(None, low=1, optional=True)
    max_time: float | None = number(None, low=1e-3, high=1e9, optional=True)
    precision: str = choice("32-true", among=PRECISIONS)
    devices: int | None = whole(1, low=1, high=4096, optional=True)
    num_threads: int = whole(1, low=1, high=4096)
    val_every: int = whole(500, low=0)
    val_samples: int = whole(256, low=1)
    save_every: float = number(60.0, low=1e-3, infinite=True)
    log_every: int = whole(1, low=1)
    bar: bool = flag(True)

    training: ClassVar[type[Training]] = Training

    def __post_init__(self) -> None:
        check(self)
        if self.max_steps is None and self.max_samples is None and self.max_time is None:
            raise ConfigError("max_steps", None, "a budget: max_steps, max_samples or max_time")

    @property
    def processes(self) -> int:
        """That train together, on all nodes."""
        return placement(self.devices).processes

    @property
    def passes(self) -> int:
        """Of a sample through the network in one step, all kept for its gradient."""
        return 1

    def streams(self, system: System, make: MakeStream) -> Streams:
        """The stream to train on, and the held-out one.

        Args:
            system: that simulates.
            make: (system, split, batch size or None for the run's) -> stream.
        """
        return make(system, "train", None), make(system, "validation", None)

    def check_processors(self) -> None:
        """Raises ConfigError of more processes or threads than help."""
        most = 16 * (os.cpu_count() or 1)
        counts = {"trainer.devices": self.devices, "trainer.num_threads": self.num_threads}
        for key, count in counts.items():
            if count is not None and count > most:
                raise ConfigError(key, count, f"at most {most} on this machine")

    def prepare(self, net: torch.nn.Module, config: dict[str, Any]) -> None:
        """What is done to the network of a run before it trains."""

    def callbacks(self, output: Path) -> list[Callback]:
        """What this trainer does besides, in Lightning's loop."""
        return []

    def run(self, trainer: Trainer, module: Training, data: StreamDataModule, path: Any) -> None:
        """Runs the loop, from the start or, where there is one, from a checkpoint's path."""
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)

    def fit(
        self,
        *,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        validation: Stream,
        config: dict[str, Any],
        output: Path,
        open_loggers: Callable[[], list[Logger]],
        callbacks: Sequence[Callback] = (),
        resume: str | Path | None = None,
    ) -> bool:
        """Trains ``net`` and leaves ``run.ckpt`` and what the loggers write in ``output``.

        Returns:
            Whether the budget was used up; False after an interrupt (which saves, too).
        """
        place = placement(self.devices)
        if self.devices not in (None, place.devices):
            allowed = f"{place.devices}, as many as were started on each node, or null"
            raise ConfigError("trainer.devices", self.devices, allowed)
        self.check_processors()
        device = network_device(config["device"])
        if device.startswith("cuda:") and place.processes > 1:
            allowed = "cuda: each of several processes has a GPU of its own"
            raise ConfigError("device", device, allowed)
        if stream.batch_size % place.processes:
            allowed = f"a divisor of stream.batch_size={stream.batch_size}"
            raise ConfigError("trainer.devices", place.processes, allowed)
        steps = self.steps(stream.batch_size)
        if resume is not None:
            before = read_checkpoint(resume)
            self._check_budget(before, stream.batch_size)
            stream.load_state_dict(before["stream"])
            if is_first_process() and output.resolve() == Path(resume).resolve().parent:
                for log in output.glob("*.jsonl"):  # what came after the checkpoint comes again
                    step = before["steps"] if log.name == LOG else before["stream"]["step"]
                    cut_log(log, step)
        timer = None if self.max_time is None else Timer(timedelta(seconds=self.max_time))

        def rate(step: int) -> float:
            elapsed = 0.0 if timer is None else timer.time_elapsed()
            return self.rate(self.progress(step, steps, elapsed))

        self.prepare(net, config)
        module = self.training(self, net, loss, stream, config, rate)
        module.first_step = 0 if resume is None else before["steps"]
        data = StreamDataModule(stream, validation, val_samples=self.val_samples)
        interrupt = Interrupt()
        hooks: list[Callback] = [
            interrupt,
            Saving(output / "run.ckpt", every=self.save_every),
            FailureLog(output),
            ShareLog(output, stream),
            *self.callbacks(output),
            *callbacks,
            *([TQDMProgressBar(refresh_rate=10)] if self.bar else []),
            *([timer] if timer is not None else []),
        ]
        try:
            with warnings.catch_warnings(), torch_threads(self.num_threads):
                # Lightning's own: it uses what torch deprecates, and asks for worker processes, for
                # srun where SLURM is installed, and for a GPU where device=cpu was chosen.
                warnings.filterwarnings("ignore", module="lightning")
                warnings.filterwarnings("ignore", "GPU available but not used")
                trainer = self._trainer(place, device, steps, hooks, open_loggers(), output)
                self.run(trainer, module, data, None if resume is None else str(resume))
        except UNREADABLE as error:
            if resume is None or module.has_begun or isinstance(error, (ConfigError, OSError)):
                raise
            reason = " ".join(str(error).split())[:200]
            allowed = f"a checkpoint that training can go on from ({reason})"
            raise ConfigError("resume", str(resume), allowed) from error
        except SystemExit:  # how Lightning ends on a Ctrl-C that it catches itself
            raise KeyboardInterrupt from None
        finally:
            finish()
        interrupt.pass_on()
        return not interrupt.requested

    def _trainer(
        self,
        place: Placement,
        device: str,
        steps: int | None,
        hooks: list[Callback],
        logs: list[Logger],
        output: Path,
    ) -> Trainer:
        # What Lightning says of the machine belongs to ``doctor``, not into every run.
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        return Trainer(
            accelerator="cpu" if device == "cpu" else "gpu",
            devices=[int(device[5:])] if device.startswith("cuda:") else place.devices,
            num_nodes=place.nodes,
            plugins=place.launcher,
            strategy="ddp" if place.processes > 1 else "auto",
            precision=self.precision,  # type: ignore[arg-type]
            max_steps=-1 if steps is None else steps,
            max_epochs=-1,
            gradient_clip_val=self.clip,
            logger=logs,
            callbacks=hooks,
            log_every_n_steps=self.log_every,
            val_check_interval=self.val_every or None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if self.val_every else 0,
            num_sanity_val_steps=0,
            inference_mode=False,  # meta-learning adapts, by gradients, while it validates
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in hooks),
            enable_model_summary=False,
            enable_progress_bar=self.bar,
            default_root_dir=str(output),
        )

    def is_used_up(self, before: dict[str, Any], batch_size: int) -> bool:
        """Whether the run of a checkpoint has had its budget."""
        steps = self.steps(batch_size)
        by_time = self.max_time is not None and before["elapsed"] >= self.max_time
        return by_time or (steps is not None and before["steps"] >= steps)

    def _check_budget(self, before: dict[str, Any], batch_size: int) -> None:
        """Refuses a budget that the run has already used up."""
        if not self.is_used_up(before, batch_size):
            return
        steps, done = self.steps(batch_size), before["steps"]
        if steps is not None and done >= steps:
            allowed = f"more than the {done} steps that the run has; raise it to go on"
            raise ConfigError("trainer.max_steps", steps, allowed)
        allowed = f"more than the {before['elapsed']:.0f} s that the run has; raise it to go on"
        raise ConfigError("trainer.max_time", self.max_time, allowed)

    def steps(self, batch_size: int) -> int | None:
        """Of the budget, with batches of this size; None: time alone bounds it."""
        by_samples = None if self.max_samples is None else -(-self.max_samples // batch_size)
        limits = [limit for limit in (self.max_steps, by_samples) if limit is not None]
        return min(limits, default=None)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        """Parameters that are trained, in groups for the optimizer."""
        return [{"params": list(net.parameters())}]

    def optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        """AdamW with a short memory of squared gradients, which suits short budgets."""
        groups, rate, decay = self.groups(net), self.learning_rate, self.weight_decay
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=decay)

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
