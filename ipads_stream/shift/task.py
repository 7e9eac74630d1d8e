"""One task of a study: train an arm with one seed, then test it. Finished parts are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.config import build_run, instantiate, load_model
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import replacing, write_text
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation import datasets, iterative_soft_threshold, low_rank_hankel
from ipads_stream.evaluation.measured import Region
from ipads_stream.evaluation.methods import IST, LRHM, ZERO_FILLING, Method, fill_with_zeros
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.planes import Plane, read_plane, rows_between
from ipads_stream.evaluation.refinement import LowRank, Refine, Refined, Smooth
from ipads_stream.evaluation.refinement_lines import Lines
from ipads_stream.evaluation.shift_scores import (
    METRICS,
    Scores,
    facts_of,
    first_samples,
    plane_scores,
    signal_scores,
    thresholds,
)
from ipads_stream.evaluation.shift_statistics import ANY_SEED
from ipads_stream.shift.study import Adapted, Solved, Study, Task, Variant
from ipads_stream.train.adapting import adapt
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.objectives import HiddenPoints, Objective, Targets
from ipads_stream.train.run import train_run
from ipads_stream.train.tracker import LOG

CHECKPOINT, BEST, TRAINED = "run.ckpt", "best.ckpt", "trained.json"
CLASSICAL: dict[str, Method] = {
    ZERO_FILLING: fill_with_zeros,
    IST: iterative_soft_threshold.reconstruct,
    LRHM: low_rank_hankel.reconstruct,
}
SOLVE: dict[str, Callable[[], Refine]] = {"low-rank": LowRank, "smooth": Smooth, "lines": Lines}


class BusyError(RuntimeError):
    """Another process works on the task."""


def is_finished(study: Study, task: Task) -> bool:
    """Whether everything that a task is to leave behind is there."""
    if task.seed != ANY_SEED and not (study.folder(task) / TRAINED).is_file():
        return False
    return all(study.scores_file(task, *asked).is_file() for asked in study.asked(task))


def run_task(study: Study, task: Task) -> None:
    """Trains where that is not done yet, and makes the scores that are missing.

    Training goes on from the checkpoint of an interrupted one. Every file is complete or not there.

    Args:
        study: as configured.
        task: of ``study.tasks()``.

    Raises:
        ConfigError: the arm cannot be built, or a test cannot be drawn.
        KeyboardInterrupt: training was interrupted; what was done is saved.
        BusyError: another process works on it.
    """
    folder = study.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    before = study.needs(task)
    if before is not None:
        _wait_trained(study, before)
    with _locked(folder / "lock", task.name):
        if task.seed != ANY_SEED and not (folder / TRAINED).is_file():
            _train(study, task, folder)
        model = None
        for variant, test in study.asked(task):
            path = study.scores_file(task, variant, test)
            if path.is_file():
                continue
            if task.seed == ANY_SEED:
                scores = _scores(study, test, CLASSICAL[task.arm], study.methods[task.arm])
            else:
                model = model or load_model(_weights(folder), trusted=study.trusted)
                scores = _of_network(study, test, model, study.variants(task)[variant])
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, **scores)  # type: ignore[arg-type]


def _of_network(study: Study, test: str, model: Model, variant: Variant | None) -> Scores:
    if isinstance(variant, Solved):
        return _scores(study, test, Refined(model, SOLVE[variant.solver]()), None)
    if isinstance(variant, Adapted):
        model = _adapted(study, test, model, variant)
    scores = _scores(study, test, model, None)
    found = thresholds(model.net, drawn(study, test)) if test in study.tests else None
    return scores if found is None else scores | {"thresholds": found}


def _adapted(study: Study, test: str, model: Model, variant: Adapted) -> Model:
    """The network after steps on a few signals of the test's distribution, none of the test."""
    system = study.test_system(test)
    few = first_samples(system, samples=variant.samples, seed=study.test_seed, split="adaptation")
    loss = instantiate(model.config["loss"], "loss", study.trusted)
    goal: Objective = HiddenPoints() if variant.loss == "hidden" else Targets(loss)
    net = adapt(model.net, few, steps=variant.steps, rate=variant.rate, loss=goal)
    return Model(net, config=model.config, device="cpu")


def read_scores(path: Path) -> Scores:
    """What :func:`run_task` wrote."""
    with np.load(path) as file:
        return dict(file)


def _weights(folder: Path) -> Path:
    """The checkpoint to test: the best by validation, where the trainer keeps it, or the last."""
    best = folder / BEST
    return best if best.is_file() else folder / CHECKPOINT


def _wait_trained(study: Study, task: Task) -> None:
    """Trains what another task starts from, or waits for the process that does."""
    folder = study.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock", task.name, wait=True):
        if not (folder / TRAINED).is_file():
            _train(study, task, folder)


def _train(study: Study, task: Task, folder: Path) -> None:
    config = study.training(task) | {"output": str(folder)}
    before = study.needs(task)
    if before is not None:
        config["checkpoint"] = str(_weights(study.folder(before)))
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        config["resume"] = str(checkpoint)
    else:  # killed before its first checkpoint: its log is that of nothing
        for left in folder.glob("*.jsonl"):
            left.unlink()
    started, resumed = time.process_time(), config.get("resume") is not None
    steps = config["trainer"]["max_steps"]
    is_used_up = resumed and read_checkpoint(checkpoint)["steps"] >= steps
    if not is_used_up:  # else: killed between its last checkpoint and the marker
        try:
            finished, _ = train_run(build_run(config))
        except ConfigError as error:
            raise error.under(f"shift.arms.{task.arm}") from None
        if not finished:
            raise KeyboardInterrupt
    done = read_checkpoint(checkpoint)["steps"]  # fewer where the trainer stopped early
    spent = {
        "steps": done,
        "samples": done * config["stream"]["batch_size"],
        "seconds": _seconds(folder / LOG),
        "processor_seconds": None if resumed else time.process_time() - started,
    }
    write_text(folder / TRAINED, json.dumps(spent))


def _seconds(log: Path) -> float:
    """Duration of all steps, also of those before an interruption."""
    by_step: dict[int, float] = {}
    for line in log.read_text().splitlines() if log.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # torn by a kill
            continue
        if row.get("stream/step_s") is not None:
            by_step[row["step"]] = row["stream/step_s"]
    return sum(by_step.values())


@contextmanager
def _locked(path: Path, name: str, *, wait: bool = False) -> Iterator[None]:
    """Holds a file that one process at a time can hold; it is freed however the process ends."""
    import fcntl

    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise BusyError(f"{name}: another process works on it") from None
        yield


# Tests


def drawn(study: Study, test: str) -> Sample:
    """The signals of a test."""
    return first_samples(study.test_system(test), samples=study.samples, seed=study.test_seed)


def facts(study: Study, test: str) -> Scores:
    """Parameters of the signals of a test; of a measured plane its rate alone."""
    if test in study.tests:
        return facts_of(drawn(study, test))
    return {"rate": np.array([study.planes()[test][1]])}


def _scores(study: Study, test: str, method: Method, most: int | None) -> Scores:
    if test in study.tests:
        system: Any = study.test_system(test)
        dwell = float(getattr(system, "dwell", 1.0))
        return signal_scores(method, drawn(study, test), dwell=dwell, most=most)
    assert study.measured is not None
    name, rate = study.planes()[test]
    plane, region = _plane(name)
    return plane_scores(
        method, plane, region, rate, schedules=study.measured.schedules, seed=study.test_seed
    )


@cache
def _plane(name: str) -> tuple[Plane, Region]:
    """The rows of a measured plane that hold its signals."""
    plane, source = read_plane(datasets.find(name)), datasets.SOURCES[name]
    low, high = (float(end) for end in source.signal_ppm)
    rows = rows_between(plane, low, high)
    return plane, Region(f"{low:g} to {high:g} ppm", rows, source.peak_threshold)


# One number, for a sweep


def objective(study: Study, task: Task, *, metric: str, test: str | None = None) -> float:
    """What a sweep minimises: a metric of a task's reconstruction, mean over the tests.

    Args:
        study: as configured.
        task: finished.
        metric: name of ``METRICS``; of a correlation, one minus it.
        test: name; None: all that have the metric.

    Raises:
        ConfigError: no such metric or test.
    """
    if metric not in METRICS:
        raise ConfigError("objective.metric", metric, f"one of {', '.join(METRICS)}")
    if test is not None and test not in study.tests:
        raise ConfigError("objective.test", test, f"one of {', '.join(study.tests)}")
    values = []
    for name in study.tests if test is None else (test,):
        pool = METRICS[metric].pool(
            read_scores(study.scores_file(task, task.arm, name)), facts(study, name)
        )
        if pool is not None:
            values.append(pool.point() if METRICS[metric].is_error else 1 - pool.point())
    if not values:
        raise ConfigError("objective.metric", metric, "one that a test of the study has")
    return float(np.mean(values))
