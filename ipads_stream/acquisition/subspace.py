"""Signals in few coordinates: those in which a set of typical ones differs most.

A network that sees these instead of all samples has less noise to learn to ignore. The set belongs
to the acquisition and not to the distributions of a stream, so that a network's inputs mean the
same when it is tested on other distributions.

Source: McGivney et al., SVD compression for magnetic resonance fingerprinting in the time domain,
IEEE Transactions on Medical Imaging 33(12), 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import is_cupy, kept
from ipads_stream.core.errors import ConfigError


@dataclass(frozen=True)
class Subspace:
    """The mean of typical signals and the directions in which they differ.

    vectors: orthonormal, the largest first; sizes: standard deviation of the coordinates in the
    set, noise included.
    """

    mean: Float[np.ndarray, " N"]
    vectors: Float[np.ndarray, "K N"]
    sizes: Float[np.ndarray, " K"]

    @cached_property
    def scaled(self) -> Float[np.ndarray, "K N"]:
        """The vectors over their sizes."""
        return self.vectors / self.sizes[:, None]

    def coordinates(self, signals: Float[Any, "B N"], xp: Any = np) -> Float[Any, "B K"]:
        """x_k = v_k (s - mean) / size_k, of the precision of the signals, normalised as the set."""
        # The mean is taken off first: single precision would lose what is small beside it.
        mean, scaled = (kept(x, xp, signals.dtype) for x in (self.mean, self.scaled))
        # Not a matrix product: its rounding would follow the number of signals in the batch. CuPy's
        # einsum is one, and cuBLAS cannot be recorded (stream/graphs.py).
        if is_cupy(signals):
            return xp.sum((signals - mean)[:, None] * scaled, axis=2)
        return xp.einsum("bn,kn->bk", signals - mean, scaled)

    def residual(self, signals: Float[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
        """Standard deviation per sample of what no signal of the set explains: of the noise."""
        basis = np.linalg.qr(np.vstack([self.mean, self.vectors]).T)[0]
        left = basis.shape[0] - basis.shape[1]
        if left < 1:
            raise ConfigError("features", len(self.sizes), f"at most {basis.shape[0] - 2}")
        power = np.sum(signals * signals, axis=1) - np.sum((signals @ basis) ** 2, axis=1)
        return np.sqrt(np.maximum(power, 0.0) / left)


def subspace(signals: Float[np.ndarray, "B N"], rank: int, noise: float) -> Subspace:
    """The subspace of noise-free signals; noise: typical standard deviation of a sample's noise."""
    if not 1 <= rank <= signals.shape[1]:
        raise ConfigError("features", rank, f"1 to {signals.shape[1]}, the samples of a signal")
    mean = signals.mean(axis=0)
    _, values, vectors = np.linalg.svd(signals - mean, full_matrices=False)
    variance = values[:rank] ** 2 / len(signals)
    return Subspace(mean, vectors[:rank], np.sqrt(variance + noise**2))
