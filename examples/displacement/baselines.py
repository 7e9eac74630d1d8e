"""Displacement from the phase itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from displacement.system import Displacement
from ipads_stream.acquisition.phase_unwrapping import unwrapped
from ipads_stream.baselines import Method


def phase(system: Displacement) -> Method:
    """u = angle(S_j S_0^*) / (2 pi k), from -1 / (2 k) to 1 / (2 k)."""

    def estimate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"displacement": turns(inputs["images"]) / system.encoding}

    return estimate


def unwrapped_phase(system: Displacement) -> Method:
    """The same after unwrapping in space; of the whole turns that are left free, the number that
    brings the mean, weighted by the signal, nearest to 0.
    """

    def estimate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs["images"]
        weight = np.abs(images[:, 0]) ** 2
        smooth = np.empty((len(images), 2, *images.shape[2:]), np.float32)
        for row, component in np.ndindex(smooth.shape[:2]):
            wrapped = 2 * math.pi * turns(images[row : row + 1])[0, component].astype(float)
            cycles = unwrapped(wrapped[..., None])[..., 0] / (2 * math.pi)
            cycles -= np.round(np.average(cycles, weights=weight[row]))
            smooth[row, component] = cycles
        return {"displacement": smooth / system.encoding}

    return estimate


def turns(images: np.ndarray) -> np.ndarray:
    """Phase of the encoded images against the reference, in turns, (B, 2, X, Y)."""
    return np.angle(images[:, 1:] * np.conj(images[:, :1])) / (2 * math.pi)
