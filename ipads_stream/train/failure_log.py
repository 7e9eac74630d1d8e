"""Non-finite samples, written down when they occur."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.stream.stream import Stream


class FailureLog(Callback):
    """Appends each failure of the stream to ``failures.jsonl``; other ranks to files of their own.

    A line holds index, split, seed, step, policy and the parameters that were drawn, which is what
    ``ipads-stream replay index=...`` needs.
    """

    def __init__(self, stream: Stream, folder: Path) -> None:
        self.stream, self.folder, self.written = stream, folder, 0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        new = self.stream.failures[self.written :]
        if not new:
            return
        rank = f"-{trainer.global_rank}" if trainer.global_rank else ""
        with (self.folder / f"failures{rank}.jsonl").open("a") as file:
            file.writelines(json.dumps(event) + "\n" for event in new)
        self.written += len(new)
