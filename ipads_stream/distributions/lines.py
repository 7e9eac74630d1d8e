"""Straight lines between knots, fast where there are many numbers and few or many knots."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

FEW = 10  # pieces: up to here every piece is computed everywhere, in vector registers
CELLS = 16  # of the guide, per knot, and FEWEST: most numbers then find their piece at once
FEWEST = 2048

# Nothing is contracted: both ways give the same bits, wherever a number stands in an array.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


class Lines:
    """y at x by straight lines between knots whose x lie in 0..1, as ``numpy.interp``.

    Where the pieces are many, a guide holds the first piece that reaches into each of many equal
    cells of 0..1, which replaces the binary search.

    Args:
        x: of the knots, none below the one before.
        y: of the knots, none below the one before.
    """

    def __init__(self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> None:
        self.x, self.y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        cells = np.arange(max(FEWEST, CELLS * self.x.size))
        starts = np.searchsorted(self.x, cells / cells.size, side="right") - 1
        self.guide = np.clip(starts, 0, self.x.size - 2).astype(np.uint32)
        width = np.diff(self.x)
        self.slope = np.where(width > 0, np.diff(self.y) / np.where(width > 0, width, 1.0), 0.0)

    def __call__(self, u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        u = np.ascontiguousarray(u, dtype=np.float64)
        out = np.empty(u.shape)
        if self.slope.size <= FEW:
            _piece_by_piece(self.x, self.y, self.slope, u.reshape(-1), out.reshape(-1))
        else:
            _guided(self.x, self.y, self.slope, self.guide, u.reshape(-1), out.reshape(-1))
        return out


@_kernel
@no_type_check
def _piece_by_piece(x, y, slope, u, out):
    for k in range(slope.size):
        x0, y0, y1, rise = x[k], y[k], y[k + 1], slope[k]
        start = -np.inf if k == 0 else x0
        for i in range(u.size):
            value = y0 + (u[i] - x0) * rise
            value = value if value > y0 else y0
            value = value if value < y1 else y1
            before = out[i]
            out[i] = value if u[i] >= start else before


@_kernel
@no_type_check
def _guided(x, y, slope, guide, u, out):
    # Unsigned subscripts need no test for counting from the end.
    one, last = np.uint64(1), np.uint64(x.size - 2)
    for i in range(u.size):
        cell = min(max(np.int64(u[i] * guide.size), 0), guide.size - 1)
        k = np.uint64(guide[np.uint64(cell)])
        while k < last and x[k + one] <= u[i]:
            k += one
        value = y[k] + (u[i] - x[k]) * slope[k]
        value = value if value > y[k] else y[k]
        out[i] = value if value < y[k + one] else y[k + one]
