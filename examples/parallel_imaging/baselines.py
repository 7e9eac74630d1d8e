"""Images from undersampled k-space without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipads_stream.baselines import Method
from parallel_imaging.encoding import adjoint, encode
from parallel_imaging.system import ParallelImaging

ITERATIONS, RIDGE = 20, 0.03  # of 0.001 to 0.2 the best on validation samples


def zero_filling(system: ParallelImaging) -> Method:
    """What is not sampled is 0: the adjoint of the encoding."""

    def reconstruct(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"image": adjoint(inputs["kspace"], inputs["sensitivities"], inputs["mask"])}

    return reconstruct


def cg_sense(system: ParallelImaging) -> Method:
    """The least |A x - y|^2 + RIDGE |x|^2, by conjugate gradients on (A^H A + RIDGE) x = A^H y.

    Source: Pruessmann et al., MRM 46:638 (2001).
    """

    def reconstruct(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        sensitivities, mask = inputs["sensitivities"], inputs["mask"]
        residual = adjoint(inputs["kspace"], sensitivities, mask)
        x, direction = np.zeros_like(residual), residual
        power = square(residual)
        for _ in range(ITERATIONS):
            applied = adjoint(encode(direction, sensitivities, mask), sensitivities, mask)
            applied = applied + RIDGE * direction
            curvature = np.sum(np.conj(direction) * applied, axis=(1, 2), keepdims=True).real
            step = power / np.maximum(curvature, TINY)
            x, residual = x + step * direction, residual - step * applied
            before, power = power, square(residual)
            direction = residual + power / np.maximum(before, TINY) * direction
        return {"image": x}

    return reconstruct


TINY = np.float32(1e-30)


def square(x: np.ndarray) -> np.ndarray:
    """|x|^2 of each image, (B, 1, 1)."""
    return np.sum(np.abs(x) ** 2, axis=(1, 2), keepdims=True)
