"""Removal of the field of sources outside an object: V-SHARP.

Arrays are NumPy: this is for measured field maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float

AXES = (0, 1, 2)


def local_field(
    field: Float[np.ndarray, "X Y Z"],
    mask: Bool[np.ndarray, "X Y Z"],
    spacing: Any,
    *,
    largest: float = 8e-3,
    smallest: float = 2e-3,
    threshold: float = 0.05,
) -> tuple[Float[np.ndarray, "X Y Z"], Bool[np.ndarray, "X Y Z"]]:
    """The field of the sources inside the mask, and where it is known.

    A field of sources elsewhere is harmonic inside the mask, so its mean over a sphere is its value
    in the middle: f - S_r * f is free of it wherever the sphere lies inside the mask. Each voxel
    takes the largest sphere that does; then 1 - S of the largest sphere is divided out where it is
    above the threshold.

    Args:
        field: any unit, (X, Y, Z).
        mask: the object.
        spacing: three lengths from voxel to voxel, m.
        largest, smallest: radii of the spheres, m; the result lacks a rim of the smallest.
        threshold: of 1 - S in k-space, from 0 to 1.

    Raises:
        ValueError: radii or a threshold out of range, or no voxel as far from the rim.

    Source: Wu et al., MRM 67:137 (2012); Schweser et al., NeuroImage 54:2789 (2011).
    """
    steps = np.asarray(spacing, dtype=float)
    if not 0 < smallest <= largest:
        raise ValueError(f"smallest={smallest}, largest={largest}: 0 < smallest <= largest")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}: 0 to 1 is allowed")
    reach = [int(np.ceil(largest / d)) for d in steps]
    sizes = [
        scipy.fft.next_fast_len(n + r, real=True) for n, r in zip(mask.shape, reach, strict=True)
    ]
    values, inside = (_spectrum(x, sizes) for x in (field * mask, mask.astype(float)))
    local, known = np.zeros(mask.shape), np.zeros(mask.shape, dtype=bool)
    widest = None
    for radius in np.arange(largest, smallest * (1 - 1e-9), -steps.min()):
        sphere = _sphere(radius, steps, sizes)
        fits = (_space(inside * sphere, sizes, mask.shape) > 1 - 1e-6) & mask & ~known
        if fits.any():
            widest = sphere if widest is None else widest
            means = _space(values * sphere, sizes, mask.shape)
            local[fits] = field[fits] - means[fits]
            known |= fits
    if widest is None:
        allowed = f"an object that holds a sphere of smallest={smallest:g} m"
        raise ValueError(f"mask with {int(mask.sum())} voxels: {allowed} is allowed")
    high_pass = 1 - widest
    keep = abs(high_pass) > threshold
    divided = np.where(keep, _spectrum(local, sizes) / np.where(keep, high_pass, 1.0), 0.0)
    return _space(divided, sizes, mask.shape) * known, known


def _sphere(radius: float, steps: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Transform of the mean over a sphere; real, because it is even."""
    distances = [scipy.fft.fftfreq(n, 1 / n) * d for n, d in zip(sizes, steps, strict=True)]
    X, Y, Z = np.meshgrid(*distances, indexing="ij", sparse=True)
    ball = (radius**2 * (1 + 1e-9) >= X**2 + Y**2 + Z**2).astype(float)
    return np.asarray(_spectrum(ball / ball.sum(), sizes).real)


def _spectrum(x: np.ndarray, sizes: list[int]) -> np.ndarray:
    return np.asarray(scipy.fft.rfftn(x, sizes, axes=AXES))


def _space(spectrum: np.ndarray, sizes: list[int], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.asarray(scipy.fft.irfftn(spectrum, sizes, axes=AXES))
    return whole[: shape[0], : shape[1], : shape[2]]
