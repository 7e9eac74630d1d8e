"""Non-finite samples, written down with the batch that they occurred in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.core.sample import Sample
from ipads_stream.train.tracker import open_log


class FailureLog(Callback):
    """Appends each failure of a batch to ``failures.jsonl``; other ranks to files of their own.

    A line holds index, split, seed, step, policy, config_hash and the parameters that were drawn;
    ``stream.replay`` takes it as it is. Failures come with their batch, and are written after it
    was trained on: a batch that was delivered ahead of a checkpoint is not written twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample, batch_idx: int
    ) -> None:
        assert batch.provenance is not None
        events = batch.provenance.failures
        if not events:
            return
        rank = f"-{trainer.global_rank}" if trainer.global_rank else ""
        with open_log(self.folder / f"failures{rank}.jsonl") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
