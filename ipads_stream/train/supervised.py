"""Supervised training on a stream (article Eq. 8-9), bounded by steps, samples or time."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Timer, TQDMProgressBar
from torch import Tensor

from ipads_stream import __version__
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import torch_threads
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.train.checkpoint import EXTRA, read_checkpoint
from ipads_stream.train.interrupt import Interrupt
from ipads_stream.train.saving import Saving
from ipads_stream.train.tracker import finish, loggers

FLOOR = 0.005  # of the learning rate at the end of the budget


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """AdamW with a cosine learning rate over the budget, on batches that never repeat.

    Attributes:
        learning_rate: highest, reached after ``warmup``.
        warmup: share of the budget over which the rate rises from zero.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        max_steps, max_samples: budget; exactly reproducible.
        max_time: s, budget; the learning rate then depends on the machine's speed.
        precision: Lightning's name, e.g. "32-true", "bf16-mixed".
        devices: processes; more than one trains with DDP, sharding the stream.
        num_threads: of torch on the CPU; small networks are fastest with one, and leave the other
            processors to the stream.
        val_every: steps between validations; 0: none.
        val_samples: samples of the validation split.
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
        for name, low, high in (
            ("learning_rate", 0.0, 10.0),
            ("warmup", -1e-9, 1.0),
            ("weight_decay", -1e-9, 10.0),
            ("clip", 0.0, math.inf),
            ("save_every", 0.0, math.inf),
            ("max_steps", 0.0, math.inf),
            ("max_samples", 0.0, math.inf),
            ("max_time", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if value is None and name.startswith("max_"):
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not low < value <= high:
                allowed = f"a number above {max(low, 0.0):g}" if low >= 0 else "at least 0"
                raise ConfigError(name, value, allowed)
        for name, lowest in (
            ("max_steps", 1),
            ("max_samples", 1),
            ("devices", 1),
            ("num_threads", 1),
            ("val_every", 0),
            ("val_samples", 1),
        ):
            value = getattr(self, name)
            if value is None and name.startswith("max_"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(name, value, f"a whole number, at least {lowest}")
        if self.max_steps is None and self.max_samples is None and self.max_time is None:
            raise ConfigError("max_steps", None, "a budget: max_steps, max_samples or max_time")

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
        # What Lightning found in the machine is doctor's to tell, not every run's.
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        steps = self._steps(stream.batch_size)
        timer = None if self.max_time is None else Timer(timedelta(seconds=self.max_time))
        training = _Training(self, net, loss, stream, config, steps, timer)
        interrupt = Interrupt()
        saving = Saving(output / "run.ckpt", every=self.save_every)
        callbacks: list[Callback] = [interrupt, saving]
        if self.bar:
            callbacks.append(TQDMProgressBar(refresh_rate=10))
        if timer is not None:
            callbacks.append(timer)
        if resume is not None:
            stream.load_state_dict(read_checkpoint(resume)["stream"])
        trainer = Trainer(
            accelerator="gpu" if stream.device == "cuda" else "cpu",
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
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=self.bar,
            default_root_dir=str(output),
        )
        try:
            with warnings.catch_warnings(), torch_threads(self.num_threads):
                # Lightning's own: it uses what torch deprecates, and asks for worker processes.
                warnings.filterwarnings("ignore", module="lightning")
                trainer.fit(
                    training,
                    train_dataloaders=_Endless(stream),
                    val_dataloaders=_Held(validation, self.val_samples),
                    ckpt_path=None if resume is None else str(resume),
                    weights_only=True,
                )
        finally:
            finish()
        return not interrupt.requested

    def _steps(self, batch_size: int) -> int | None:
        by_samples = None if self.max_samples is None else -(-self.max_samples // batch_size)
        limits = [limit for limit in (self.max_steps, by_samples) if limit is not None]
        return min(limits, default=None)

    def rate(self, progress: float) -> float:
        """Learning rate at a share of the budget: linear rise, then half a cosine to 0.5 %."""
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        share = (progress - self.warmup) / max(1.0 - self.warmup, 1e-9)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
        return self.learning_rate * (FLOOR + (1.0 - FLOOR) * cosine)


class _Training(LightningModule):
    def __init__(
        self,
        settings: Supervised,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        steps: int | None,
        timer: Timer | None,
    ) -> None:
        super().__init__()
        self.net, self.loss = net, loss
        self.settings, self.stream, self.config = settings, stream, config
        self.steps, self.timer = steps, timer
        self.next_step = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            self.net.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )

    def progress(self) -> float:
        """Share of the budget used: of the steps, or of the time, whichever is nearer its end."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(self.global_step / self.steps)
        if self.timer is not None and self.settings.max_time is not None:
            shares.append(self.timer.time_elapsed() / self.settings.max_time)
        return max(shares)

    def on_train_batch_start(self, batch: Sample, batch_idx: int) -> None:
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = self.settings.rate(self.progress())

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        terms = self.loss(self.net(batch.inputs), batch)
        total = torch.stack(list(terms.values())).sum(0)
        loss = _weighted(total, batch.weight)
        timings = self.stream.timings
        worst = int(total.detach().argmax())
        assert batch.provenance is not None
        indices, self.next_step = batch.provenance.indices, batch.provenance.step + 1
        shared = self.trainer.world_size > 1
        self.log("loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=shared)
        self.log_dict(
            {
                **{f"loss/{name}": _weighted(term, batch.weight) for name, term in terms.items()},
                "learning_rate": self.settings.rate(self.progress()),
                "stream/wait_s": timings.wait,
                "stream/generation_s": timings.generation,
                "stream/step_s": timings.step,
                "stream/queued": float(timings.queued),
                "stream/samples_per_s": timings.samples / max(timings.step, 1e-9),
                "stream/failures": float(len(self.stream.failures)),
                # float32, Lightning's default, would round indices above 2^24.
                "worst/index": torch.tensor(float(indices[worst]), dtype=torch.double),
                "worst/loss": total.detach()[worst],
            },
            batch_size=len(batch),
        )
        self.log("stall", timings.stall, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        terms = self.loss(self.net(batch.inputs), batch)
        last = list(terms.values())[-1]
        total = torch.stack(list(terms.values())).sum(0)
        self.log("val/loss", _weighted(total, batch.weight), batch_size=len(batch), sync_dist=True)
        self.log("val/last_phase", _weighted(last, batch.weight), batch_size=len(batch),
                 prog_bar=True, sync_dist=True)  # fmt: skip

    def transfer_batch_to_device(self, batch: Sample, device: Any, dataloader_idx: int) -> Sample:
        return batch  # the stream made it where it is needed

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning asks for one batch ahead: what counts is what was trained on.
        checkpoint[EXTRA] = {
            "config": self.config,
            "stream": self.stream.state_at(self.next_step),
            "version": __version__,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.next_step = checkpoint[EXTRA]["stream"]["step"]


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


class _Endless:
    """The stream without its state methods: the checkpoint holds the state of what was trained."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.stream)


class _Held:
    """The first samples of the validation split, the same each time."""

    def __init__(self, stream: Stream, num_samples: int) -> None:
        self.stream, self.batches = stream, max(1, num_samples // stream.batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Sample]:
        return (self.stream.batch(step) for step in range(self.batches))
