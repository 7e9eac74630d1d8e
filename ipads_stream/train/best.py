"""The best weights so far by the held-out samples, and a stop when they stay the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.train.checkpoint import save


class Best(Callback):
    """Writes ``path`` whenever the held-out loss is the lowest yet.

    Args:
        path: of the checkpoint.
        every: steps between validations; an interrupt brings one in between, which does not count,
            so that the run goes on as if there had been none.
        patience: validations without a lower loss after which training stops; 0: never.
    """

    def __init__(self, path: Path, *, every: int, patience: int) -> None:
        self.path, self.every, self.patience = path, every, patience
        self.lowest, self.since = math.inf, 0

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step % self.every:
            return
        loss = float(trainer.callback_metrics["val/loss"])
        if loss < self.lowest:
            self.lowest, self.since = loss, 0
            save(trainer, self.path)
            return
        self.since += 1
        if self.patience and self.since >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lowest, self.since = float(state["lowest"]), int(state["since"])
