"""Isochromats: what the kernels and the formula are given, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_1H

STRONGEST_GRADIENT = 1.0  # T/m; head-only and preclinical coils reach 0.5 and 1.0
SPINS = ("position", "df", "T1", "T2", "B1", "M0")


def as_float64(xp: Any, x: Any, like: Any) -> Any:
    if hasattr(x, "shape"):
        return xp.astype(x, xp.float64)
    return xp.asarray(float(x), dtype=xp.float64, device=device_of(like))


def columns(xp: Any, real: Any, imaginary: Any, gradient: Any, half: Any) -> Any:
    """Per step the half angles by RF about x and y, by gradients per metre, and dt."""
    waveforms = (real, imaginary, *(gradient[:, i] for i in range(3)))
    dt = half / (-0.5 * GAMMA_1H)
    return (*(half * w for w in waveforms), xp.broadcast_to(dt, real.shape))


def rows(xp: Any, M: Any, position: Any, df: Any, T1: Any, T2: Any, B1: Any, M0: Any) -> Any:
    """Per spin x, y, z, half angle by df per second, B1, 1/T1, 1/T2 and M0, (N,) in float64."""

    def row(x: Any) -> Any:
        return xp.broadcast_to(as_float64(xp, x, M), M.shape[:1])

    place = (0.0, 0.0, 0.0) if position is None else (position[:, i] for i in range(3))
    return tuple(map(row, (*place, -math.pi * df, B1, 1 / T1, 1 / T2, M0)))


def tolerance_of(M: Any, tolerance: float | None) -> float:
    if tolerance is not None:
        return tolerance
    return 1e-6 if str(M.dtype).endswith("float32") else 1e-8


def check_shapes(M: Any, b1: Any, gradient: Any, dt: Any, spins: dict[str, Any]) -> None:
    xp = namespace(*(x for x in (M, b1, gradient, dt, *spins.values()) if hasattr(x, "shape")))
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
        shape = tuple(x.shape) if hasattr(x, "shape") else ()
        if shape not in shapes or (name == "gradient" and not hasattr(x, "shape")):
            wanted = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name}: shape {shape}; {wanted} is allowed for {N} spins and {K} steps"
            )


def check_values(arguments: dict[str, Any], arrays: bool) -> None:
    """Refuse values that make no sense, of numbers or also of NumPy arrays."""
    rules = {
        "dt": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite time in s"),
        "T1": (lambda x: x > 0, "a positive time in s"),
        "T2": (lambda x: x > 0, "a positive time in s"),
        "gradient": (
            lambda x: np.abs(x) <= STRONGEST_GRADIENT,
            f"at most {STRONGEST_GRADIENT} T/m",
        ),
        "M0": (lambda x: (x >= 0) & np.isfinite(x), "a finite number from 0"),
        "tolerance": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite number"),
    }
    known = {k: x for k, x in arguments.items() if x is not None and (arrays or not _is_array(x))}
    for name, x in known.items():
        rule, allowed = rules.get(name, (np.isfinite, "finite numbers"))
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


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape")
