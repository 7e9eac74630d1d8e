"""A composed study run: all its tasks or one of them, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.shift_statistics import ANY_SEED
from ipads_stream.shift.collect import collect, log_objective
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.schedule import run_all
from ipads_stream.shift.study import Study, Task
from ipads_stream.shift.task import BusyError, objective, run_task


@dataclass(frozen=True)
class Ran:
    """What became of a run.

    Attributes:
        text: for the terminal.
        failures: name of the task -> reason.
        objective: of one arm and seed, for sweeps.
    """

    text: str
    failures: dict[str, str]
    objective: float | None = None


def run_study(config: Mapping[str, Any], *, bar: bool = False) -> Ran:
    """Runs what ``arm`` and ``seed`` choose, several at a time, and reports on the whole study.

    One arm with one seed runs in this process, and there is no report: it is a job among many.

    Args:
        config: composed ``conf/shift.yaml``, plain.
        bar: show a progress bar.

    Raises:
        ConfigError: a key that is refused, an arm that cannot be built where it runs alone.
        KeyboardInterrupt: what was done is saved, and the same call goes on.
    """
    study = read_study(config)
    for test in study.tests:  # refused before hours of training, not after
        study.test_system(test)
    chosen = _chosen(study, config.get("arm"), config.get("seed"))
    asked = config.get("objective") or {}
    metric = str(asked.get("metric", "rlne"))
    is_job = config.get("arm") is not None and len(chosen) == 1
    if is_job:
        try:
            run_task(study, chosen[0])
        except BusyError as error:
            return Ran(str(error), {chosen[0].name: str(error)})
        value = objective(study, chosen[0], metric=metric, test=asked.get("test"))
        log_objective(value, config, study.folder(chosen[0]) / "job")
        told = f"{chosen[0].name}: {metric} {value:.6g} ({study.folder(chosen[0])})"
        return Ran(told, {}, value)
    failures = run_all(config, chosen, processes=config.get("processes", 1), bar=bar)
    named = {task.name: reason for task, reason in failures.items()}
    if not config.get("report", True):
        return Ran("\n".join(f"{name}: {why}" for name, why in named.items()), named)
    return Ran(collect(study, failures, config.get("logger") or {}, config), named)


def _chosen(study: Study, arm: Any, seed: Any) -> list[Task]:
    tasks = study.tasks()
    names = list(dict.fromkeys(task.arm for task in tasks))
    if arm is not None and arm not in names:
        raise ConfigError("arm", arm, f"one of {', '.join(names)}")
    if seed is not None and seed not in study.seeds:
        raise ConfigError("seed", seed, f"one of shift.seeds={list(study.seeds)}")
    return [
        task
        for task in tasks
        if (arm is None or task.arm == arm) and (seed is None or task.seed in (seed, ANY_SEED))
    ]
