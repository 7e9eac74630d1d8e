"""Isochromats: what the kernels and the formula are given, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arguments import check_arrays, check_one_library, check_shape
from ipads_stream.physics.arrays import as_float64, precision

SPINS = ("position", "df", "T1", "T2", "B1", "M0")


def columns(xp: Any, real: Any, imaginary: Any, gradient: Any, half: Any) -> Any:
    """Per step the half angles by RF about x and y, by gradients per metre, and dt.

    real, imaginary: of the RF, T, (K,); gradient: T/m, (K, 3); half: -gamma dt / 2, rad/T.
    """
    waveforms = (real, imaginary, *(gradient[:, i] for i in range(3)))
    dt = half / (-0.5 * GAMMA_1H)
    return (*(half * w for w in waveforms), xp.broadcast_to(dt, real.shape))


def rows(xp: Any, M: Any, position: Any, df: Any, T1: Any, T2: Any, B1: Any, M0: Any) -> Any:
    """Per spin x, y, z, half angle by df per second, B1, 1/T1, 1/T2 and M0, (N,) in float64."""
    place = (0.0, 0.0, 0.0) if position is None else tuple(position[:, i] for i in range(3))
    # In float64 before anything is done to them: a product in float32 is off by 6e-8 of itself.
    x, y, z, df, T1, T2, B1, M0 = (as_float64(x, M) for x in (*place, df, T1, T2, B1, M0))
    fields = (x, y, z, -math.pi * df, B1, 1 / T1, 1 / T2, M0)
    return tuple(xp.broadcast_to(field, M.shape[:1]) for field in fields)


def played(xp: Any, arguments: Mapping[str, Any], shortest: float = 0.0) -> tuple[Any, Any]:
    """Columns of the steps, (K, 6), and rows of the spins, (8, N), as the kernels take them.

    Steps of 0 s are given the length ``shortest``, s.
    """
    M, b1 = arguments["M"], arguments["b1"]
    dt = as_float64(arguments["dt"], M)
    half = -0.5 * GAMMA_1H * xp.where(dt == 0, xp.full_like(dt, shortest), dt)
    waveforms = xp.real(b1), xp.imag(b1), arguments["gradient"]
    real, imaginary, gradient = (xp.astype(x, xp.float64) for x in waveforms)
    steps = xp.stack(columns(xp, real, imaginary, gradient, half), axis=-1)
    return steps, xp.stack(rows(xp, M, **{name: arguments[name] for name in SPINS}))


def merged(steps: Float[np.ndarray, "K 6"]) -> tuple[np.ndarray, np.ndarray]:
    """One step of those without RF that follow one another, which commute; and where each went."""
    free = (steps[:, 0] == 0) & (steps[:, 1] == 0)
    begins = np.concatenate(([True], ~(free[1:] & free[:-1])))[: len(steps)]
    group = np.cumsum(begins) - 1
    if len(steps) == 0 or np.all(begins):
        return steps, group
    return np.add.reduceat(steps, np.flatnonzero(begins), axis=0), group


def tolerance_of(M: Any, tolerance: float | None) -> float:
    """The tolerance, or that of the precision of M."""
    usual = 1e-6 if precision(M) == "float32" else 1e-8
    return usual if tolerance is None else tolerance


def check_kinds(M: Any, b1: Any, gradient: Any, dt: Any, spins: dict[str, Any]) -> None:
    """Refuse M, b1, gradient, dt and spins, by name, of kinds or shapes that do not fit."""
    given = {"M": M, "b1": b1, "gradient": gradient, "dt": dt, **spins}
    check_arrays(given, numbers=("dt", *SPINS[1:]))
    check_one_library(given)
    if precision(M) not in ("float32", "float64"):
        raise ValueError(f"M: {M.dtype}; float32 and float64 are allowed")
    N, K = M.shape[0], b1.shape[0] if b1.ndim else 0
    if b1.ndim != 1 or not namespace(b1).isdtype(b1.dtype, "complex floating"):
        raise ValueError(f"b1: shape {tuple(b1.shape)} of {b1.dtype}; complex (K,) is allowed")
    shapes: dict[str, list[Any]] = {"M": [(N, 3)], "gradient": [(K, 3)], "dt": [(), (K,)],
                                    "position": [(N, 3)]}  # fmt: skip
    for name, x in given.items():
        if x is not None and name != "b1":
            fitting = shapes.get(name, [(), (N,)])
            check_shape(name, x, *fitting, note=f" for {N} spins and {K} steps")
