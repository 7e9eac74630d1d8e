"""Straight lines between knots, fast where there are many numbers and many knots."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

CELLS = 4  # of the guide, per knot, and FEWEST: most numbers then find their piece at once
FEWEST = 256


class Lines:
    """y at x by straight lines between knots whose x lie in 0..1, as ``numpy.interp``.

    A guide holds the first piece that reaches into each of many equal cells of 0..1, which replaces
    the binary search.

    Args:
        x: of the knots, none below the one before.
        y: of the knots, none below the one before.
    """

    def __init__(self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> None:
        self.x, self.y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        cells = np.arange(max(FEWEST, CELLS * self.x.size))
        starts = np.searchsorted(self.x, cells / cells.size, side="right") - 1
        self.guide = np.clip(starts, 0, self.x.size - 2).astype(np.int32)
        width = np.diff(self.x)
        self.slope = np.where(width > 0, np.diff(self.y) / np.where(width > 0, width, 1.0), 0.0)

    def __call__(self, u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        u = np.ascontiguousarray(u, dtype=np.float64)
        out = np.empty(u.shape)
        _between(self.x, self.y, self.slope, self.guide, u.reshape(-1), out.reshape(-1))
        return out


@no_type_check
def _between_knots(x, y, slope, guide, u, out):
    last = x.size - 2
    for i in range(u.size):
        k = guide[min(max(int(u[i] * guide.size), 0), guide.size - 1)]
        while k < last and x[k + 1] <= u[i]:
            k += 1
        value = y[k] + (u[i] - x[k]) * slope[k]
        out[i] = min(max(value, y[k]), y[k + 1])


_between: Any = njit(nogil=True, cache=True, error_model="numpy")(_between_knots)
