"""Isochromats: what the kernels and the formula are given, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arrays import check_arrays, check_one_library, is_array

STRONGEST_GRADIENT = 1.0  # T/m; head-only and preclinical coils reach 0.5 and 1.0
SPINS = ("position", "df", "T1", "T2", "B1", "M0")


def as_float64(xp: Any, x: Any, like: Any) -> Any:
    """A number or an array x of the library xp in float64, on the device of like."""
    if is_array(x):
        return xp.astype(x, xp.float64)
    return xp.asarray(float(x), dtype=xp.float64, device=device_of(like))


def columns(xp: Any, real: Any, imaginary: Any, gradient: Any, half: Any) -> Any:
    """Per step the half angles by RF about x and y, by gradients per metre, and dt.

    Args:
        xp: the array library.
        real, imaginary: of the RF, T, (K,).
        gradient: T/m, (K, 3).
        half: -gamma dt / 2, rad/T, a number or (K,).
    """
    waveforms = (real, imaginary, *(gradient[:, i] for i in range(3)))
    dt = half / (-0.5 * GAMMA_1H)
    return (*(half * w for w in waveforms), xp.broadcast_to(dt, real.shape))


def rows(xp: Any, M: Any, position: Any, df: Any, T1: Any, T2: Any, B1: Any, M0: Any) -> Any:
    """Per spin x, y, z, half angle by df per second, B1, 1/T1, 1/T2 and M0, (N,) in float64.

    Args:
        xp: the array library.
        M, position, df, T1, T2, B1, M0: as of evolve.
    """

    def exact(x: Any) -> Any:
        return as_float64(xp, x, M)

    place = (0.0, 0.0, 0.0) if position is None else (position[:, i] for i in range(3))
    # In float64 before anything is done to them: a product in float32 is off by 6e-8 of itself.
    found = (*map(exact, place), -math.pi * exact(df), exact(B1), 1 / exact(T1), 1 / exact(T2))
    return tuple(xp.broadcast_to(x, M.shape[:1]) for x in (*found, exact(M0)))


def played(xp: Any, arguments: dict[str, Any], shortest: float = 0.0) -> tuple[Any, Any]:
    """Columns of the steps, (K, 6), and rows of the spins, (8, N), as the kernels take them.

    Args:
        xp: the array library.
        arguments: of evolve by name.
        shortest: length that steps of 0 s are given, s.
    """
    M, b1 = arguments["M"], arguments["b1"]
    dt = as_float64(xp, arguments["dt"], M)
    half = -0.5 * GAMMA_1H * xp.where(dt == 0, xp.full_like(dt, shortest), dt)
    waveforms = xp.real(b1), xp.imag(b1), arguments["gradient"]
    real, imaginary, gradient = (xp.astype(x, xp.float64) for x in waveforms)
    steps = xp.stack(columns(xp, real, imaginary, gradient, half), axis=-1)
    return steps, xp.stack(rows(xp, M, **{name: arguments[name] for name in SPINS}))


def merged(steps: Float[np.ndarray, "K 6"]) -> tuple[np.ndarray, np.ndarray]:
    """One step of those without RF that follow one another, which commute; and where each went.

    Args:
        steps: as of ``played``.
    """
    free = (steps[:, 0] == 0) & (steps[:, 1] == 0)
    begins = np.concatenate(([True], ~(free[1:] & free[:-1])))[: len(steps)]
    group = np.cumsum(begins) - 1
    if len(steps) == 0 or np.all(begins):
        return steps, group
    return np.add.reduceat(steps, np.flatnonzero(begins), axis=0), group


def tolerance_of(M: Any, tolerance: float | None) -> float:
    """The tolerance, or that of the precision of M."""
    if tolerance is not None:
        return tolerance
    return 1e-6 if str(M.dtype).endswith("float32") else 1e-8


def check_shapes(M: Any, b1: Any, gradient: Any, dt: Any, spins: dict[str, Any]) -> None:
    """Refuse M, b1, gradient, dt and spins, by name, of kinds or shapes that do not fit."""
    given = {"M": M, "b1": b1, "gradient": gradient, "dt": dt, **spins}
    check_arrays(given, numbers=("dt", *SPINS[1:]))
    check_one_library(given)
    xp = namespace(M)
    if not (M.ndim == 2 and M.shape[1] == 3):
        raise ValueError(f"M: shape {tuple(M.shape)}; (N, 3) is allowed")
    if M.dtype not in (xp.float32, xp.float64):
        raise ValueError(f"M: {M.dtype}; float32 and float64 are allowed")
    if b1.ndim != 1 or not xp.isdtype(b1.dtype, "complex floating"):
        raise ValueError(f"b1: shape {tuple(b1.shape)} of {b1.dtype}; complex (K,) is allowed")
    N, K = M.shape[0], b1.shape[0]
    allowed = {"gradient": [(K, 3)], "dt": [(), (K,)], "position": [(N, 3)]}
    for name, x in {"gradient": gradient, "dt": dt, **spins}.items():
        shapes = allowed.get(name, [(), (N,)])
        if x is None and name == "position":
            continue
        shape = tuple(x.shape) if is_array(x) else ()
        if shape not in shapes:
            wanted = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name}: shape {shape}; {wanted} is allowed for {N} spins and {K} steps"
            )


def check_values(arguments: dict[str, Any], arrays: bool) -> None:
    """Refuse arguments whose values make no sense: numbers and, where asked, NumPy arrays."""
    rules = {
        "dt": (lambda x: (x >= 0) & np.isfinite(x), "a finite time in s from 0"),
        "T1": (lambda x: x > 0, "a positive time in s"),
        "T2": (lambda x: x > 0, "a positive time in s"),
        "gradient": (
            lambda x: np.abs(x) <= STRONGEST_GRADIENT,
            f"at most {STRONGEST_GRADIENT} T/m",
        ),
        "M0": (lambda x: (x >= 0) & np.isfinite(x), "a finite number from 0"),
        "tolerance": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite number"),
    }
    known = {k: x for k, x in arguments.items() if x is not None and (arrays or not is_array(x))}
    for name, x in known.items():
        rule, allowed = rules.get(name, (np.isfinite, "a finite number"))
        good = rule(np.asarray(x))
        if not np.all(good):
            wrong = np.asarray(x)[~good].flat[0]
            raise ValueError(f"{name}={wrong}: {allowed} is allowed")
    if "T1" in known and "T2" in known:
        T1, T2 = np.broadcast_arrays(known["T1"], known["T2"])
        wrong = (T2 > 2 * T1) & np.isfinite(T2)  # infinite: transverse relaxation is left out
        if np.any(wrong):
            at = np.flatnonzero(wrong)[0]
            raise ValueError(f"T2={T2.flat[at]}: at most 2 T1 = {2 * T1.flat[at]} s is allowed")
