"""Where a run is written down: always a local JSON-lines log, and any of Lightning's loggers.

Weights & Biases gets what it is opened for: samples before training, predictions at validations,
norms of gradients, the checkpoint, and the table and report of an evaluation.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, Names, check, choice, flag, ruled, whole
from ipads_stream.core.files import open_log
from ipads_stream.train.callbacks import CheckpointArtifact, GradientNorm, artifact_name
from ipads_stream.train.pictures import Pictures

# (configuration node, its key, packages besides those that are trusted) -> what it describes
Build = Callable[[Any, str, Sequence[str]], Any]

LOG = "metrics.jsonl"


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


def _text(default: Any = None) -> Any:
    return ruled(Instance(of=str, allowed="text", optional=default is None), default)


@dataclass(frozen=True, kw_only=True)
class WandB:
    """A run of Weights & Biases.

    Attributes:
        project, entity, group, tags, notes: where it is filed.
        mode: offline (``wandb sync`` uploads), online or disabled.
        name: of the run; None: that of its folder.
        id: of a run to go on with; None: a new one.
        pictures: samples in a picture, before training and at each validation; 0: none.
        gradients: whether norms of the gradient are logged.
        checkpoint: whether the checkpoint is kept as an artifact.
    """

    project: str = _text("ipads_stream")
    mode: str = choice("offline", among=("offline", "online", "disabled"))
    entity: str | None = _text()
    group: str | None = _text()
    tags: tuple[str, ...] = ruled(Names(what="tags"), ())
    notes: str | None = _text()
    name: str | None = _text()
    id: str | None = _text()
    pictures: int = whole(4, low=0, high=64)
    gradients: bool = flag(True)
    checkpoint: bool = flag(True)

    def __post_init__(self) -> None:
        check(self)

    def open(self, config: Mapping[str, Any], output: Path, job: str = "train") -> WandbLogger:
        """The run, whose configuration and files are those of a folder."""
        import wandb

        keys = ("project", "entity", "group", "notes", "id", "mode")
        run = wandb.init(
            **{key: getattr(self, key) for key in keys},
            tags=list(self.tags),
            name=self.name or output.name,
            resume="allow" if self.id else None,
            job_type=job,
            dir=str(output),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )
        return WandbLogger(experiment=run, save_dir=str(output))

    def callbacks(self, output: Path) -> list[Callback]:
        """What is logged besides numbers."""
        return [
            *([Pictures(samples=self.pictures)] if self.pictures else []),
            *([GradientNorm()] if self.gradients else []),
            *([CheckpointArtifact(output / "run.ckpt")] if self.checkpoint else []),
        ]


def build_logger(node: Any, build: Build, output: Path) -> WandB | Logger | None:
    """The logger that a ``logger`` node describes: :class:`WandB`, one of Lightning's or a user's.

    ``save_dir: null`` stands for the folder of the run, ``output``; an empty node for no logger.

    Raises:
        ConfigError: not a logger, or one whose package is not installed.
    """
    if not node:
        return None
    if "save_dir" in node and node["save_dir"] is None:
        node = {**node, "save_dir": str(output)}
    try:
        logger = build(node, "logger", ("lightning.pytorch.loggers",))
    except ModuleNotFoundError as error:
        allowed = f"a logger whose package is installed ({error})"
        raise ConfigError("logger", node.get("_target_"), allowed) from None
    if not isinstance(logger, (WandB, Logger)):
        raise ConfigError("logger", node, "a logger under _target_, or logger=none")
    return logger


def build_callbacks(nodes: Mapping[str, Any], build: Build) -> list[Callback]:
    """The callbacks of a ``callbacks`` node, null for none of a name; ConfigError of all else."""
    callbacks = []
    for name, node in nodes.items():
        if node is None:
            continue
        callback = build(node, f"callbacks.{name}", ("lightning.pytorch.callbacks",))
        if not isinstance(callback, Callback):
            raise ConfigError(f"callbacks.{name}", node, "a callback of Lightning's under _target_")
        callbacks.append(callback)
    return callbacks


def loggers(logger: WandB | Logger | None, config: Mapping[str, Any], output: Path) -> list[Logger]:
    """The log of JSON lines and the logger, W&B's opened by the first process alone."""
    opened: list[Logger] = [JsonLines(output)]
    if isinstance(logger, Logger):
        opened.append(logger)
    elif logger is not None and is_first_process():
        opened.append(logger.open(config, output))
    return opened


def log_evaluation(
    logger: WandB | Logger | None,
    config: Mapping[str, Any],
    output: Path,
    rows: Sequence[Mapping[str, Any]],
    report: Path,
) -> None:
    """The table and the report of an evaluation, in W&B; other loggers have no place for them.

    ``output`` is the folder of W&B's files; that of the page ``report`` becomes an artifact.
    """
    if not isinstance(logger, WandB):
        return
    import wandb

    try:
        sink = logger.open(config, output, job="evaluate")
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = [[row.get(column) for column in columns] for row in rows]
        sink.log_table(key="evaluation", columns=columns, data=table)
        page = wandb.Html(report.read_text(encoding="utf-8"), inject=False)
        sink.experiment.log({"report": page})
        artifact = wandb.Artifact(f"{artifact_name(output)}-report", type="report")
        for path in sorted(report.parent.iterdir()):
            if path.is_file():
                artifact.add_file(str(path))
        sink.experiment.log_artifact(artifact)
        sink.finalize("success")
    finally:
        finish()


def is_first_process() -> bool:
    """Whether this is the process, of several, that writes.

    Lightning notes the rank when it is imported, which a forked process may have done before.
    """
    return not int(os.environ.get("RANK", getattr(rank_zero_only, "rank", 0)))


def finish() -> None:
    """Ends the W&B run, if one is open, so that its files are complete."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
