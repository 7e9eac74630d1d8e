"""Removing the unknown phase of a receiver from signals that are real up to that phase."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import namespace

STEPS = 2000


def without_phase(
    signal: Complex[Any, "B N"], reference: Float[np.ndarray, " N"]
) -> Float[Any, "B N"]:
    """The real part of each signal along its principal axis, with its sign.

    For s_n = exp(i a) x_n plus noise, x real: a = arg(sum_n s_n^2) / 2 up to half a turn, which the
    sign of sum_n r_n x_n settles where r is a reference on whose side every x lies.

    Args:
        signal: s, (B, N).
        reference: r, from :func:`sign_reference`.
    """
    xp = namespace(signal)
    axis = xp.sqrt(xp.sum(signal * signal, axis=1))
    size = xp.abs(axis)
    turn = xp.conj(axis) / xp.where(size > 0, size, xp.ones_like(size))
    x = xp.real(signal * turn[:, None])
    side = xp.sum(x * xp.asarray(reference, dtype=x.dtype), axis=1)
    return x * xp.where(side < 0, -xp.ones_like(side), xp.ones_like(side))[:, None]


def sign_reference(
    signals: Float[np.ndarray, "S N"],
) -> tuple[Float[np.ndarray, " N"], float]:
    """The direction on whose side all signals lie farthest, and how far the nearest does.

    The point of least norm in the convex hull of the signals x_s / |x_s|: each step moves towards
    the signal that lies least on its side, as far as the norm falls.

    Args:
        signals: x, real, (S, N).

    Returns:
        r, (N,), of norm 1, and min_s <r, x_s> / |x_s|; 0 or below where no direction has all
        signals on its side.

    Source: Gilbert, An iterative procedure for computing the minimum of a quadratic form on a
    convex set, SIAM Journal on Control 4(1), 1966.
    """
    x = np.asarray(signals, dtype=np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    r = x.mean(axis=0)
    for _ in range(STEPS):
        worst = x[np.argmin(x @ r)]
        way = worst - r
        length = float(way @ way)
        share = -float(r @ way) / length if length > 0 else 0.0
        if share <= 1e-9:
            break
        r = r + min(share, 1.0) * way
    size = float(np.linalg.norm(r))
    r = r / size if size > 0 else r
    return r, float((x @ r).min())
