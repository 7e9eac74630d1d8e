"""A cumulative distribution as a table: straight between knots that are as many as it needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

TOLERANCE = 1e-6
ROUNDS = 40
JUMP = 1e-12


def tabulate(
    cdf: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]],
    knots: Float[np.ndarray, " n"],
    tolerance: float = TOLERANCE,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Knots (x, F(x)) of which the straight line stays within ``tolerance`` of F.

    Intervals are split until F at one third and two thirds of each lies on the line. A jump of F
    becomes two knots at the same x. ``numpy.interp(u, F, x)`` is then the quantile.

    Args:
        cdf: F, of values in rising order.
        knots: values to start from, with the ends and every jump of F among them.
        tolerance: largest error of F between knots.
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
