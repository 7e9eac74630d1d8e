"""One task of a study: train an arm with one seed, then test it. Finished parts are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from ipads_stream.baselines import Method, classical_methods
from ipads_stream.baselines.signals.methods import as_method
from ipads_stream.baselines.signals.refinement import LowRank, Refine, Refined
from ipads_stream.baselines.signals.refinement_lines import Lines
from ipads_stream.config import build_run, instantiate, load_model
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import replacing, write_text
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.model import Limit, Model
from ipads_stream.evaluation.tasks import task_of
from ipads_stream.report.figures import NETWORK
from ipads_stream.shift.matrix import THRESHOLDS
from ipads_stream.shift.scoring import SignalScoring, plane_scores, thresholds
from ipads_stream.shift.statistics import ANY_SEED, Scores
from ipads_stream.shift.study import Adapted, Solved, Study, Task, Variant
from ipads_stream.stream.replay import read_log
from ipads_stream.systems import System
from ipads_stream.train.adapting import adapt
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.objectives import HiddenPoints, Objective, Targets
from ipads_stream.train.run import train_run
from ipads_stream.train.tracker import LOG

CHECKPOINT, BEST, TRAINED = "run.ckpt", "best.ckpt", "trained.json"
SOLVE: dict[str, Callable[[], Refine]] = {"low-rank": LowRank, "lines": Lines}


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
    """
    folder = study.folder(task)
    before = study.needs(task)
    if before is not None:
        with _locked(study, before, wait=True):
            _train(study, before)
    with _locked(study, task):
        if task.seed != ANY_SEED:
            _train(study, task)
        model = None
        for variant, test in study.asked(task):
            path = study.scores_file(task, variant, test)
            if path.is_file():
                continue
            if task.seed == ANY_SEED:
                system = _system(study, test)
                method = classical_methods(system)[task.arm]
                scores = _scores(study, test, method, study.methods[task.arm])
            else:
                model = model or load_model(_weights(folder), trusted=study.trusted)
                with expected():  # other data are what is studied
                    scores = _of_network(study, test, model, study.variants(task)[variant])
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, **scores)  # type: ignore[arg-type]


def _of_network(study: Study, test: str, model: Any, variant: Variant | None) -> Scores:
    if isinstance(variant, Solved):
        return _scores(study, test, as_method(Refined(model, SOLVE[variant.solver]())), None)
    system = _system(study, test)
    task = task_of(system, trusted=study.trusted)
    if isinstance(variant, Adapted):
        seed, split = study.test_seed, "adaptation"  # none of the samples is tested on
        few = study.scoring.draw(system, samples=variant.samples, seed=seed, split=split)
        few = _limited(few, model.limit)
        loss = instantiate(model.config["loss"], "loss", study.trusted)
        goal: Objective = HiddenPoints() if variant.loss == "hidden" else Targets(loss)
        net = adapt(model.net, few, steps=variant.steps, rate=variant.rate, loss=goal)
        targets = tuple(task.targets(system))
        adapted = Model(net, config=model.config, device="cpu", targets=targets, limit=model.limit)
        model = task.user_function(adapted)
    scores = _scores(study, test, task.network_methods(model)[NETWORK], None)
    if test not in study.tests or not isinstance(study.scoring, SignalScoring):
        return scores
    learned = thresholds(model.net, drawn(study, test))
    return scores if learned is None else scores | {THRESHOLDS: learned}


def _limited(sample: Sample, limit: Limit | None) -> Sample:
    """What the network is given: noise on samples cleaner than its training, as in evaluation."""
    if limit is None:
        return sample
    inputs, _ = limit({name: values.numpy() for name, values in sample.inputs.items()})
    return replace(sample, inputs={name: torch.from_numpy(x) for name, x in inputs.items()})


def _system(study: Study, test: str) -> System:
    """What a test draws from; beside a measured plane the system of the first."""
    return study.test_system(test if test in study.tests else next(iter(study.tests)))


def read_scores(path: Path) -> Scores:
    """What :func:`run_task` wrote."""
    with np.load(path) as file:
        return dict(file)


def _weights(folder: Path) -> Path:
    """The checkpoint to test: the best by validation, where the trainer keeps it, or the last."""
    return folder / (BEST if (folder / BEST).is_file() else CHECKPOINT)


def _train(study: Study, task: Task) -> None:
    """Trains an arm where that is not done yet."""
    folder = study.folder(task)
    if (folder / TRAINED).is_file():
        return
    config = study.training(task) | {"output": str(folder)}
    before = study.needs(task)
    if before is not None:
        config["checkpoint"] = str(_weights(study.folder(before)))
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        config["resume"] = str(checkpoint)
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
    log = list(read_log(folder / LOG)) if (folder / LOG).is_file() else []
    seconds = {row["step"]: row["stream/step_s"] for row in log if row.get("stream/step_s")}
    spent = {
        "steps": done,
        "samples": done * config["stream"]["batch_size"],
        "seconds": sum(seconds.values()),
        "processor_seconds": None if resumed else time.process_time() - started,
    }
    write_text(folder / TRAINED, json.dumps(spent))


@contextmanager
def _locked(study: Study, task: Task, *, wait: bool = False) -> Iterator[None]:
    """Holds a file that one process at a time can hold; it is freed however the process ends."""
    folder = study.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise BusyError(f"{task.name}: another process works on it") from None


def drawn(study: Study, test: str) -> Sample:
    """The samples of a test."""
    system = study.test_system(test)
    return study.scoring.draw(system, samples=study.samples, seed=study.test_seed)


def facts(study: Study, test: str) -> Scores:
    """Parameters of the samples of a test; of a measured plane its rate alone."""
    if test in study.tests:
        return study.scoring.facts(drawn(study, test))
    return {"rate": np.array([study.planes()[test][1]])}


def _scores(study: Study, test: str, method: Method, most: int | None) -> Scores:
    if test in study.tests:
        system, sample = study.test_system(test), drawn(study, test)
        return study.scoring.scores(method, system, sample, most)
    assert study.measured is not None
    name, rate = study.planes()[test]
    schedules = study.measured.schedules
    return plane_scores(method, name, rate, schedules=schedules, seed=study.test_seed)


def objective(study: Study, task: Task, *, metric: str, test: str | None = None) -> float:
    """What a sweep minimises: a metric of a task's reconstruction, mean over the tests."""
    metrics = study.scoring.metrics
    if metric not in metrics:
        raise ConfigError("objective.metric", metric, f"one of {', '.join(metrics)}")
    if test is not None and test not in study.tests:
        raise ConfigError("objective.test", test, f"one of {', '.join(study.tests)}")
    values = []
    for name in study.tests if test is None else (test,):
        scores = read_scores(study.scores_file(task, task.arm, name))
        pool = metrics[metric].pool(scores, facts(study, name))
        if pool is not None:
            values.append(pool.point() if metrics[metric].is_error else 1 - pool.point())
    if not values:
        raise ConfigError("objective.metric", metric, "one that a test of the study has")
    return float(np.mean(values))
