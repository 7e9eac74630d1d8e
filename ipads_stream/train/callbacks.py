"""What happens in Lightning's loop beside the steps: saving, interrupts, and what is logged."""

import math
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from ipads_stream.core.files import json_text, open_log
from ipads_stream.core.sample import Sample
from ipads_stream.stream.estimate import tell
from ipads_stream.stream.stream import Stream
from ipads_stream.train.checkpoint import save

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # Windows has the first two
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
SHARES = "shares.jsonl"


class Announcement(Callback):
    """Says what a long or large run takes, once nothing is left that refuses it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            tell(self.text)


class Saving(Callback):
    """Saves to ``path`` about every ``every`` seconds, and when training ends.

    It saves between two steps: a step's row and validation are logged before. Where the loss of a
    step that is logged is not finite it saves, too, which fails if the weights are not.
    """

    def __init__(self, path: Path, *, every: float) -> None:
        self.path, self.every = path, every
        self._last = time.monotonic()
        self._is_suspect = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._is_suspect = not math.isfinite(outputs["loss"])

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Saving is collective: all ranks must agree that it is time.
        due = self._is_suspect or time.monotonic() - self._last > self.every
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            save(trainer, self.path)
            self._last, self._is_suspect = time.monotonic(), False

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        save(trainer, self.path)


class Best(Callback):
    """Writes ``path`` whenever the held-out loss is the lowest yet.

    Training stops after ``patience`` validations without a lower loss (0: never), ``every`` steps
    from one to the next. The end of the time brings one in between, which does not count.
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


class Interrupt(Callback):
    """Turns the first Ctrl-C or signal of a batch system into a stop at the end of the step, so
    that what is saved can go on exactly; a second one kills.

    A batch system gives notice by SIGTERM, SIGUSR1 or SIGUSR2, a terminal that closes by SIGHUP.
    What listened to the signal before, such as submitit, which queues the job again and exits,
    hears of it when all is saved.
    """

    def __init__(self) -> None:
        self.requested = False
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python delivers signals to the main thread only
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is None or (
                signal.Signals(number).name == "SIGHUP" and before == signal.SIG_IGN
            ):
                continue  # not Python's, such as faulthandler's; or under nohup
            self._before[number] = signal.signal(number, self._request)

    def _request(self, number: int, frame: Any) -> None:
        self.requested, self._received = True, number
        self._restore()

    def pass_on(self) -> None:
        """Tells the signal to what listens besides training; call it when all is saved."""
        number, self._received = self._received, None
        if number not in (None, signal.SIGINT) and callable(handler := signal.getsignal(number)):
            handler(number, None)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.requested = trainer.strategy.reduce_boolean_decision(self.requested, all=False)
        if self.requested:
            trainer.should_stop = True
            if trainer.global_step % trainer.val_check_interval:
                # Lightning validates when it is told to stop; the uninterrupted run does not here.
                trainer.limit_val_batches = 0

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, module: LightningModule, error: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


class FailureLog(Callback):
    """Appends each failure of a batch to ``failures.jsonl``; other ranks to files of their own.

    A line holds index, split, seed, step, policy, config_hash and the parameters that were drawn;
    ``stream.replay`` takes it as it is. It is written after its batch was trained on: a batch that
    was delivered ahead of a checkpoint is not written twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample, batch_idx: int
    ) -> None:
        assert batch.provenance is not None
        if events := batch.provenance.failures:
            rank = f"-{trainer.global_rank}" if trainer.global_rank else ""
            with open_log(self.folder / f"failures{rank}.jsonl") as file:
                file.writelines(json_text(event) + "\n" for event in events)


class ShareLog(Callback):
    """Appends the shares that a block of errors made to ``shares.jsonl``, and the first sample that
    is drawn with them: of an adaptive run, what ``replay`` needs beside an index."""

    def __init__(self, folder: Path, stream: Stream) -> None:
        self.folder, self.stream = folder, stream
        self._written = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._written = self.stream.table.newest

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample, batch_idx: int
    ) -> None:
        table = self.stream.table
        if table.newest > self._written and trainer.is_global_zero:
            assert batch.provenance is not None
            first, shares = table.history[-1]
            line: dict[str, Any] = {"step": batch.provenance.step, "number": table.newest}
            line |= {"first": first, "shares": shares}
            with open_log(self.folder / SHARES) as file:
                file.write(json_text(line) + "\n")
        self._written = table.newest


class GradientNorm(Callback):
    """Logs |gradient| over all parameters, before it is clipped, in the steps that are logged."""

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: Any
    ) -> None:
        if (trainer.global_step + 1) % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        gradients = [value.grad for value in module.parameters() if value.grad is not None]
        module.log("gradient_norm", torch.nn.utils.get_total_norm(gradients))


class CheckpointArtifact(Callback):
    """Keeps a file as an artifact of the run of W&B, at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                name = artifact_name(self.path.parent)
                logger.experiment.log_artifact(str(self.path), name=name, type="model")


def artifact_name(folder: Path) -> str:
    """Name of a folder with the signs that W&B allows."""
    return re.sub(r"[^\w.-]+", "-", folder.resolve().name) or "run"
