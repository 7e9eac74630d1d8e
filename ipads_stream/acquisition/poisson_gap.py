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
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ipads_stream.acquisition.kernels import poisson_gap as lanes
from ipads_stream.core import random
from ipads_stream.core.backend import cuda_module, is_numpy, kept, launch

_CUDA_TEXT = Path(__file__).parent / "kernels" / "poisson_gap.cu"


@lru_cache(16)
def mean_gaps(points: int) -> Any:
    """Mean gap from each point for a = 1, float64 (N,)."""
    return np.array([math.sin(0.5 * math.pi * (i + 0.5) / (points + 1)) for i in range(points)])


@lru_cache(1)
def _table() -> Any:
    return lanes.quantile_table()


def poisson_gap(
    key: random.Key, points: int, counts: Int[Any, " B"], xp: Any = np
) -> Bool[Any, "B N"]:
    """Schedules with gaps ``g_i ~ Poisson(a sin(pi/2 (i + 1/2) / (N + 1)))``; point 0 always taken.

    ``a`` is chosen per sample such that exactly ``counts`` points (1 to N) result. On a GPU they
    are drawn there; a last digit of its exponential may move a gap, once in about 10^12.
    """
    mask = xp.empty((len(counts), points), dtype=xp.bool_)
    words, counts = random.words(key, points, xp), counts.astype(np.int64)
    if is_numpy(mask):
        lanes.fill(words, counts, mean_gaps(points), _table(), mask)
        return mask
    sizes = (np.int64(n) for n in mask.shape)
    given = words, xp.asarray(counts), kept(mean_gaps(points), xp), *sizes, mask
    launch(cuda_module(_CUDA_TEXT), "poisson_gap", len(counts), *given)
    return mask
