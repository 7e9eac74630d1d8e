"""How a study scores: signals by peaks and spectra, anything else by the error of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from ipads_stream.baselines import Method
from ipads_stream.core.handover import torch_threads
from ipads_stream.core.sample import Sample
from ipads_stream.core.units import units_of
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Plane, read_plane
from ipads_stream.distributions.parameters import rules_of
from ipads_stream.evaluation.comparison import check_targets, compare, draw
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks import Task, task_of
from ipads_stream.evaluation.tasks.signals import Signals
from ipads_stream.evaluation.tasks.signals.planes import Region, measured_test, signal_region
from ipads_stream.evaluation.tasks.signals.scores import (
    LOW,
    correlation_sums,
    is_low,
    peak_errors,
    peak_intensities,
)
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.shift import statistics
from ipads_stream.shift.statistics import Metric, Parameter, Pool, Scores, median_of
from ipads_stream.systems import ParametricSystem, System, Undersampled

METHOD = "method"
PEAKS = ("amplitude", "frequency", "decay")


@dataclass(frozen=True)
class TaskScoring:
    """What a study asks of any task, scored by its error of a sample: of all targets and of each.

    Attributes:
        task: of the system.
        system: of a test.
    """

    task: Task
    system: System

    @property
    def errors(self) -> str:
        """Name of the scores with one error for each sample."""
        return self.task.metric.key

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """By name, the main one first."""
        metric, targets = self.task.metric, list(self.task.targets(self.system))
        names = {metric.key: ""}
        if len(targets) > 1:
            names |= {f"{metric.key}_{target}": f" of {target}" for target in targets}
        meaning = "Median over the test's samples."
        return {
            key: Metric(
                f"{metric.title}{of}", meaning, statistics.of_samples(key), metric.best == "low"
            )
            for key, of in names.items()
        }

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The facts that errors are drawn against."""
        units: dict[str, str] = {}
        if isinstance(self.system, ParametricSystem):
            rules = rules_of(self.system)
            units = {name: units_of(x.quantity)[0] for name, x in rules.items() if x.quantity}
        metric = self.task.metric
        scale = (False, metric.best == "low")
        names = self.facts(self.draw(self.system, samples=1, seed=0))
        labels = {name: f"{name} ({units[name]})" if name in units else name for name in names}
        return {n: Parameter(x, metric.key, metric.title, scale) for n, x in labels.items()}

    def draw(self, system: System, *, samples: int, seed: int, split: str = "test") -> Sample:
        """The first samples of a split, as tensors on the host."""
        at_once = self.task.at_once(system)
        sample = draw(system, samples=samples, seed=seed, split=split, at_once=at_once)
        check_targets(system, sample, self.task.targets(system))
        return sample

    def facts(self, sample: Sample) -> Scores:
        """Drawn parameters that errors are looked at by."""
        params = {name: np.asarray(values) for name, values in sample.params.items()}
        return {name: x.astype(np.float64) for name, x in params.items() if x.ndim == 1}

    def scores(self, method: Method, system: System, sample: Sample, most: int | None) -> Scores:
        """Errors of a method on the samples of :meth:`draw`, or on the first ``most`` of them."""
        assert sample.provenance is not None
        comparison = compare(
            system,
            {METHOD: method},
            samples=len(sample) if most is None else min(most, len(sample)),
            seed=sample.provenance.seed,
            split=sample.provenance.split,
            task=self.task,
        )
        scores = {self.errors: np.asarray(self.task.errors(comparison, METHOD))}
        estimates = comparison.estimates[METHOD]
        for key in self.metrics.keys() - scores.keys():
            target = key.removeprefix(f"{self.errors}_")
            scores[key] = np.full(len(scores[self.errors]), np.nan)
            if target in estimates:
                truths, values = {target: comparison.truths[target]}, {target: estimates[target]}
                part = replace(comparison, truths=truths, estimates={METHOD: values})
                scores[key] = np.asarray(self.task.errors(part, METHOD))
        return scores


def _of_peaks(chosen: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Pool | None]:
    def pool(scores: Scores, facts: Scores) -> Pool | None:
        if "peaks" not in scores:
            return None
        at = chosen(facts["amplitude"][: len(scores["peaks"])])
        return median_of(scores["peaks"][at], np.nonzero(at)[0])

    return pool


def _peak_r(scores: Scores, facts: Scores) -> Pool | None:
    if "r" in scores:
        return median_of(scores["r"], np.arange(len(scores["r"])))
    pooled = statistics.Correlation(scores["sums"].astype(np.float64))
    return pooled if np.isfinite(pooled.point()) else None


METRICS = {
    "low": Metric(
        "error of low peaks",
        "Median over peaks with an amplitude below 0.2 in a signal with one above 0.5 of the "
        "complex error at the true frequency over the peak's own height: 1 for a lost peak.",
        _of_peaks(is_low),
    ),
    "high": Metric(
        "error of the other peaks",
        "The same over all peaks with an amplitude from 0.2 up: what gains at low peaks cost.",
        _of_peaks(lambda amplitude: amplitude >= LOW),
    ),
    "rlne": Metric(
        "RLNE",
        "Median over signals of the norm of the error over the norm of the reference; measured "
        "planes: of the whole region, median over schedules.",
        statistics.of_samples("rlne"),
    ),
    "r": Metric(
        "peak r",
        "Pearson's correlation of peak magnitudes in estimate and reference above 3 % of the "
        "signal's tallest, peaks of all signals pooled; measured planes: of the region, median "
        "over schedules.",
        _peak_r,
        is_error=False,
    ),
}
PARAMETERS = {
    "amplitude": Parameter(
        "amplitude of the peak", "peaks", "error of the peak / its height", is_positive=True
    ),
    "rate": Parameter(
        "share of the points that is sampled", "rlne", "RLNE", is_positive=True, step=0.01
    ),
    "snr": Parameter(
        "signal-to-noise ratio", "rlne", "RLNE", is_log=(True, True), is_positive=True
    ),
}


class SignalScoring(TaskScoring):
    """The scores of undersampled signals."""

    metrics: ClassVar[Mapping[str, Metric]] = METRICS  # type: ignore[assignment, misc]
    parameters: ClassVar[Mapping[str, Parameter]] = PARAMETERS  # type: ignore[assignment, misc]

    def facts(self, sample: Sample) -> Scores:
        names = [name for name in (*PEAKS, "snr") if name in sample.params]
        drawn = {name: np.asarray(sample.params[name], dtype=np.float64) for name in names}
        drawn["rate"] = sample.inputs["mask"].numpy().mean(axis=1).astype(np.float64)
        return drawn

    def scores(self, method: Method, system: System, sample: Sample, most: int | None) -> Scores:
        """Of test signals "rlne" (signals,), "sums" (signals, 6) for the correlation of peaks, and
        "peaks" (signals, peaks) where the system has any.
        """
        estimate = method({key: sample.inputs[key].numpy()[:most] for key in ("fid", "mask")})
        target = sample.targets["spectrum"].numpy()[:most]
        spectra = spectrum(estimate["fid"])
        pairs = zip(spectra, target, strict=True)
        scores = {
            "rlne": np.asarray(rlne(spectra, target, axis=-1)),
            "sums": np.array([correlation_sums(*peak_intensities(e, t)) for e, t in pairs]),
        }
        if set(PEAKS) <= set(sample.params):
            dwell = system.dwell if isinstance(system, Undersampled) else 1.0
            a, f, d = (np.asarray(sample.params[key], dtype=np.float64)[:most] for key in PEAKS)
            scores["peaks"] = peak_errors(estimate["fid"], fid_of(target), a, f, d, dwell)
        return scores


def plane_scores(method: Method, name: str, rate: float, *, schedules: int, seed: int) -> Scores:
    """Errors "rlne" and "r", (schedules,), of a method on an undersampled measured plane."""
    plane, region = _plane(name)
    test = measured_test(
        plane, {"": method}, [rate], schedules=schedules, regions=[region], seed=seed
    )
    return {key: np.array([row[key] for row in test.schedules], float) for key in ("rlne", "r")}


@cache
def _plane(name: str) -> tuple[Plane, Region]:
    """The rows of a measured plane that contain its signals."""
    plane = read_plane(datasets.find(name))
    return plane, signal_region(plane, name)


def thresholds(net: torch.nn.Module, sample: Sample, *, most: int = 256) -> np.ndarray | None:
    """Mean threshold of every phase over test signals, (phases,); None without any."""
    inputs: Mapping[str, Any] = {key: value[:most] for key, value in sample.inputs.items()}
    with torch.inference_mode(), torch_threads(1):
        learned = net.eval()(inputs).get("thresholds")
    return None if learned is None else learned.mean(dim=-1).numpy().astype(np.float64)


def scoring_of(system: System, trusted: Sequence[str] = ()) -> TaskScoring:
    """That of the task that a system names."""
    task = task_of(system, trusted=trusted)
    return (SignalScoring if isinstance(task, Signals) else TaskScoring)(task, system)
