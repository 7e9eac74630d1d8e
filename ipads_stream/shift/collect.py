"""What the finished tasks of a study found, as a report, results.json and a W&B run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.shift_findings import findings
from ipads_stream.evaluation.shift_matrix import matrix
from ipads_stream.evaluation.shift_report import Pictures, Told, present
from ipads_stream.evaluation.shift_scores import Scores
from ipads_stream.evaluation.shift_statistics import ANY_SEED
from ipads_stream.shift.overrides import merged
from ipads_stream.shift.study import Solved, Study, Task, Variant
from ipads_stream.shift.task import TRAINED, facts, is_finished, read_scores
from ipads_stream.train.tracker import finish, loggers

FEW = 5  # seeds below which a study says so


def collect(
    study: Study, failures: Mapping[Task, str], logger: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
    """Writes report.html, results.json and pictures into the study's folder; returns the text.

    What is not finished is left out and said to be missing.

    Args:
        study: as configured.
        failures: what happened to tasks that failed.
        logger: the ``logger`` node.
        config: of the study, for the report and W&B.

    Raises:
        ConfigError: nothing is finished, or the logger is refused.
    """
    found: dict[str, dict[int, dict[str, Scores]]] = {}
    missing = {task.name: reason for task, reason in failures.items()}
    for task in study.tasks():
        if task in failures:
            continue
        if not is_finished(study, task):
            missing[task.name] = "not run yet"
            continue
        for variant, test in study.asked(task):
            scores = read_scores(study.scores_file(task, variant, test))
            found.setdefault(variant, {}).setdefault(task.seed, {})[test] = scores
    if not found:
        reason = next(iter(missing.values()), "no arm")
        raise ConfigError("shift.arms", list(missing), f"at least one that can be run ({reason})")
    order = [*study.methods, *study.arms, *study.after]
    arms = [name for name in order if name in found]
    told = Told(
        title=study.title,
        question=study.question,
        found=matrix(
            {name: found[name] for name in arms},
            {test: facts(study, test) for test in (*study.tests, *study.planes())},
            metrics=study.metrics,
            reference=study.reference,
            level=study.level,
            resamples=study.resamples,
        ),
        metrics=study.metrics,
        reference=study.reference,
        level=study.level,
        budgets=[_budget(study, name, found[name]) for name in arms],
        series=study.series,
        series_label=study.series_label,
        failures=missing,
        notes=_notes(study, arms),
        provenance=_provenance(config),
    )
    study.output.mkdir(parents=True, exist_ok=True)
    text, pictures = present(told, study.output)
    _log(told, pictures, logger, config, study.output)
    return f"{text}\n\nReport: {study.output / 'report.html'}"


def _notes(study: Study, arms: list[str]) -> list[str]:
    notes = []
    if len(study.seeds) < FEW:
        notes.append(f"{len(study.seeds)} seeds: fewer than {FEW} tell little about differences.")
    if study.reference not in arms:
        notes.append(f"The reference, {study.reference}, is missing: nothing is compared with it.")
    partial = [
        f"{name} (first {most} signals)"
        for name, most in study.methods.items()
        if most is not None and most < study.samples
    ]
    if partial:
        notes.append(f"Too slow for all {study.samples} test signals: {', '.join(partial)}.")
    return notes


def _budget(study: Study, name: str, by_seed: Mapping[int, Any]) -> dict[str, Any]:
    if ANY_SEED in by_seed:
        return {"arm": name, "changes": "not trained"}
    after = study.after.get(name)
    arm = name if after is None else after.arm
    spent = [json.loads((study.folder(Task(arm, seed)) / TRAINED).read_text()) for seed in by_seed]
    processor = [row["processor_seconds"] for row in spent if row["processor_seconds"] is not None]
    return {
        "arm": name,
        "seeds": len(spent),
        "steps": spent[0]["steps"],
        "samples": spent[0]["samples"],
        "seconds": float(np.mean([row["seconds"] for row in spent])),
        "processor_seconds": float(np.mean(processor)) if processor else None,
        "changes": " ".join(merged([study.arms[arm]])) if after is None else _told(after),
    }


def _told(after: Variant) -> str:
    if isinstance(after, Solved):
        return f"{after.arm}, then the {after.solver} solver"
    steps = f"{after.steps} steps of {after.rate:g} on {after.samples} signals"
    return f"{after.arm}, then {steps} of the test's distribution ({after.loss})"


def _provenance(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": __version__,
        "machine": _machine(),
        "study": {key: value for key, value in config.items() if key not in ("output", "logger")},
    }


def _machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if path.is_file():
        lines = path.read_text(errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def log_objective(value: float, config: Mapping[str, Any], folder: Path) -> None:
    """What a sweep minimises, as "objective" of the job's run: a W&B agent waits for it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for sink in loggers(dict(config.get("logger") or {}), dict(config), folder):
            sink.log_metrics({"objective": value}, step=0)
            sink.finalize("success")
    finally:
        finish()


def _log(
    told: Told,
    pictures: Pictures,
    logger: Mapping[str, Any],
    config: Mapping[str, Any],
    output: Path,
) -> None:
    """The matrix as metrics, tables and pictures of one run."""
    from lightning.pytorch.loggers import WandbLogger

    try:
        for sink in loggers(dict(logger), dict(config), output):
            sink.log_metrics(
                {f"{row['metric']}/{row['arm']}/{row['test']}": row["mean"]
                 for row in told.found.cells}, step=0,
            )  # fmt: skip
            if isinstance(sink, WandbLogger):
                for path, caption in pictures:
                    sink.log_image(key=path.stem, images=[str(path)], caption=[caption])
                keys = [key for key in told.found.cells[0] if key != "by_seed"]
                data = [[row[key] for key in keys] for row in told.found.cells]
                sink.log_table(key="matrix", columns=keys, data=data)
                lines = [[line] for line in findings(told.found.comparisons)]
                sink.log_table(key="findings", columns=["finding"], data=lines)
            sink.finalize("success")
    finally:
        finish()
