"""Checkpoints while training: now and then, and at the end however it comes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.train.checkpoint import save


class Saving(Callback):
    """Saves to ``path`` about every ``every`` seconds, and when training ends."""

    def __init__(self, path: Path, *, every: float) -> None:
        self.path, self.every = path, every
        self._last = time.monotonic()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Saving is collective: all ranks must agree that it is time.
        due = time.monotonic() - self._last > self.every
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            save(trainer, self.path)
            self._last = time.monotonic()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        save(trainer, self.path)
