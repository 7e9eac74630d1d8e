"""Thermal noise of a receiver."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.acquisition.kernels import noise as lanes
from ipads_stream.core import random
from ipads_stream.core.backend import is_numpy


def complex_noise(
    key: random.Key, sigma: Float[Any, " B"], points: int, xp: Any
) -> Complex[Any, "B N"]:
    """Circular complex Gaussian noise with ``E|z|^2 = sigma^2``, complex64.

    sigma: standard deviation of the complex noise of a point, float32, the signal's unit.
    """
    return sigma[:, None] * random.complex_normal(key, (points,), xp)


def measured(
    key: random.Key,
    signal: Complex[Any, "B N"],
    sigma: Float[Any, " B"],
    mask: Bool[Any, "B N"],
    xp: Any,
) -> Complex[Any, "B N"]:
    """The signal with :func:`complex_noise` at the points of the mask, 0 elsewhere, complex64.

    Args:
        key: of the noise.
        signal: complex64, (B, N).
        sigma: standard deviation of the complex noise of a point, float32, the signal's unit, (B,).
        mask: which points are measured, (B, N).
    """
    if not is_numpy(signal):
        noisy = signal + complex_noise(key, sigma, signal.shape[1], xp)
        return xp.where(mask, noisy, 0)
    out = np.empty_like(signal)
    given = signal.view(np.float32), sigma, mask, out.view(np.float32)
    lanes.measure(*key.words, key.indices, *given)
    return out
