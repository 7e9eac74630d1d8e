"""The numbers of a study: metrics, intervals over seeds and signals, paired comparisons.

Arms trained with one seed saw the same samples except for what the arm changes, and all were tested
on the same signals: differences are taken seed by seed. A method that is not trained has one value
for all seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ipads_stream.evaluation.statistics import percentiles, plain, sign_flip, student
from ipads_stream.evaluation.tasks.signals.scores import correlation_of

Scores = dict[str, np.ndarray]  # of the samples of a test, by name
ANY_SEED = -1  # of a method that is not trained
FEW = 5  # seeds below which no difference is concluded: the sign-flip test could not show it


@dataclass(frozen=True)
class Median:
    """Median of values; a signal has several of them, or none.

    Attributes:
        values: (units,).
        signals: number of the signal that each belongs to, (units,).
    """

    values: Float[np.ndarray, " units"]
    signals: Int[np.ndarray, " units"]

    @property
    def num_units(self) -> int:
        return len(self.values)

    def point(self) -> float:
        return float(np.median(self.values))

    @cached_property
    def _order(self) -> Int[np.ndarray, " units"]:
        return np.argsort(self.values, kind="stable")

    def resampled(self, counts: Int[np.ndarray, "resamples signals"]) -> np.ndarray:
        """Medians where signal s counts ``counts[k, s]`` times, (resamples,); NaN of nothing.

        Equal to the median of the values repeated so often: half of the total weight is looked up
        in the running sum over the sorted values, instead of sorting each resample.
        """
        ordered = self.values[self._order]
        medians = np.full(len(counts), np.nan)
        for k, row in enumerate(counts):
            running = np.cumsum(row[self.signals[self._order]])
            total = running[-1]
            if total:
                # The two middle ones, the same where their number is odd.
                at = np.searchsorted(running, [(total - 1) // 2, total // 2], side="right")
                medians[k] = 0.5 * (ordered[at[0]] + ordered[at[1]])
        return medians


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of pairs, pooled over signals.

    Attributes:
        sums: ``correlation_sums`` of each signal, (signals, 6).
    """

    sums: Float[np.ndarray, "signals 6"]

    @property
    def num_units(self) -> int:
        return int(self.sums[:, 0].sum())

    def point(self) -> float:
        return float(correlation_of(self.sums.sum(axis=0)))

    def resampled(self, counts: Int[np.ndarray, "resamples signals"]) -> np.ndarray:
        return correlation_of(counts[:, : len(self.sums)] @ self.sums)


Pool = Median | Correlation


@dataclass(frozen=True)
class Metric:
    """One number for an arm on a test.

    Attributes:
        title: for tables.
        meaning: one sentence.
        pool: (scores, facts) -> what the number is taken of; None: not to be had there.
        is_error: compared as a ratio (an error), or as a difference (a correlation).
    """

    title: str
    meaning: str
    pool: Callable[[Scores, Scores], Pool | None]
    is_error: bool = True

    @property
    def better(self) -> str:
        return "low" if self.is_error else "high"


@dataclass(frozen=True)
class Parameter:
    """A drawn parameter that errors are drawn against.

    Attributes:
        label: with its unit.
        errors: name of the scores, one for each value.
        title: of these errors.
        is_log: whether (parameter, error) are drawn on logarithmic scales.
        is_positive: whether 0 stands for what is absent.
        step: differences up to 1.5 of it are those of rounding.
    """

    label: str
    errors: str
    title: str
    is_log: tuple[bool, bool] = (False, True)
    is_positive: bool = False
    step: float = 0.0

    def present(self, values: np.ndarray) -> np.ndarray:
        """The values of what is there."""
        if not self.is_positive:
            return values
        return values[values > 0] if (values > 0).any() else np.ones(1)


def median_of(values: np.ndarray, samples: np.ndarray) -> Median | None:
    """The median of finite values, each of the sample with that number; None without any."""
    values = values.astype(np.float64)
    at = np.isfinite(values)
    return Median(values[at], samples[at]) if at.any() else None


def of_samples(name: str) -> Callable[[Scores, Scores], Pool | None]:
    """The median over samples of scores with one value each."""

    def pool(scores: Scores, facts: Scores) -> Pool | None:
        return median_of(scores[name], np.arange(len(scores[name])))

    return pool


@dataclass(frozen=True)
class Resamples:
    """Which seeds and signals each bootstrap resample takes; the same for all arms.

    Attributes:
        seeds: uniform numbers, u of n seeds takes seed floor(u n), (resamples, seeds).
        signals: how often each signal counts, (resamples, signals).
    """

    seeds: Float[np.ndarray, "resamples seeds"]
    signals: Int[np.ndarray, "resamples signals"]

    @staticmethod
    def drawn(
        num_seeds: int, num_signals: int, *, resamples: int = 1000, key: int = 0
    ) -> Resamples:
        """Draws with replacement, of both, independently of each other (they are crossed)."""
        random = np.random.Generator(np.random.Philox(key=key))
        seeds = random.random((resamples, num_seeds))
        equal = np.full(num_signals, 1.0 / num_signals)
        return Resamples(seeds, random.multinomial(num_signals, equal, size=resamples))


@dataclass(frozen=True)
class Cell:
    """An arm on a test, by one metric.

    Attributes:
        arm, test, metric: names.
        by_seed: seed -> value; of a method that is not trained, under ``ANY_SEED``.
        resampled: (seeds, resamples): values on the resampled signals.
        units: peaks or signals behind a value.
    """

    arm: str
    test: str
    metric: str
    by_seed: dict[int, float]
    resampled: Float[np.ndarray, "seeds resamples"]
    units: int

    @property
    def sd(self) -> float | None:
        """Over seeds."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def row(self, resamples: Resamples, level: float) -> dict[str, Any]:
        """Plain values; the interval of the mean is a bootstrap over seeds and signals."""
        low, high = percentiles(_over_seeds(self.resampled, resamples), level)
        return {
            "arm": self.arm,
            "test": self.test,
            "metric": self.metric,
            "mean": float(np.mean(list(self.by_seed.values()))),
            "low": low,
            "high": high,
            "sd": self.sd,
            "seeds": len(self.by_seed) if ANY_SEED not in self.by_seed else 0,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "units": self.units,
        }


def cell(arm: str, test: str, metric: str, pools: Mapping[int, Pool], resamples: Resamples) -> Cell:
    """The values of an arm on a test."""
    by_seed = {seed: pool.point() for seed, pool in pools.items()}
    resampled = np.stack([pool.resampled(resamples.signals) for pool in pools.values()])
    return Cell(arm, test, metric, by_seed, resampled, next(iter(pools.values())).num_units)


def _over_seeds(
    values: Float[np.ndarray, "seeds resamples"], resamples: Resamples
) -> Float[np.ndarray, " resamples"]:
    """Mean over the resampled seeds."""
    picked = (resamples.seeds[:, : len(values)] * len(values)).astype(np.int64)
    return np.take_along_axis(values, picked.T, axis=0).mean(axis=0)


def compare(
    arm: Cell, reference: Cell, metric: Metric, resamples: Resamples, level: float
) -> dict[str, Any]:
    """An arm against the reference on one test, paired by seed.

    The change is ``exp(mean_s ln(arm_s / reference_s)) - 1`` for an error, and ``mean_s (arm_s -
    reference_s)`` for a correlation; of a resample, over its seeds and signals. Only seeds that
    both have are compared.

    Returns:
        "change" with its Student interval over seeds ("low", "high") and its bootstrap interval
        over seeds and signals ("low_bootstrap", "high_bootstrap"), "p" of the paired t test and
        "p_signs" of the exact sign-flip test, None where fewer than two pairs differ;
        "pairs" (0 where all differ alike) and "seeds", how many there are.
    """
    if ANY_SEED in arm.by_seed or ANY_SEED in reference.by_seed:
        pairs = list(itertools.product(arm.by_seed, reference.by_seed))
    else:
        pairs = [(seed, seed) for seed in arm.by_seed if seed in reference.by_seed]
    rows = [list(arm.by_seed).index(a) for a, _ in pairs]
    against = [list(reference.by_seed).index(b) for _, b in pairs]
    ends = np.array([(arm.by_seed[a], reference.by_seed[b]) for a, b in pairs])
    scale = np.log if metric.is_error else np.asarray
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = scale(ends[:, 0]) - scale(ends[:, 1])  # type: ignore[operator]
        resampled = scale(arm.resampled[rows]) - scale(reference.resampled[against])  # type: ignore[operator]
    back = np.expm1 if metric.is_error else np.asarray
    is_finite = bool(np.isfinite(differences).all())
    is_varied = is_finite and len(differences) > 1 and float(np.ptp(differences)) > 0
    low, high = student(differences, level) if is_varied else (math.nan, math.nan)
    bounds = percentiles(_over_seeds(resampled, resamples), level)
    return {
        "arm": arm.arm,
        "reference": reference.arm,
        "test": arm.test,
        "metric": arm.metric,
        "pairs": len(differences) if is_varied else 0,
        "seeds": len(differences),
        "change": plain(back(differences.mean())),  # type: ignore[operator]
        "low": plain(back(low)),  # type: ignore[operator]
        "high": plain(back(high)),  # type: ignore[operator]
        "low_bootstrap": plain(back(bounds[0])),  # type: ignore[operator]
        "high_bootstrap": plain(back(bounds[1])),  # type: ignore[operator]
        "p": plain(stats.ttest_1samp(differences, 0.0).pvalue) if is_varied else None,
        "p_signs": sign_flip(differences) if is_varied else None,
    }
