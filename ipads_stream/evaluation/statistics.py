"""Intervals and tests that comparisons over samples and over training seeds share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats


def percentiles(values: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    """Ends of the middle ``level`` of the finite values; NaN without any."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def student(differences: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    """Student's interval of a mean, from two values on."""
    half = stats.t.ppf(0.5 * (1 + level), len(differences) - 1)
    half *= differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)


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
    """p values adjusted for the number of comparisons by Holm's steps; None stays None.

    Source: Holm, Scandinavian Journal of Statistics 6:65 (1979).
    """
    order = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * value))
        adjusted[place] = highest
    return adjusted


def plain(value: Any) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
