"""Removing the unknown phase of a receiver from signals that are real up to that phase."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float
from scipy.optimize import nnls

from ipads_stream.core.backend import fused, interned, kept, namespace


def without_phase(
    signal: Complex[Any, "B N"], reference: Float[np.ndarray, " N"]
) -> Float[Any, "B N"]:
    """The real part of each signal along its principal axis, with its sign.

    For s_n = exp(i a) x_n plus noise, x real: a = arg(sum_n s_n^2) / 2 up to half a turn, which the
    sign of sum_n r_n x_n settles where r (:func:`sign_reference`) is a reference on whose side
    every x lies.
    """
    xp = namespace(signal)
    axis = xp.sqrt(xp.sum(signal * signal, axis=1))
    size = xp.abs(axis)
    turn = xp.conj(axis) / xp.where(size > 0, size, xp.ones_like(size))
    x = xp.real(signal * turn[:, None])
    side = xp.sum(x * kept(reference, xp, x.dtype), axis=1)
    return x * xp.where(side < 0, -xp.ones_like(side), xp.ones_like(side))[:, None]


def sign_reference(
    signals: Float[np.ndarray, "S N"],
) -> tuple[Float[np.ndarray, " N"], float]:
    """The direction on whose side all signals lie farthest, and how far the nearest does.

    Given are r, of norm 1, and min_s <r, u_s> with u_s = x_s / |x_s|; 0 or below where no direction
    has all signals on its side. r points to the point of least norm in the convex hull of the u_s,
    r ~ sum_s w_s u_s with w = argmin |sum_s w_s u_s|^2 + (1 - sum_s w_s)^2, w >= 0.

    Source: Lawson and Hanson, Solving Least Squares Problems, chapter 23, 1974.
    """
    units = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    system = np.vstack([units.T, np.ones(len(units))])
    weights, _ = nnls(system, np.append(np.zeros(units.shape[1]), 1.0))
    r = weights @ units
    r = r / max(float(np.linalg.norm(r)), np.finfo(np.float64).tiny)
    return r, float((units @ r).min())


def without_phase_plane(
    image: Complex[Any, "B X Y Z"], mask: Bool[Any, "B X Y Z"], xp: Any
) -> Complex[Any, "B X Y Z"]:
    """Volumes S without the plane of their phase, 0 outside the mask, over sum |S|^2 / sum |S|.

    Voids hardly change that divisor.

    The plane turns along each axis by the angle of sum S(n + 1) S(n)*, most of which shim and
    receiver are, and leaves no phase to sum S |S|: weak iron would be hidden under it.
    """
    axes = (1, 2, 3)
    inside = xp.where(mask, image, 0)
    for axis in axes:
        ahead, behind = slice(1, None), slice(None, -1)
        place = (slice(None),) * axis
        turning = _turning(inside[(*place, behind)], inside[(*place, ahead)])
        total = xp.sum(turning, axis=axes, keepdims=True)
        steps = kept(interned(np.arange(image.shape[axis], dtype=np.float32)), xp)
        steps = steps.reshape((-1, *(1,) * (3 - axis)))
        inside = _turned_back(inside, total, steps)
    sums = (xp.sum(x, axis=axes, keepdims=True) for x in _weighted(inside))
    return _scaled(inside, *sums)


@fused
def _turning(xp: Any, behind: Any, ahead: Any) -> Any:
    # What was just computed stands first (see physics/bloch/single_shot.py).
    return xp.conj(behind) * ahead


@fused
def _turned_back(xp: Any, inside: Any, turning: Any, steps: Any) -> Any:
    return inside * xp.exp(-1j * xp.angle(turning) * steps)


@fused
def _weighted(xp: Any, inside: Any) -> tuple[Any, Any, Any]:
    """|S|, S |S| and |S|^2."""
    size = xp.abs(inside)
    return size, inside * size, size**2


@fused
def _scaled(xp: Any, inside: Any, size: Any, mean: Any, square: Any) -> Any:
    """S without the phase of sum S |S|, over sum |S|^2 / sum |S|."""
    total = xp.maximum(size, 1e-30)
    phasor = xp.conj(mean) / xp.maximum(xp.abs(mean), 1e-30)
    return inside * (phasor * (total / xp.maximum(square, 1e-30)))
