"""Sampling schedules of one dimension: which points of a signal are measured.

Schedules are drawn on the host, keyed by sample index, and are small; every device gets the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core import random

Schedule = Callable[[random.Key, int, np.ndarray], np.ndarray]


def num_sampled(rate: Float[np.ndarray, " B"], points: int) -> Int[np.ndarray, " B"]:
    """Number of sampled points at a sampling rate: ``round(rate N)``, at least 1, at most N."""
    return np.clip(np.rint(rate * points), 1, points).astype(np.int64)


def uniform_random(
    key: random.Key, points: int, counts: Int[np.ndarray, " B"]
) -> Bool[np.ndarray, "B N"]:
    """Point 0 and ``counts - 1`` others, every choice equally likely."""
    return _first(-random.uniform(key, (points,)), counts)


def sine_weighted(
    key: random.Key, points: int, counts: Int[np.ndarray, " B"]
) -> Bool[np.ndarray, "B N"]:
    """Point 0 and ``counts - 1`` others drawn without replacement, early points preferred.

    Weights fall as ``w_i = cos(pi/2 i / N)``; sampling without replacement takes the points with
    the largest ``log(u_i) / w_i`` (Efraimidis, Spirakis, Inform. Process. Lett. 2006, 97, 181).
    """
    weights = np.cos(0.5 * np.pi * np.arange(points) / points)
    return _first(np.log(random.uniform(key, (points,))) / weights, counts)


def _first(
    score: Float[np.ndarray, "B N"], counts: Int[np.ndarray, " B"]
) -> Bool[np.ndarray, "B N"]:
    score[:, 0] = np.inf
    order = np.argsort(-score, axis=1, kind="stable")
    mask = np.zeros(score.shape, dtype=np.bool_)
    np.put_along_axis(mask, order, np.arange(score.shape[1]) < counts[:, None], axis=1)
    return mask


SCHEDULES: dict[str, Schedule] = {
    "poisson_gap": poisson_gap,
    "sine_weighted": sine_weighted,
    "uniform_random": uniform_random,
}
