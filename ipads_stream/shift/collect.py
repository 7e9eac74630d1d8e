"""The scores of a study's finished tasks as a report, results.json and a W&B run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.config import build_system, instantiate
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.familiar import differences
from ipads_stream.report.page import Picture
from ipads_stream.shift.matrix import Matrix, matrix
from ipads_stream.shift.report import conclusions, write_report
from ipads_stream.shift.statistics import ANY_SEED, FEW, Scores
from ipads_stream.shift.study import Solved, Study, Task, Variant, merged
from ipads_stream.shift.task import TRAINED, facts, is_finished, read_scores
from ipads_stream.train.tracker import build_logger, finish, loggers


def collect(
    study: Study, failures: Mapping[Task, str], logger: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
    """Writes report.html, results.json and pictures into the study's folder; returns the text.

    What is not finished is left out and said to be missing.
    """
    outcomes: dict[str, dict[int, dict[str, Scores]]] = {}
    missing = {task.name: reason for task, reason in failures.items()}
    for task in study.tasks():
        if task in failures:
            continue
        if not is_finished(study, task):
            missing[task.name] = "not run yet"
            continue
        for variant, test in study.asked(task):
            scores = read_scores(study.scores_file(task, variant, test))
            outcomes.setdefault(variant, {}).setdefault(task.seed, {})[test] = scores
    if not outcomes:
        reason = next(iter(missing.values()), "no arm")
        raise ConfigError("shift.arms", list(missing), f"at least one that can be run ({reason})")
    order = [*study.methods, *study.arms, *study.after]
    arms = [name for name in order if name in outcomes]
    numbers = matrix(
        {name: outcomes[name] for name in arms},
        {test: facts(study, test) for test in (*study.tests, *study.planes())},
        scoring=study.scoring,
        metrics=study.metrics,
        reference=study.reference,
        level=study.level,
        resamples=study.resamples,
    )
    plain = {key: value for key, value in config.items() if key not in ("output", "logger")}
    study.output.mkdir(parents=True, exist_ok=True)
    text, pictures = write_report(
        study,
        numbers,
        study.output,
        budgets=[_budget(study, name, outcomes[name]) for name in arms],
        tests=_tests(study),
        failures=missing,
        notes=_notes(study, arms),
        provenance={"version": __version__, "machine": _machine(), "study": plain},
    )
    _log(study, numbers, pictures, logger, config)
    return f"{text}\n\nReport: {study.output / 'report.html'}"


def _tests(study: Study) -> dict[str, list[str]]:
    """Test -> how its system differs from the one that the reference was trained on."""
    after = study.after.get(study.reference)
    arm = study.reference if after is None else after.arm
    if arm not in study.arms:
        return {}
    trained = build_system(study.training(Task(arm, study.seeds[0])), study.trusted)
    return {test: differences(trained, study.test_system(test)) for test in study.tests}


def _notes(study: Study, arms: list[str]) -> list[str]:
    notes = []
    if len(study.seeds) < FEW:
        notes.append(f"{len(study.seeds)} seeds: fewer than {FEW} give no verdict.")
    if study.reference not in arms:
        notes.append(f"The reference, {study.reference}, is missing: nothing is compared with it.")
    fewer = {name: most for name, most in study.methods.items() if most and most < study.samples}
    partial = [f"{name} (first {most} samples)" for name, most in fewer.items()]
    if partial:
        notes.append(f"Too slow for all {study.samples} test samples: {', '.join(partial)}.")
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
        "changes": " ".join(merged([study.arms[arm]])) if after is None else _change(after),
    }


def _change(after: Variant) -> str:
    if isinstance(after, Solved):
        return f"{after.arm}, then the {after.solver} solver"
    steps = f"{after.steps} steps of {after.rate:g} on {after.samples} signals"
    return f"{after.arm}, then {steps} of the test's distribution ({after.loss})"


def _machine() -> str:
    """Processor and number of cores."""
    path, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def log_objective(value: float, config: Mapping[str, Any], folder: Path) -> None:
    """What a sweep minimises, as "objective" of the job's run: a W&B agent waits for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _sinks(config.get("logger"), config, folder) as sinks:
        for sink in sinks:
            sink.log_metrics({"objective": value}, step=0)


@contextmanager
def _sinks(
    node: Mapping[str, Any] | None, config: Mapping[str, Any], folder: Path
) -> Iterator[list[Any]]:
    """The log in the folder, and the logger that a ``logger`` node describes; then their end."""

    def build(node: Any, key: str, packages: Any) -> Any:
        return instantiate(node, key, (*config["trusted"], *packages))

    try:
        sinks = loggers(build_logger(node, build, folder), config, folder)
        yield sinks
        for sink in sinks:
            sink.finalize("success")
    finally:
        finish()


def _log(
    study: Study,
    numbers: Matrix,
    pictures: Sequence[Picture],
    logger: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """The matrix as metrics, tables and pictures of one run."""
    from lightning.pytorch.loggers import WandbLogger

    cells = numbers.cells
    means = {f"{row['metric']}/{row['arm']}/{row['test']}": row["mean"] for row in cells}
    with _sinks(logger, config, study.output) as sinks:
        for sink in sinks:
            sink.log_metrics(means, step=0)
            if isinstance(sink, WandbLogger):
                for path, caption in pictures:
                    sink.log_image(key=path.stem, images=[str(path)], caption=[caption])
                keys = [key for key in cells[0] if key != "by_seed"]
                sink.log_table("matrix", columns=keys, data=[[r[k] for k in keys] for r in cells])
                lines = [[line] for line in conclusions(numbers.comparisons, study.metrics)]
                sink.log_table("conclusions", columns=["conclusion"], data=lines)
