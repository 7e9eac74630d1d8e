"""Sampling schedules of one dimension: which points of a signal are measured.

Schedules are keyed by sample index; every device gets the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core import random

Schedule = Callable[[random.Key, int, np.ndarray, Any], Any]


def num_sampled(rate: Float[Any, " B"], points: int) -> Int[Any, " B"]:
    """Number of sampled points at a sampling rate: ``round(rate N)``, at least 1, at most N."""
    return np.clip(np.rint(rate * points), 1, points).astype(np.int64)


def uniform_random(
    key: random.Key, points: int, counts: Int[np.ndarray, " B"], xp: Any = np
) -> Bool[Any, "B N"]:
    """Point 0 and ``counts - 1`` others, every choice equally likely."""
    return xp.asarray(_first(-random.uniform(key, (points,)), counts))


def sine_weighted(
    key: random.Key, points: int, counts: Int[np.ndarray, " B"], xp: Any = np
) -> Bool[Any, "B N"]:
    """Point 0 and ``counts - 1`` others drawn without replacement, early points preferred.

    Weights fall as ``w_i = cos(pi/2 i / N)``; sampling without replacement takes the points with
    the largest ``log(u_i) / w_i`` (Efraimidis, Spirakis, Inform. Process. Lett. 2006, 97, 181).
    """
    weights = np.cos(0.5 * np.pi * np.arange(points) / points)
    return xp.asarray(_first(np.log(random.uniform(key, (points,))) / weights, counts))


def _first(
    score: Float[np.ndarray, "B N"], counts: Int[np.ndarray, " B"]
) -> Bool[np.ndarray, "B N"]:
    """Point 0 and those of the highest scores; of equal ones the first."""
    score[:, 0] = np.inf
    ordered = np.sort(score, axis=1)  # a sixth of the time that the order of the points takes
    least = np.take_along_axis(ordered, score.shape[1] - counts[:, None], axis=1)
    mask = score >= least
    surplus = mask.sum(axis=1) - counts
    for row in np.flatnonzero(surplus):
        equal = np.flatnonzero(score[row] == least[row])
        mask[row, equal[-surplus[row] :]] = False
    return mask


SCHEDULES: dict[str, Schedule] = {
    "poisson_gap": poisson_gap,
    "sine_weighted": sine_weighted,
    "uniform_random": uniform_random,
}
