"""What a study is: arms, tests, seeds and metrics, read from conf/shift/NAME.yaml."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ipads_stream.config import build_system, compose
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.shift_statistics import ANY_SEED
from ipads_stream.shift.overrides import literal, merged
from ipads_stream.systems import System

# Keys that change where and how a run is made, not what comes out.
OUTSIDE = ("output", "resume", "overrides", "logger", "device", "trusted")


@dataclass(frozen=True)
class Task:
    """One training and its tests, or one method's tests.

    Attributes:
        arm: name of an arm, or of a method that is not trained.
        seed: of the training; ``ANY_SEED`` for a method.
    """

    arm: str
    seed: int

    @property
    def name(self) -> str:
        return self.arm if self.seed == ANY_SEED else f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class Solved:
    """An arm's estimate as the start of a classical solver.

    Attributes:
        arm: name.
        solver: low-rank or smooth (evaluation/refinement.py).
    """

    arm: str
    solver: str


@dataclass(frozen=True)
class Adapted:
    """An arm's network after gradient descent on a few signals of the test's distribution.

    Attributes:
        arm: name.
        samples: signals, none of which is tested on.
        steps, rate: of gradient descent.
        loss: hidden (measured points that the network is not shown) or supervised.
    """

    arm: str
    samples: int = 16
    steps: int = 5
    rate: float = 0.05
    loss: str = "hidden"


Variant = Solved | Adapted


@dataclass(frozen=True)
class Measured:
    """Measured planes as tests.

    Attributes:
        names: of data sets.
        rates: sampled shares.
        schedules: Poisson-gap schedules of each.
        methods: methods that are tried on them (LRHM takes minutes).
    """

    names: tuple[str, ...]
    rates: tuple[float, ...]
    schedules: int
    methods: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as configured; what it finds lies in ``output``.

    Attributes:
        name: of the folder.
        title, question: for the report.
        common, vary: dotted key -> value, for all arms; common also for the tests.
        arms: name -> dotted key -> value of what is trained.
        starts: arm -> arm whose network it starts from, of the same seed.
        after: name -> what is done with an arm's network after training.
        methods: method that is not trained -> number of test signals, None: all.
        tests: name -> dotted key -> value of the system that is tested on.
        measured: planes to test on.
        seeds: of the trainings.
        steps: of each training, where an arm does not say otherwise (trainer.max_steps).
        samples: test signals.
        test_seed: of the test signals and schedules.
        metrics: names, the main one first.
        series: line -> number -> arm, drawn as the error against that number.
        series_label: what the number is.
        reference: arm or method that the others are compared with.
        level: of intervals.
        resamples: of the bootstrap.
        output: folder.
        device: to train on.
        trusted: packages besides this one whose classes may be named.
    """

    name: str
    title: str
    question: str
    common: Mapping[str, Any]
    vary: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    starts: Mapping[str, str]
    after: Mapping[str, Variant]
    methods: Mapping[str, int | None]
    tests: Mapping[str, Mapping[str, Any]]
    measured: Measured | None
    seeds: tuple[int, ...]
    steps: int
    samples: int
    test_seed: int
    metrics: tuple[str, ...]
    series: Mapping[str, Mapping[float, str]]
    series_label: str
    reference: str
    level: float
    resamples: int
    output: Path
    device: str
    trusted: tuple[str, ...]

    def tasks(self) -> list[Task]:
        """Methods first, then all arms of the first seed, of the second, and so on."""
        trained = [Task(arm, seed) for seed in self.seeds for arm in self.arms]
        return [*(Task(method, ANY_SEED) for method in self.methods), *trained]

    def training(self, task: Task) -> dict[str, Any]:
        """The composed configuration of a training.

        Raises:
            ConfigError: an override that is refused; the key begins with the arm's name.
        """
        if task.arm not in self._composed:
            self._composed[task.arm] = self._compose(task.arm)
        return copy.deepcopy(self._composed[task.arm]) | {"seed": task.seed}

    @cached_property
    def _composed(self) -> dict[str, dict[str, Any]]:
        """Arm -> configuration, as far as any was asked for: composing takes a while."""
        return {}

    def _compose(self, arm: str) -> dict[str, Any]:
        defaults = {
            "trainer.val_every": 0,
            "trainer.max_steps": self.steps,
            "trainer.max_samples": None,
            "trainer.max_time": None,
        }
        fixed = {"device": self.device, "logger": "none", "trainer.bar": False}
        try:
            words = merged([defaults, self.common, self.arms[arm], self.vary, fixed])
            config = compose(words)
        except ConfigError as error:
            raise error.under(f"shift.arms.{arm}") from None
        return config | {"overrides": words, "trusted": list(self.trusted)}

    def needs(self, task: Task) -> Task | None:
        """The task whose network this one starts from, trained with the same seed."""
        start = self.starts.get(task.arm)
        return None if start is None or task.seed == ANY_SEED else Task(start, task.seed)

    def folder(self, task: Task) -> Path:
        """Of a task; its name holds what decides the outcome, so that nothing stale is taken."""
        if task.seed == ANY_SEED:
            return self.output / "methods" / _path(task.arm)
        kept = {k: v for k, v in self.training(task).items() if k not in OUTSIDE}
        before = self.needs(task)
        if before is not None:
            kept["start"] = self.folder(before).name
        return self.output / "arms" / _path(task.arm) / f"{task.seed}-{_digest(kept)}"

    def variants(self, task: Task) -> dict[str, Variant | None]:
        """Name -> variant (None: as trained) of all that a task's reconstruction is tested as."""
        own = {name: after for name, after in self.after.items() if after.arm == task.arm}
        return {task.arm: None, **own}

    def test_system(self, test: str) -> System:
        """The system that a test draws from: common and the test's keys, not the arm's.

        Raises:
            ConfigError: an override that is refused; the key begins with the test's name.
        """
        return self._systems[test]

    @cached_property
    def _systems(self) -> dict[str, System]:
        found = {}
        for name, keys in self.tests.items():
            try:
                config = compose(merged([self.common, keys]))
                found[name] = build_system(config, self.trusted)
            except ConfigError as error:
                raise error.under(f"shift.tests.{name}") from None
        return found

    def planes(self) -> dict[str, tuple[str, float]]:
        """Name of the test -> data set and rate, of the tests on measured planes."""
        if self.measured is None:
            return {}
        return {
            f"{name} {100 * rate:g} %": (name, rate)
            for name in self.measured.names
            for rate in self.measured.rates
        }

    def scores_file(self, task: Task, variant: str, test: str) -> Path:
        """Where the scores of a variant on a test lie."""
        most = self.methods.get(task.arm)
        if test in self.tests:
            what: list[Any] = [config_hash(self.test_system(test)), self.samples, most]
        else:
            assert self.measured is not None
            what = [*self.planes()[test], self.measured.schedules]
        digest = _digest([*what, self.test_seed, repr(self.variants(task)[variant])])
        return self.folder(task) / "scores" / f"{_path(variant)}--{_path(test)}-{digest}.npz"

    def asked(self, task: Task) -> list[tuple[str, str]]:
        """Variants and tests of a task."""
        planes = list(self.planes())
        if task.seed == ANY_SEED and self.measured and task.arm not in self.measured.methods:
            planes = []
        return [
            (name, test)
            for name, variant in self.variants(task).items()
            for test in (self.tests if isinstance(variant, Adapted) else [*self.tests, *planes])
        ]


def _path(name: str) -> str:
    """A name as part of a path; names that differ stay different."""
    short = slug(name)
    return short if short == name else f"{short}-{_digest(name)[:4]}"


def slug(name: str) -> str:
    """A name for a folder: small letters, digits, points and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower() or "x"


def _digest(thing: Any) -> str:
    text = json.dumps(thing, sort_keys=True, default=literal)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
