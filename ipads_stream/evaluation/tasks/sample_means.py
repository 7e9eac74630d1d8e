"""What the tasks share: a section for each target, and the means of scores of single samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from ipads_stream import __version__
from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import choice
from ipads_stream.data.nifti import stem_of_results
from ipads_stream.evaluation.comparison import Comparison, Findings
from ipads_stream.evaluation.statistics import percentiles, plain
from ipads_stream.evaluation.tasks import Metric, Task
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.page import Column, Picture, Section, Table
from ipads_stream.systems import System
from ipads_stream.systems.base import Measurable

RESAMPLES = 1000
SAMPLES = {"quick": 32, "full": 256}
SHARED_DEFINITIONS = {
    "[95 %]": "Percentile bootstrap interval of the mean over samples.",
    "time": "Wall time per sample in one call on all of them, after one that compiles.",
    "*": "Best value of its column, as rounded; methods that were given fewer samples are not "
    "compared.",
}


@dataclass(frozen=True, kw_only=True)
class ByTarget(Task):
    """A task whose report has a section for each target, with a table and pictures.

    Attributes:
        methods: whose results on measured data are written: "network", or "all"; None: of the
            network.
        row_key: key of the target in the rows of scores.
    """

    methods: str | None = choice(None, among=(NETWORK, "all"), optional=True)

    keys_of_files: ClassVar[Sequence[str]] = ("methods",)
    row_key: ClassVar[str] = "target"

    @abstractmethod
    def columns(self, comparison: Comparison, target: str) -> Sequence[Column]:
        """Of the table of a target."""

    @abstractmethod
    def ratios(self, comparison: Comparison, target: str) -> dict[str, dict[str, Any]]:
        """Method -> error of the network over that of the method on the same samples."""

    @abstractmethod
    def sentence(self, findings: Findings, target: str) -> str:
        """The answer for a target: the network beside the best other method."""

    @abstractmethod
    def sample_scores(
        self, comparison: Comparison, target: str, method: str
    ) -> dict[str, np.ndarray]:
        """Scores, by key, of the samples that a method was given, (samples,) each."""

    @abstractmethod
    def draw(
        self, system: System, comparison: Comparison, target: str, sample: int, path: Path
    ) -> str:
        """Draws truth and estimates of a sample, and says what one sees, after a colon."""

    def lead(self, findings: Findings) -> list[str]:
        ((_, comparison),) = findings.comparisons
        return [self.sentence(findings, target) for target in comparison.truths]

    def sections(self, findings: Findings, output: Path) -> list[Section]:
        ((_, comparison),) = findings.comparisons
        parts, ratios = [], {}
        for target in comparison.truths:
            rows = [row for row in findings.rows if row[self.row_key] == target]
            table = Table(columns=self.columns(comparison, target), rows=rows)
            pictures = self.pictures(findings.system, comparison, target, output)
            parts.append(Section(title=target, tables=[table], pictures=pictures))
            ratios[target] = self.ratios(comparison, target)
        return [*parts, Section(results={"network_over": ratios})]

    def pictures(
        self, system: System, comparison: Comparison, target: str, output: Path
    ) -> list[Picture]:
        """Of the samples with the median and the largest error of the network."""
        methods = comparison.methods(target)
        method = NETWORK if NETWORK in methods else methods[0]
        errors = next(iter(self.sample_scores(comparison, target, method).values()))
        order = np.argsort(np.nan_to_num(errors, nan=-1.0))
        made = []
        for rank, sample in (("median", order[len(order) // 2]), ("largest", order[-1])):
            path = output / f"{target}_{rank}.png"
            text = self.draw(system, comparison, target, int(sample), path)
            made.append((path, f"{target}, the sample with the network's {rank} error: {text}."))
        return made

    def used(self, methods: Mapping[str, Method]) -> Mapping[str, Method]:
        """Those whose results on measured data are written."""
        return methods if self.methods == "all" else {NETWORK: methods[NETWORK]}


@dataclass(frozen=True, kw_only=True)
class SampleMeans(ByTarget):
    """A task that scores every sample by itself and reports the mean over samples."""

    @abstractmethod
    def metrics(self, comparison: Comparison, target: str) -> Sequence[Metric]:
        """The scores of a target; the first is an error, by which methods are compared."""

    @abstractmethod
    def score(
        self, comparison: Comparison, target: str, row: int, estimate: Any
    ) -> Sequence[float]:
        """The metrics, in their order, of an estimate of one sample; NaN where one is undefined."""

    def num_samples(self, system: System, subset: str, is_measured: bool) -> int:
        return SAMPLES[subset]

    def sample_scores(
        self, comparison: Comparison, target: str, method: str
    ) -> dict[str, np.ndarray]:
        estimates = enumerate(comparison.estimates[method][target])
        rows = [self.score(comparison, target, row, estimate) for row, estimate in estimates]
        keys = [metric.key for metric in self.metrics(comparison, target)]
        return dict(zip(keys, np.array(rows, float).T, strict=True))

    def scores(self, comparison: Comparison) -> list[dict[str, Any]]:
        rows = []
        for target in comparison.truths:
            for method in comparison.methods(target):
                count = comparison.num_samples(method)
                row: dict[str, Any] = {
                    "target": target,
                    "method": method,
                    "samples": count,
                    "is_partial": count < len(comparison),
                    "seconds_per_sample": comparison.seconds[method],
                }
                for key, values in self.sample_scores(comparison, target, method).items():
                    row |= interval(key, values)
                rows.append(row)
        return rows

    def errors(self, comparison: Comparison, method: str) -> np.ndarray:
        """The mean over the targets of the first metric of each."""
        targets = comparison.estimates[method]
        return np.mean([self._errors(comparison, target, method) for target in targets], axis=0)

    def _errors(self, comparison: Comparison, target: str, method: str) -> np.ndarray:
        return next(iter(self.sample_scores(comparison, target, method).values()))

    def columns(self, comparison: Comparison, target: str) -> Sequence[Column]:
        return (
            Column("method", "method"),
            Column("samples", "samples"),
            *columns_of(self.metrics(comparison, target)),
            Column("time per sample (ms)", "seconds_per_sample", ".3g", 1e3),
        )

    def ratios(self, comparison: Comparison, target: str) -> dict[str, dict[str, Any]]:
        methods = comparison.methods(target)
        errors = {method: self._errors(comparison, target, method) for method in methods}
        network = errors.pop(NETWORK, None)
        if network is None:
            return {}
        return {method: _ratio(network, other) for method, other in errors.items()}

    def sentence(self, findings: Findings, target: str) -> str:
        ((_, comparison),) = findings.comparisons
        if NETWORK not in comparison.methods(target):
            return f"{target}: the network does not estimate it."
        metric = self.metrics(comparison, target)[0]
        error = mean(self._errors(comparison, target, NETWORK))
        ratios = self.ratios(comparison, target)
        return verdict(target, f"mean {metric.title}", error, metric.unit, ratios) + "."

    def predictions(
        self, methods: Mapping[str, Method], system: System, data: str, values: np.ndarray
    ) -> dict[str, dict[str, np.ndarray]]:
        """Method -> target -> what it makes of the inputs of ``system.measured(values, None)``."""
        if not isinstance(system, Measurable):
            allowed = f"synthetic: {system.name} has no measured(images, axis)"
            raise ConfigError("data", data, allowed)
        inputs = {name: np.asarray(x) for name, x in system.measured(values, None).items()}
        return {
            name: {target: np.asarray(x) for target, x in method(inputs).items()}
            for name, method in self.used(methods).items()
        }


def verdict(
    target: str, score: str, error: float, unit: str, ratios: Mapping[str, Mapping[str, Any]]
) -> str:
    """How large the network's error is, and how it compares, without a full stop.

    ``ratios`` has, by method, the "ratio" of the network's error to that of the method on the same
    samples, its "low" and "high", "other", the error of the method, and "samples".
    """
    unit = f" {unit}" if unit not in ("", "1") else ""
    text = f"{target}: the network's {score} is {error:.3g}{unit}"
    known = {name: ratio for name, ratio in ratios.items() if ratio["ratio"] is not None}
    if not known:
        return text
    best = max(known, key=lambda name: known[name]["ratio"])
    ratio = known[best]
    around = "" if ratio["low"] is None else f" [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return (
        f"{text}; on the same {ratio['samples']} samples it is {ratio['ratio']:.3f}{around} times "
        f"that of the best other method ({best}, {ratio['other']:.3g}{unit})"
    )


def estimates_of(comparison: Comparison, target: str, sample: int) -> dict[str, np.ndarray]:
    """The estimates of a sample, by every method that was given it."""
    return {
        method: comparison.estimates[method][target][sample]
        for method in comparison.methods(target)
        if comparison.num_samples(method) > sample
    }


def where(comparison: Comparison, target: str, row: int) -> np.ndarray:
    """True where a sample counts: its mask, or everywhere, in the shape of the truth."""
    if comparison.mask is None:
        return np.ones(comparison.truths[target].shape[1:], bool)
    return np.asarray(comparison.mask[row], bool)


def sidecar(method: str, unit: str, sources: Sequence[Path]) -> dict[str, Any]:
    """The BIDS sidecar of the results that a method computed from files."""
    return {
        "Units": unit or "arbitrary",
        "EstimationAlgorithm": method,
        "Sources": [source.name for source in sources],
        "GeneratedBy": [{"Name": "ipads_stream", "Version": __version__}],
    }


def results_stem(path: Path, method: str) -> str:
    """Name of the files of a method's results on measured data; the network is not named in it."""
    return stem_of_results(path, "" if method == NETWORK else method)


def mean(values: Float[np.ndarray, " samples"]) -> float:
    """Of the finite ones; NaN of none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def interval(key: str, values: Float[np.ndarray, " samples"]) -> dict[str, float | None]:
    """The mean of the finite values as ``key``, and its ends as ``key_low`` and ``key_high``."""
    low, high = percentiles(resampled_means(values), 0.95)
    return {key: plain(mean(values)), f"{key}_low": plain(low), f"{key}_high": plain(high)}


def resampled_means(values: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " resamples"]:
    """Means of resamples of the finite values; equal numbers of values have the same resamples."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.empty(0)
    random = np.random.Generator(np.random.Philox(key=0))
    return finite[random.integers(finite.size, size=(RESAMPLES, finite.size))].mean(axis=1)


def _ratio(network: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Ratio of the means on the samples where both are defined, with its bootstrap interval."""
    count = min(len(network), len(other))
    both = np.isfinite(network[:count]) & np.isfinite(other[:count])
    network, other = (errors[:count][both] for errors in (network, other))
    with np.errstate(divide="ignore", invalid="ignore"):  # of a method without an error
        ratio = np.divide(mean(network), mean(other))
        low, high = percentiles(np.divide(resampled_means(network), resampled_means(other)), 0.95)
    return {
        "ratio": plain(ratio),
        "low": plain(low),
        "high": plain(high),
        "network": plain(mean(network)),
        "other": plain(mean(other)),
        "samples": int(both.sum()),
    }


def columns_of(metrics: Sequence[Metric]) -> tuple[Column, ...]:
    """Of a table of means with their intervals, as :func:`interval` gives them."""
    return tuple(
        Column(
            f"{metric.title}{f' ({metric.unit})' if metric.unit else ''} [95 %]",
            metric.key,
            ".4g" if metric.best == "high" else ".3g",
            1.0,
            (f"{metric.key}_low", f"{metric.key}_high"),
            metric.best or None,
        )
        for metric in metrics
    )
