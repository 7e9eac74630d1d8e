"""What a study is: arms, tests, seeds and metrics, read from conf/shift/NAME.yaml."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ipads_stream.config import build_system, compose
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Names, Number, Numbers, check, choice, number, ruled, whole
from ipads_stream.shift.scoring import SignalScoring, TaskScoring, scoring_of
from ipads_stream.shift.statistics import ANY_SEED, Metric
from ipads_stream.systems import Compared, System

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
TYPED = {"null", "true", "false", "nan", "inf", "yes", "no", "on", "off"}
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
        solver: low-rank or lines (baselines/signals).
    """

    arm: str
    solver: str = choice(among=("low-rank", "lines"))

    def __post_init__(self) -> None:
        check(self)


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
    samples: int = whole(16, low=1)
    steps: int = whole(5, low=1)
    rate: float = number(0.05, above=0.0)
    loss: str = choice("hidden", among=("hidden", "supervised"))

    def __post_init__(self) -> None:
        check(self)


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

    names: Sequence[str] = ruled(Names(what="data sets"))
    rates: Sequence[float] = ruled(Numbers(each=Number(above=0.0, high=1.0)), (0.25,))
    schedules: int = whole(5, low=1)
    methods: Sequence[str] = ruled(Names(what="methods"), ())

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as configured; its results lie in ``output``.

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
        metric_names: the main one first; empty: all of the task.
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
    metric_names: tuple[str, ...]
    series: Mapping[str, Mapping[float, str]]
    series_label: str
    reference: str
    level: float
    resamples: int
    output: Path
    device: str
    trusted: tuple[str, ...]

    @cached_property
    def scoring(self) -> TaskScoring:
        """Of the task that the systems of all tests name."""
        return scoring_of(self.test_system(next(iter(self.tests))), self.trusted)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """By name, the main one first."""
        known = self.scoring.metrics
        for name in self.metric_names:
            if name not in known:
                raise ConfigError("shift.metrics", name, f"of {', '.join(known)}")
        return {name: known[name] for name in self.metric_names or known}

    def check(self) -> None:
        """Refuses, before hours of training, what the task of the tests does not have."""
        _ = self.metrics
        for test in self.tests:
            known = self.test_system(test)
            names = list(known.baselines) if isinstance(known, Compared) else []
            for name in self.methods:
                if name not in names:
                    allowed = f"one of {', '.join(names) or 'none'}: baselines of {known.name}"
                    raise ConfigError(f"shift.methods.{name}", name, allowed)
        if not isinstance(self.scoring, SignalScoring):
            signals = "null: only of undersampled signals"
            for name, variant in self.after.items():
                if isinstance(variant, Solved) or variant.loss == "hidden":
                    raise ConfigError(f"shift.after.{name}", variant.arm, signals)
            if self.measured is not None:
                raise ConfigError("shift.measured", self.measured.names, signals)

    def tasks(self) -> list[Task]:
        """Methods first, then all arms of the first seed, of the second, and so on."""
        trained = [Task(arm, seed) for seed in self.seeds for arm in self.arms]
        return [*(Task(method, ANY_SEED) for method in self.methods), *trained]

    def training(self, task: Task) -> dict[str, Any]:
        """The composed configuration of a training."""
        if task.arm not in self._composed:
            self._composed[task.arm] = self._compose(task.arm)
        return copy.deepcopy(self._composed[task.arm]) | {"seed": task.seed}

    @cached_property
    def _composed(self) -> dict[str, dict[str, Any]]:  # by arm: composing takes a while
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
        """Of a task; its name encodes what decides the outcome, so that no stale result is used."""
        if task.seed == ANY_SEED:
            return self.output / "methods" / _path(task.arm)
        kept = {k: v for k, v in self.training(task).items() if k not in OUTSIDE}
        kept["stream"].pop("device", None)
        before = self.needs(task)
        if before is not None:
            kept["start"] = self.folder(before).name
        return self.output / "arms" / _path(task.arm) / f"{task.seed}-{_digest(kept)}"

    def variants(self, task: Task) -> dict[str, Variant | None]:
        """Name -> variant (None: as trained) of all that a task's reconstruction is tested as."""
        after = {name: after for name, after in self.after.items() if after.arm == task.arm}
        return {task.arm: None, **after}

    def test_system(self, test: str) -> System:
        """The system that a test draws from: common and the test's keys, not the arm's."""
        return self._systems[test]

    @cached_property
    def _systems(self) -> dict[str, System]:
        systems = {}
        for name, keys in self.tests.items():
            try:
                config = compose(merged([self.common, keys]))
                systems[name] = build_system(config, self.trusted)
            except ConfigError as error:
                raise error.under(f"shift.tests.{name}") from None
        return systems

    def planes(self) -> dict[str, tuple[str, float]]:
        """Name of the test -> data set and rate, of the tests on measured planes."""
        measured = self.measured
        pairs = [] if measured is None else itertools.product(measured.names, measured.rates)
        return {f"{name} {100 * rate:g} %": (name, rate) for name, rate in pairs}

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
        tests = [*self.tests, *self.planes()]
        if task.seed == ANY_SEED and self.measured and task.arm not in self.measured.methods:
            tests = list(self.tests)
        asked: list[tuple[str, str]] = []
        for name, variant in self.variants(task).items():
            asked += [(name, x) for x in (self.tests if isinstance(variant, Adapted) else tests)]
        return asked


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


def merged(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The overrides of several layers; of the same key, the last layer's value."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            for outer in values:
                if key.startswith(f"{outer}.") and isinstance(values[outer], Mapping):
                    raise ConfigError(key, value, f"{outer} as a whole, as it is given before")
            if isinstance(value, Mapping):  # else the name of a file, whose keys can be changed
                values = {k: v for k, v in values.items() if not k.startswith(f"{key}.")}
            values[key] = value
    return [f"{key}={literal(value)}" for key, value in values.items()]


def literal(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(literal(item) for item in value) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in TYPED:
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
