"""All methods on the same simulated samples: what each can be given, estimates, times, bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.evaluation.tasks import Condition, Task, task_of
from ipads_stream.report.figures import NETWORK as NETWORK
from ipads_stream.stream.estimate import duration
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.systems.base import Bounded

FEWEST = 2  # samples; with fewer there is nothing to compare
LONG_ENOUGH = 0.25  # s, of a call that is timed
MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an evaluation can afford.

    Attributes:
        methods: that are compared, by name.
        fewer: method -> number of samples, for those too slow for all.
        notes: sentences on those left out.
        seconds: estimated duration of the whole.
    """

    methods: dict[str, Method]
    fewer: dict[str, int]
    notes: list[str]
    seconds: float


def affordable(
    methods: Mapping[str, Method],
    inputs: Mapping[str, np.ndarray],
    *,
    samples: int,
    times: int = 1,
    seconds: float,
    fewest: int = FEWEST,
) -> Plan:
    """Tries the methods on a few inputs and plans how many samples each is given.

    A method that refuses the inputs is left out with its reason; the network is not. Each of
    ``times`` tests has ``samples``; a method that cannot do ``fewest`` of them in its time is left
    out, too. ``seconds`` is what all methods together may take.
    """
    costs: dict[str, float] = {}
    notes = []
    for name, method in methods.items():
        try:
            costs[name] = seconds_per_sample(method, inputs) * times
        except ValueError as reason:
            if name == NETWORK:
                raise
            notes.append(f"{name} is left out: {reason}.")
    enough = max(fewest, FEWEST)
    counts = _shares(costs, samples, seconds)
    while short := [name for name in counts if counts[name] < enough and name != NETWORK]:
        slowest = max(short, key=costs.__getitem__)
        whole = duration(costs.pop(slowest) * enough)
        text = f"{enough} samples would take about {whole}; all methods have {duration(seconds)}"
        notes.append(f"{slowest} is left out: {text}.")
        counts = _shares(costs, samples, seconds)
    counts = {name: max(FEWEST, counts[name]) for name in costs}
    return Plan(
        methods={name: methods[name] for name in costs},
        fewer={name: count for name, count in counts.items() if count < samples},
        notes=notes,
        seconds=sum(costs[name] * counts[name] for name in costs),
    )


def _shares(costs: Mapping[str, float], samples: int, seconds: float) -> dict[str, int]:
    """Samples of each method: even shares of the time, and what the faster ones do not need."""
    counts = {}
    for place, name in enumerate(sorted(costs, key=costs.__getitem__)):
        share = seconds / (len(costs) - place)
        counts[name] = samples if costs[name] * samples <= share else int(share / costs[name])
        seconds -= counts[name] * costs[name]
    return counts


def seconds_per_sample(method: Method, inputs: Mapping[str, np.ndarray]) -> float:
    """Wall time of one sample, in ever larger calls until one is long; the first is not timed."""
    most = len(next(iter(inputs.values())))
    method(first(inputs, 1))
    count = 1
    while True:
        started = time.perf_counter()
        method(first(inputs, count))
        taken = time.perf_counter() - started
        if taken >= LONG_ENOUGH or count == most:
            return taken / count
        count = min(most, 8 * count)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The estimates of every method for the same samples; SI, batch first.

    Attributes:
        quantities: what the targets are, by name: unit, scale and range.
        truths: target -> (samples, ...).
        estimates: method -> target -> values of the first samples, as many as the method was
            given; NaN without an estimate; without the targets that it does not estimate.
        seconds: method -> wall time per sample.
        mask: where a value counts, as the truths; None: everywhere.
        bounds: target -> least standard deviation of an unbiased estimate (Cramer-Rao), as the
            truths or (samples,); empty where the system has none.
        sample: all of them, as tensors on the host.
    """

    quantities: Mapping[str, Quantity]
    truths: dict[str, np.ndarray]
    estimates: dict[str, dict[str, np.ndarray]]
    seconds: dict[str, float]
    mask: np.ndarray | None = None
    bounds: dict[str, np.ndarray]
    sample: Sample

    def __len__(self) -> int:
        return len(next(iter(self.truths.values())))

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Of the samples."""
        return on_host(self.sample.inputs)

    def num_samples(self, method: str) -> int:
        """That a method was given."""
        return len(next(iter(self.estimates[method].values())))

    def methods(self, target: str) -> list[str]:
        """Names of the methods that estimate a target."""
        return [name for name, estimates in self.estimates.items() if target in estimates]


Compared = tuple[Condition, Comparison]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of the methods on synthetic samples.

    Attributes:
        system: that simulated the training data.
        model: the trained network, as ``load_model`` gives it.
        seed: of the samples.
        comparisons: condition and comparison, in order.
        rows: scores of all, each with the labels of its condition.
    """

    system: System
    model: Any
    seed: int
    comparisons: Sequence[Compared]
    rows: Sequence[dict[str, Any]]


def compare(
    system: System,
    methods: Mapping[str, Method],
    *,
    samples: int,
    seed: int,
    split: str = "test",
    task: Task | None = None,
    fewer: Mapping[str, int] | None = None,
    bar: bool = False,
) -> Comparison:
    """Estimates the targets of the first samples of a split with every method.

    Args:
        system: its ``bound(params)`` is asked where it has one; a shifted test is one on another.
        methods: by name. Each runs on one sample first, which is not timed.
        samples, seed, split: how many samples, of which stream.
        task: what is estimated; None: the task of this package that the system names.
        fewer: method -> number of samples, for those too slow for all.
        bar: show a progress bar.

    Raises:
        ConfigError: a system without the targets of the task, or a method that gives another shape
            than the truth has.
    """
    task = task_of(system) if task is None else task
    quantities = task.targets(system)
    sample = draw(system, samples=samples, seed=seed, split=split, at_once=task.at_once(system))
    inputs, targets = on_host(sample.inputs), on_host(sample.targets)
    check_targets(system, sample, quantities)
    truths = {name: targets[name] for name in quantities}
    estimates: dict[str, dict[str, np.ndarray]] = {}
    seconds: dict[str, float] = {}
    for name, method in (progress := tqdm(methods.items(), disable=not bar)):
        progress.set_description(name)
        count = min((fewer or {}).get(name, samples), samples)
        method(first(inputs, 1))  # compiles, builds tables
        started = time.perf_counter()
        predictions = method(first(inputs, count))
        seconds[name] = (time.perf_counter() - started) / count
        estimates[name] = _checked(name, predictions, truths, count)
    bounds = system.bound(sample.params) if isinstance(system, Bounded) else {}
    return Comparison(
        quantities=quantities,
        truths=truths,
        estimates=estimates,
        seconds=seconds,
        mask=targets.get(MASK) if MASK not in quantities else None,
        bounds={name: np.asarray(sd) for name, sd in bounds.items()},
        sample=sample,
    )


def rows_of(task: Task, comparisons: Sequence[Compared]) -> list[dict[str, Any]]:
    """Scores of all comparisons, each with the labels of its condition."""
    return [condition.labels | row for condition, each in comparisons for row in task.scores(each)]


def draw(system: System, *, samples: int, seed: int, split: str = "test", at_once: int) -> Sample:
    """Samples 0 ... samples - 1 of a split, drawn ``at_once`` at a time, as tensors on the host."""
    stream = Stream(system, seed=seed, split=split, batch_size=1, device="cpu", threads=0)
    starts = range(0, samples, at_once)
    parts = [stream.sample(range(start, min(start + at_once, samples))) for start in starts]
    origins = [part.provenance for part in parts if part.provenance is not None]

    def joined(name: str, join: Callable[..., Any]) -> dict[str, Any]:
        groups = [getattr(part, name) for part in parts]
        return {key: join([group[key] for group in groups]) for key in groups[0]}

    return Sample(
        inputs=joined("inputs", torch.cat),
        targets=joined("targets", torch.cat),
        params=joined("params", np.concatenate),
        provenance=replace(
            origins[0],
            indices=np.concatenate([origin.indices for origin in origins]),
            substituted=np.concatenate([origin.substituted for origin in origins]),
        ),
    )


def check_targets(system: System, sample: Sample, names: Iterable[str]) -> None:
    """Refuses, under ``system``, a system without a target that its task asks for."""
    for name in names:
        if name not in sample.targets:
            raise ConfigError("system", system.name, f"a system with the target {name}")


def generated(
    system: System, *, samples: int, seed: int, split: str = "test"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Arrays]:
    """Inputs, targets and parameters of samples 0 ... samples - 1 of a split, as NumPy arrays."""
    at_once = task_of(system).at_once(system)
    sample = draw(system, samples=samples, seed=seed, split=split, at_once=at_once)
    return on_host(sample.inputs), on_host(sample.targets), sample.params


def on_host(arrays: Arrays) -> dict[str, np.ndarray]:
    """Tensors on the host as NumPy arrays, without a copy."""
    return {name: np.asarray(array) for name, array in arrays.items()}


def first(inputs: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The inputs of the first samples."""
    return {name: values[:count] for name, values in inputs.items()}


def _checked(
    method: str, predictions: Mapping[str, np.ndarray], truths: Mapping[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """The estimates of a method, of the shape that the truth has."""
    estimates = {name: np.asarray(predictions[name]) for name in truths if name in predictions}
    if not estimates:
        allowed = f"estimates of {', '.join(truths)}, or of one of them"
        raise ConfigError(method, ", ".join(predictions), allowed)
    for name, values in estimates.items():
        expected = (count, *truths[name].shape[1:])
        if values.shape != expected:
            allowed = f"{expected}, the shape of the truth"
            raise ConfigError(f"{method}.{name}.shape", values.shape, allowed)
    return estimates
