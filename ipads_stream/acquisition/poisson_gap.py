"""Poisson-gap sampling schedules with an exact number of points.

Gaps between sampled points are Poisson numbers whose mean grows as a quarter sine along the
signal, so early points are dense (Hyberts, Takeuchi, Wagner, J. Am. Chem. Soc. 2010, 132, 2145).
The published recipe redraws all gaps with a slightly changed mean until the number of points is
right. Here every gap keeps its own keyed uniform number, mapped through the Poisson quantile
function, and only the mean is changed: the count then falls almost monotonically with the mean,
two to four trials suffice instead of tens, and the schedule is a pure function of the sample index.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Int
from numba import njit

from ipads_stream.core import random

# exp(-mean) underflows at 745. Beyond this mean the sum starts nine standard deviations below it,
# where the tail left out (1e-18) is far below the smallest uniform number, 2^-33.
LARGE_MEAN = 700.0


def poisson_gap(
    key: random.Key, points: int, counts: Int[np.ndarray, " B"]
) -> Bool[np.ndarray, "B N"]:
    """Schedules with gaps ``g_i ~ Poisson(a sin(pi/2 (i + 1/2) / (N + 1)))``; point 0 always taken.

    ``a`` is chosen per sample such that exactly ``counts`` points result.

    Args:
        key: named random stream at B sample indices.
        points: N, length of the signal.
        counts: (B,) number of sampled points, 1..N.
    """
    mask = np.zeros((len(counts), points), dtype=np.bool_)
    _fill(random.uniform(key, (points,)), counts.astype(np.int64), mask)
    return mask


@njit(forceinline=True, error_model="numpy")  # see core/philox.py
@no_type_check
def _walk(u, shift, scale, weight, row):
    """Walks one schedule into ``row`` and returns its number of points."""
    points = row.shape[0]
    row[:] = False
    i = 0
    count = 0
    while i < points:
        row[i] = True
        mean = scale * weight[i]
        gap = 0
        if mean <= LARGE_MEAN:
            term = math.exp(-mean)
        else:
            gap = int(min(mean - 9.0 * math.sqrt(mean), float(points)))
            term = math.exp(gap * math.log(mean) - mean - math.lgamma(gap + 1.0))
        cumulative = term
        draw = u[(count + shift) % points]
        while draw > cumulative and gap < points:
            gap += 1
            term *= mean / gap
            cumulative += term
        count += 1
        i += 1 + gap
    return count


@njit(nogil=True, cache=True, error_model="numpy")
@no_type_check
def _fill(u, counts, mask):
    samples, points = mask.shape
    weight = np.empty(points)
    for i in range(points):
        weight[i] = math.sin(0.5 * math.pi * (i + 0.5) / (points + 1))
    for s in range(samples):
        wanted = counts[s]
        row = mask[s]
        if wanted >= points:
            row[:] = True
            continue
        gap = points / wanted - 1.0  # mean gap that gives the wanted number of points
        scale = 2.0 * gap  # where the published recipe starts, too
        # One gap growing by one can, rarely, push out two points at once and skip the wanted
        # count; the same numbers assigned to the gaps one place further on give another walk.
        found = False
        shift = 0
        while not found and shift < points:
            low, high = 0.0, math.inf
            for _ in range(64):
                count = _walk(u[s], shift, scale, weight, row)
                if count == wanted:
                    found = True
                    break
                if count > wanted:
                    low = scale
                else:
                    high = scale
                proposed = scale * gap / max(points / count - 1.0, 0.1 * gap)
                if proposed <= low or proposed >= high:
                    proposed = 2.0 * low if math.isinf(high) else 0.5 * (low + high)
                if high - low <= 1e-9 * low:
                    break
                scale = proposed
            shift += 1
        if not found:  # every assignment skips the count: keep the earliest points of the last walk
            surplus = count - wanted
            for i in range(points - 1, -1, -1):
                if surplus > 0 and row[i]:
                    row[i] = False
                    surplus -= 1
            for i in range(points):
                if surplus < 0 and not row[i]:
                    row[i] = True
                    surplus += 1
