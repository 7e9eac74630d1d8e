"""The matrix of arms and tests: means, intervals over seeds and signals, paired comparisons.

Arms trained with one seed saw the same samples except for what the arm changes, and all were tested
on the same signals: differences are taken seed by seed. A method that is not trained has one value
for all seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ipads_stream.evaluation.shift_pools import Correlation, Median
from ipads_stream.evaluation.shift_scores import Metric

ANY_SEED = -1  # of a method that is not trained
Pools = Mapping[int, Median | Correlation]  # seed -> what the number is taken of


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
        """Draws with replacement, of both, independently of each other (they are crossed).

        Args:
            num_seeds, num_signals: to draw from, and as many as are drawn.
            resamples: how many times.
            key: of the counter-based generator; the same key gives the same intervals.
        """
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
    def mean(self) -> float:
        return float(np.mean(list(self.by_seed.values())))

    @property
    def sd(self) -> float | None:
        """Over seeds."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def interval(self, resamples: Resamples, level: float) -> tuple[float, float]:
        """Percentile bootstrap interval of the mean, over seeds and signals."""
        return percentiles(_over_seeds(self.resampled, resamples), level)

    def row(self, resamples: Resamples, level: float) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval(resamples, level)
        return {
            "arm": self.arm,
            "test": self.test,
            "metric": self.metric,
            "mean": self.mean,
            "low": low,
            "high": high,
            "sd": self.sd,
            "seeds": len(self.by_seed) if ANY_SEED not in self.by_seed else 0,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "units": self.units,
        }


def cell(arm: str, test: str, metric: str, pools: Pools, resamples: Resamples) -> Cell:
    """The values of an arm on a test.

    Args:
        arm, test, metric: names.
        pools: by seed.
        resamples: of the test's signals.
    """
    return Cell(
        arm,
        test,
        metric,
        {seed: pool.point() for seed, pool in pools.items()},
        np.stack([pool.resampled(resamples.signals) for pool in pools.values()]),
        next(iter(pools.values())).num_units,
    )


def percentiles(values: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    """The middle ``level`` of values, without those that are not finite; NaN of nothing."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _over_seeds(
    values: Float[np.ndarray, "seeds resamples"], resamples: Resamples
) -> Float[np.ndarray, " resamples"]:
    """Mean over the resampled seeds."""
    picked = (resamples.seeds[:, : len(values)] * len(values)).astype(np.int64)
    return np.take_along_axis(values, picked.T, axis=0).mean(axis=0)


def compare(
    one: Cell, reference: Cell, metric: Metric, resamples: Resamples, level: float
) -> dict[str, Any]:
    """An arm against the reference on one test, paired by seed.

    The change is ``exp(mean_s ln(one_s / reference_s)) - 1`` for an error, and ``mean_s (one_s -
    reference_s)`` for a correlation; of a resample, over its seeds and signals. Only seeds that
    both have are compared.

    Args:
        one, reference: cells of the same test and metric.
        metric: of both.
        resamples: of the test's signals.
        level: of the intervals.

    Returns:
        "change" with its Student interval over seeds ("low", "high") and its bootstrap interval
        over seeds and signals ("low_bootstrap", "high_bootstrap"), "p" of the paired t test and
        "p_signs" of the exact sign-flip test, None where fewer than two pairs differ; "pairs".
    """
    seeds, rows = _pairs(one, reference)
    ends = [(one.by_seed[a], reference.by_seed[b]) for a, b in seeds]
    scale = np.log if metric.is_error else np.asarray
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = np.array([scale(a) - scale(b) for a, b in ends])  # type: ignore[operator]
        resampled = np.stack(
            [scale(one.resampled[a]) - scale(reference.resampled[b]) for a, b in rows]
        )
    back = np.expm1 if metric.is_error else np.asarray
    is_finite = bool(np.isfinite(differences).all())
    is_varied = is_finite and len(differences) > 1 and float(np.ptp(differences)) > 0
    low, high = student(differences, level) if is_varied else (math.nan, math.nan)
    bounds = percentiles(_over_seeds(resampled, resamples), level)
    return {
        "arm": one.arm,
        "reference": reference.arm,
        "test": one.test,
        "metric": one.metric,
        "pairs": len(differences) if is_varied else 0,
        "change": _plain(back(differences.mean())),  # type: ignore[operator]
        "low": _plain(back(low)),  # type: ignore[operator]
        "high": _plain(back(high)),  # type: ignore[operator]
        "low_bootstrap": _plain(back(bounds[0])),  # type: ignore[operator]
        "high_bootstrap": _plain(back(bounds[1])),  # type: ignore[operator]
        "p": _plain(stats.ttest_1samp(differences, 0.0).pvalue) if is_varied else None,
        "p_signs": sign_flip(differences) if is_varied else None,
    }


def _pairs(one: Cell, other: Cell) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Seeds that belong together, and their rows."""
    mine, theirs = list(one.by_seed), list(other.by_seed)
    if mine == [ANY_SEED] or theirs == [ANY_SEED]:
        seeds = list(itertools.product(mine, theirs))
    else:
        seeds = [(seed, seed) for seed in mine if seed in other.by_seed]
    return seeds, [(mine.index(a), theirs.index(b)) for a, b in seeds]


def student(differences: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    """Student's interval of a mean, from two values on."""
    half = stats.t.ppf(0.5 * (1 + level), len(differences) - 1)
    half *= differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)


def _plain(value: Any) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None


def sign_flip(differences: Float[np.ndarray, " n"], most: int = 16) -> float:
    """Two-sided p of the sign-flip test of a zero mean: exact, over all 2^n signs.

    No normal distribution is assumed, only that a difference is as likely as its negative; with n
    differences p is at least 2^(1-n), 1/16 for five seeds, which is not below 0.05.

    Args:
        differences: paired, any unit, (n,).
        most: differences; with more, the first 2^16 - 1 random signs of a fixed key stand for all.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    n = len(differences)
    if n <= most:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        random = np.random.Generator(np.random.Philox(key=0))
        signs = np.concatenate([np.ones((1, n)), random.choice([1.0, -1.0], (2**most - 1, n))])
    sums = np.abs(signs @ differences)
    return float((sums >= sums[0] * (1 - 1e-12)).mean())


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for as many comparisons as there are, by Holm's steps; None stays None.

    Source: Holm, Scandinavian Journal of Statistics 6:65 (1979).
    """
    order = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * value))
        adjusted[place] = highest
    return adjusted
