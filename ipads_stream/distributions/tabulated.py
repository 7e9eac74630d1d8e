"""Cumulative distributions as tables: straight between as many knots as they need."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float

from ipads_stream.core.compilation import exact
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector

TOLERANCE = 1e-6
ROUNDS = 40
JUMP = 1e-12
FEW = 10  # pieces: up to here every piece is computed everywhere, in vector registers
CELLS = 16  # of the guide, per knot, and FEWEST: most numbers then find their piece at once
FEWEST = 2048


class Lines:
    """y at x by straight lines between knots whose x lie in 0..1, as ``numpy.interp``.

    Neither x nor y of the knots falls. Where the pieces are many, a guide holds the first piece
    that reaches into each of many equal cells of 0..1, which replaces the binary search.
    """

    def __init__(self, x: Vector, y: Vector) -> None:
        self.x, self.y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        cells = np.arange(max(FEWEST, CELLS * self.x.size))
        starts = np.searchsorted(self.x, cells / cells.size, side="right") - 1
        self.guide = np.clip(starts, 0, self.x.size - 2).astype(np.uint32)
        width = np.diff(self.x)
        self.slope = np.where(width > 0, np.diff(self.y) / np.where(width > 0, width, 1.0), 0.0)

    def __call__(self, u: Values) -> Values:
        u = np.ascontiguousarray(u, dtype=np.float64)
        out = np.empty(u.shape)
        if self.slope.size <= FEW:
            _piece_by_piece(self.x, self.y, self.slope, u.reshape(-1), out.reshape(-1))
        else:
            _guided(self.x, self.y, self.slope, self.guide, u.reshape(-1), out.reshape(-1))
        return out


@dataclass(frozen=True, kw_only=True)
class Tabulated(Distribution):
    """F is straight between knots, from the first, where it is 0, to the last, where it is 1."""

    @property
    @abstractmethod
    def _knots(self) -> tuple[Vector, Vector]:
        """Values (SI) and the probability up to each, both rising."""

    @cached_property
    def _lines(self) -> Lines:
        values, levels = self._knots
        return Lines(levels, values)

    @property
    def support(self) -> Interval:
        values, _ = self._knots
        return float(values[0]), float(values[-1])

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self._lines(u)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return np.interp(x, *self._knots)


def tabulate(
    cdf: Callable[[Vector], Vector],
    knots: Vector,
    tolerance: float = TOLERANCE,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Knots (x, F(x)) of which the straight line stays within ``tolerance`` of F.

    Intervals are split until F at one third and two thirds of each lies on the line. A jump of F
    becomes two knots at the same x. ``numpy.interp(u, F, x)`` is then the quantile.
    """
    x = np.unique(knots)
    for _ in range(ROUNDS):
        at, before = cdf(x), cdf(np.nextafter(x, -np.inf))
        off = np.zeros(x.size - 1)
        for share in (1 / 3, 2 / 3):
            between = x[:-1] + share * np.diff(x)
            on_line = at[:-1] + share * (before[1:] - at[:-1])
            off = np.maximum(off, np.abs(cdf(between) - on_line))
        split = np.flatnonzero(off > tolerance)
        if not split.size:
            break
        x = np.insert(x, split + 1, 0.5 * (x[split] + x[split + 1]))
    at, before = cdf(x), cdf(np.nextafter(x, -np.inf))
    jumps = np.flatnonzero(at - before > JUMP)
    # At a jump the lower knot comes first; without one the two are the same.
    x = np.insert(x, jumps, x[jumps])
    levels = np.insert(at, jumps, before[jumps])
    return x, np.maximum.accumulate(np.clip(levels, 0.0, 1.0))


@exact
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


@exact
@no_type_check
def _guided(x, y, slope, guide, u, out):
    # Unsigned subscripts need no test for counting from the end.
    step, last = np.uint64(1), np.uint64(x.size - 2)
    for i in range(u.size):
        cell = min(max(np.int64(u[i] * guide.size), 0), guide.size - 1)
        k = np.uint64(guide[np.uint64(cell)])
        while k < last and x[k + step] <= u[i]:
            k += step
        value = y[k] + (u[i] - x[k]) * slope[k]
        value = value if value > y[k] else y[k]
        out[i] = value if value < y[k + step] else y[k + step]
