"""The normal law and its inverse for the many numbers of a copula, by cubics in small cells.

Each cell has the cubic through the values of SciPy at four Chebyshev nodes: Phi^-1 within 1e-10,
Phi within 2e-11 (and within 1e-7 of its own value down to -7), in a seventh and a third of SciPy's
time. Phi^-1 rises from each 32-bit uniform number to the next by at least 5e-10.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from ipads_stream.core.compilation import kernel

LEAST = 2.0**-33  # the smallest 32-bit uniform number
OCTAVES = 33  # from LEAST to 1
SPLITS = 6  # an octave has 2^SPLITS cells
REACH = 8.5  # Phi is tabulated from -REACH to REACH; it is certain to rounding before
CELLS = 64  # of Phi, per unit
CERTAIN = 1.0 - 2.0**-53  # the largest number below 1

_FIRST = np.int64(1023 - OCTAVES) << np.int64(SPLITS)  # exponent and splits of LEAST
_SHIFT = np.int64(52 - SPLITS)
_REST = (np.int64(1) << _SHIFT) - np.int64(1)  # bits of the mantissa below the splits
_ONE = np.int64(1023) << np.int64(52)  # bits of 1.0
_SPLITS = np.int64(SPLITS)
_INSIDE = REACH - 2.0**-20


def normal_quantile(u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """``Phi^-1(u)`` of 32-bit uniform numbers, 2^-33 <= u <= 1 - 2^-33."""
    u = np.ascontiguousarray(u)
    z = np.empty(u.shape)
    _quantile(u.reshape(-1), _quantile_table(), z.reshape(-1))
    return z


def normal_level(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """``Phi(z)``, inside the open interval (0, 1)."""
    z = np.ascontiguousarray(z)
    u = np.empty(z.shape)
    _level(z.reshape(-1), _level_table(), u.reshape(-1))
    return u


@cache
def _quantile_table() -> Float[np.ndarray, "cells 4"]:
    octave, split = np.divmod(np.arange(OCTAVES << SPLITS), 1 << SPLITS)
    widths = LEAST * 2.0 ** (octave - SPLITS)
    return _cubics(ndtri, widths * (2**SPLITS + split), widths)


@cache
def _level_table() -> Float[np.ndarray, "cells 4"]:
    edges = np.arange(-REACH, REACH, 1 / CELLS)
    return _cubics(ndtr, edges, np.full(edges.size, 1 / CELLS))


def _cubics(
    f: Callable[[Any], Any], edges: Float[np.ndarray, " cells"], widths: Float[np.ndarray, " cells"]
) -> Float[np.ndarray, "cells 4"]:
    """Coefficients, lowest first, in t that goes from -1 to 1 through each cell."""
    nodes = np.cos(np.pi * (np.arange(4) + 0.5) / 4)
    values = f(edges[:, None] + widths[:, None] * (0.5 + 0.5 * nodes))
    return np.ascontiguousarray(np.linalg.solve(np.vander(nodes, increasing=True), values.T).T)


@kernel
@no_type_check
def _quantile(u, table, z):
    for i in range(u.size):
        low = max(min(u[i], 1.0 - u[i]), LEAST)
        bits = np.float64(low).view(np.int64)
        c = table[np.uint64((bits >> _SHIFT) - _FIRST)]
        # The rest of the mantissa, as a number from 1 to 2.
        share = np.int64(((bits & _REST) << _SPLITS) | _ONE).view(np.float64)
        t = 2.0 * share - 3.0
        value = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
        z[i] = value if u[i] < 0.5 else -value


@kernel
@no_type_check
def _level(z, table, u):
    for i in range(z.size):
        at = (max(min(z[i], _INSIDE), -_INSIDE) + REACH) * CELLS
        cell = np.int64(at)
        c = table[np.uint64(cell)]
        t = 2.0 * (at - cell) - 1.0
        u[i] = min(c[0] + t * (c[1] + t * (c[2] + t * c[3])), CERTAIN)
