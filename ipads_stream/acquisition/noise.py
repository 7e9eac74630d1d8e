"""Thermal noise of a receiver."""

from __future__ import annotations

from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.core import random


def complex_noise(
    key: random.Key, sigma: Float[Any, " B"], points: int, xp: Any
) -> Complex[Any, "B N"]:
    """Circular complex Gaussian noise with ``E|z|^2 = sigma^2``, complex64.

    Args:
        key: named random stream at B sample indices.
        sigma: (B,) float32, standard deviation of the complex noise of a point, the signal's unit.
        points: N, points per sample.
        xp: array library that draws: numpy or cupy.
    """
    return sigma[:, None] * random.complex_normal(key, (points,), xp)
