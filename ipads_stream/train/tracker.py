"""Where a run is written down: always a local JSON-lines log, and Weights & Biases if wanted."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from ipads_stream.core.errors import ConfigError

LOG = "metrics.jsonl"


def open_log(path: Path) -> TextIO:
    """A JSON-lines file to append to, at the start of a line: a killed run may leave a torn one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and _last_byte(path) not in (b"", b"\n")
    file = path.open("a", buffering=1, encoding="utf-8")
    if torn:
        file.write("\n")
    return file


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1)


class JsonLines(Logger):
    """One line per logged step, appended, so that a killed or resumed run keeps its history."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._file: Any = None

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._file is None:
            self._file = open_log(self.folder / LOG)
        return self._file

    @rank_zero_only
    def log_hyperparams(self, *args: Any) -> None:
        """The configuration lies in config.json beside the log."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        # JSON has no NaN; null is what every reader takes for a missing number.
        row = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        row.pop("epoch", None)
        self.experiment.write(json.dumps({"step": step, "time": time.time(), **row}) + "\n")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def loggers(settings: dict[str, Any], config: dict[str, Any], output: Path) -> list[Logger]:
    """The loggers of a run.

    Args:
        settings: the ``logger`` node: name (none or wandb), and for wandb project and mode.
        config: of the whole run, shown by W&B.
        output: folder of the run.

    Raises:
        ConfigError: a logger or mode that does not exist.
    """
    name = settings.get("name")
    if name == "none":
        return [JsonLines(output)]
    if name != "wandb":
        raise ConfigError("logger.name", name, "none or wandb")
    modes = ("offline", "online", "disabled")
    if settings.get("mode") not in modes:
        raise ConfigError("logger.mode", settings.get("mode"), f"one of {', '.join(modes)}")
    if not is_first_process():
        return [JsonLines(output)]
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    run = wandb.init(
        project=settings["project"],
        name=output.name,
        dir=str(output),
        mode=settings["mode"],
        config=config,
        settings=wandb.Settings(silent=True, console="off"),
    )
    return [JsonLines(output), WandbLogger(experiment=run, save_dir=str(output))]


def is_first_process() -> bool:
    """Whether this is the process, of several, that writes."""
    return not getattr(rank_zero_only, "rank", 0)


def finish() -> None:
    """Ends the W&B run, if one is open, so that its files are complete."""
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
