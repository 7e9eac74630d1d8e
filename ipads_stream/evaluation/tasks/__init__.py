"""What a network is asked, one file per family: how it is scored, shown and given measured data.

A system names its task, ``task = "quantities"``, or a user's class by its full name.
Everything else, from the command line to the report, knows tasks only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Whole, check
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.trust import imported
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.page import Section
from ipads_stream.systems import System
from ipads_stream.systems.base import Tasked

if TYPE_CHECKING:
    from ipads_stream.evaluation.comparison import Comparison, Findings
    from ipads_stream.evaluation.model import Model

PACKAGE = "ipads_stream.evaluation.tasks"
TASKS = {
    "quantities": f"{PACKAGE}.quantities.Quantities",
    "signals": f"{PACKAGE}.signals.Signals",
    "spectra": f"{PACKAGE}.spectra.Spectra",
    "images": f"{PACKAGE}.images.Images",
    "vectors": f"{PACKAGE}.vectors.Vectors",
}
SHARED_KEYS = (  # of conf/evaluate.yaml; all others belong to a task
    "checkpoint", "data", "subset", "samples", "seed", "baselines", "output", "device", "logger",
    "trusted",
)  # fmt: skip
SYNTHETIC = "synthetic"
SECONDS = {"quick": 30.0, "full": 1800.0}  # that all methods together may take
SUBSETS = {"quick": "quick", "demo": "quick", "full": "full"}  # name in the configuration -> subset


@dataclass(frozen=True)
class Metric:
    """An error of one sample, by which samples are ranked and methods compared.

    Attributes:
        key: of records.
        title: for tables and sentences.
        unit: "" where it has none.
        best: "low" or "high".
    """

    key: str
    title: str
    unit: str = ""
    best: str = "low"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A system under which the methods are compared.

    Attributes:
        system: that simulates the samples.
        labels: what distinguishes its rows from those of other conditions, as {"rate": 0.25}.
        overrides: what it changes in the system of the training; ``replay`` reads them.
    """

    system: System
    labels: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a network is asked. The fields are the keys of conf/evaluate.yaml of this task alone.

    Attributes:
        name: as systems name it.
        metric: the error of one sample.
        definitions: what the scores are, for the report.
        data_sets: names that ``data`` may have besides paths.
        keys_of_files: fields that describe a user's file.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    definitions: ClassVar[Mapping[str, str]]
    data_sets: ClassVar[Sequence[str]] = ()
    keys_of_files: ClassVar[Sequence[str]] = ()

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def targets(self, system: System) -> Mapping[str, Quantity]:
        """The targets that are estimated, with their units and ranges.

        Raises:
            ConfigError: a system that this task cannot be asked of, under the key ``system``.
        """

    @abstractmethod
    def num_samples(self, system: System, subset: str, is_measured: bool) -> int:
        """Number of synthetic samples, by default, for subset "quick" or "full"."""

    def at_once(self, system: System) -> int:
        """Number of samples that are generated together."""
        return 16

    def conditions(self, system: System, settings: Settings) -> list[Condition]:
        """The synthetic tests: by default one on the system itself, none beside measured data."""
        return [] if settings.is_measured else [Condition(system=system)]

    def user_function(self, model: Model) -> Any:
        """What ``load_model`` gives: by default the network, inputs to estimates."""
        return model

    def network_methods(self, model: Any) -> dict[str, Method]:
        """What a model of :meth:`user_function` brings: ``NETWORK``, and what builds on it."""
        return {NETWORK: model}

    @abstractmethod
    def scores(self, comparison: Comparison) -> list[dict[str, Any]]:
        """Rows of numbers by method, with their intervals; None where one is not defined."""

    @abstractmethod
    def errors(self, comparison: Comparison, method: str) -> np.ndarray:
        """The metric of every sample that a method was given, (samples,); NaN where undefined."""

    @abstractmethod
    def lead(self, findings: Findings) -> list[str]:
        """The answer, in a sentence or one for each target."""

    @abstractmethod
    def sections(self, findings: Findings, output: Path) -> list[Section]:
        """Tables and pictures of the synthetic tests; pictures are written to ``output``."""

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        """Applies the methods to ``settings.data``, and writes results in the user's format.

        Raises:
            ConfigError: data that do not fit.
        """
        raise ConfigError("data", settings.data, f"synthetic: {system.name} takes no measured data")


def task_of(
    system: System, config: Mapping[str, Any] | None = None, trusted: Sequence[str] = ()
) -> Task:
    """The task that a system names, with the keys that ``config``, as conf/evaluate.yaml, gives it.

    Raises:
        ConfigError: a system without a task or with one that may not be run, a system that the
            task cannot be asked of, or a key of another task.
    """
    names = f"one of {', '.join(TASKS)}, or the full name of a class of your own"
    if not isinstance(system, Tasked):
        allowed = f'{system.name} names no task: add task = "...", {names}'
        raise ConfigError("system.task", None, allowed)
    target = TASKS.get(system.task, system.task)
    cls = imported(target, "system.task", (PACKAGE, *trusted), f"{names}, in a trusted package")
    keys = [each.name for each in fields(cls)]
    given = {k: v for k, v in (config or {}).items() if k not in SHARED_KEYS and v is not None}
    for key, value in given.items():
        if key not in keys:
            known = f"the task of {system.name}, {cls.name}, has {', '.join(keys) or 'no keys'}"
            raise ConfigError(key, value, f"null: {known}")
    task: Task = cls(**given)
    task.targets(system)
    return task


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is evaluated; see conf/evaluate.yaml.

    Attributes:
        data: "synthetic", the name of a data set, or a path.
        subset: "quick" or "full".
        samples: synthetic ones.
        seed: of the synthetic samples.
    """

    data: str
    subset: str
    samples: int
    seed: int

    @property
    def seconds(self) -> float:
        """That all methods together may take."""
        return SECONDS[self.subset]

    @property
    def is_measured(self) -> bool:
        return self.data != SYNTHETIC

    @staticmethod
    def of(config: Mapping[str, Any], task: Task, system: System) -> Settings:
        """Checked settings, with the task's defaults.

        Raises:
            ConfigError: an invalid value, by key.
        """
        data = SYNTHETIC if config.get("data") is None else config["data"]
        names = (SYNTHETIC, *task.data_sets)
        if not isinstance(data, str) or (data not in names and not Path(data).exists()):
            allowed = f"{', '.join(names)}, or the path of a file or folder that exists"
            raise ConfigError("data", data, allowed)
        subset = config.get("subset", "quick")
        if not isinstance(subset, str) or subset not in SUBSETS:
            raise ConfigError("subset", subset, "quick or full")
        for key in task.keys_of_files:
            value = getattr(task, key)
            if value is not None and data in names:
                raise ConfigError(key, value, "null, unless data is a file or a folder")
        subset, samples = SUBSETS[subset], config.get("samples")
        if samples is None:
            samples = task.num_samples(system, subset, data != SYNTHETIC)
        samples, seed = (
            Whole(low=2)("samples", samples),
            Whole(low=0)("seed", config.get("seed", 0)),
        )
        return Settings(data=data, subset=subset, samples=samples, seed=seed)
