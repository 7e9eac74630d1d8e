"""A fully connected network on the projections of a fingerprint onto its singular vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.perceptron import Perceptron
from ipads_stream.physics.fingerprint import fingerprint, tissue_grid
from ipads_stream.sequences.fingerprint_schedules import Schedule

# The vectors belong to the schedule, not to what is drawn: another distribution of T1 leaves the
# network's inputs as they are.
T1, T2 = (0.05, 5.0), (0.01, 1.0)  # s
POINTS = (64, 64)
FLOOR = 0.02  # noise per frame over its signal, below which differences do not count
SNR = (5.0, 500.0)  # between which it is estimated


class ProjectedPerceptron(nn.Module):
    """Quantities from c_k = <v_k, y> / sqrt(lambda_k + 0.02^2 / N) and ln SNR, y of norm 1.

    v_k and lambda_k are singular vectors and mean squares of the coefficients of noise-free
    fingerprints over a grid of tissue; SNR follows from what of y lies outside their span. Both are
    constants of the network and kept with its weights. Dividing by the standard deviation alone
    would let the noise of the last coefficients drown the first.

    Args:
        schedule: of the frames, as the system has it.
        outputs: name -> low, high, unit, scale, bids of a quantity.
        data: "complex" (real after its phase was removed) or "magnitude".
        vectors: K.
        B1: range among the fingerprints; that of the system.
        widths, activation: of the hidden layers (nets/perceptron.py).

    Raises:
        ConfigError: more vectors than frames, or what Perceptron refuses.

    Source: McGivney et al., SVD compression for magnetic resonance fingerprinting in the time
    domain, IEEE Transactions on Medical Imaging 33(12), 2014.
    """

    vectors: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        schedule: Schedule,
        outputs: Mapping[str, Any],
        data: str = "complex",
        vectors: int = 12,
        B1: Sequence[float] = (1.0, 1.0),
        widths: Sequence[int] = (128, 128, 128),
        activation: str = "silu",
    ) -> None:
        super().__init__()
        frames = schedule.frames
        num = len(frames.flip)
        if isinstance(vectors, bool) or not isinstance(vectors, int) or not 1 <= vectors < num:
            raise ConfigError("vectors", vectors, f"a whole number, 1 to {num - 1}")
        if data not in ("complex", "magnitude"):
            raise ConfigError("data", data, "complex or magnitude")
        low, high = B1
        points = (*POINTS, 9 if low < high else 1)
        a, b, c = tissue_grid(T1, T2, (low, high), points)
        signals = np.imag(fingerprint(*frames, T1=a, T2=b, B1=c))
        if data == "magnitude":
            signals = np.abs(signals)
        found, squares = singular_vectors(signals, vectors)
        spread = np.sqrt(squares + FLOOR**2 / num)
        self.register_buffer("vectors", torch.from_numpy(found.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(spread.astype(np.float32)))
        self.perceptron = Perceptron(
            inputs={"coefficients": vectors, "log_snr": 1},
            outputs=outputs,
            widths=widths,
            activation=activation,
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Quantities in SI, each (B,), of the signal (B, N)."""
        signal = inputs["signal"]
        coefficients = signal @ self.vectors
        rest = signal - coefficients @ self.vectors.T
        num, count = self.vectors.shape
        noise = rest.square().sum(1) * (num / (num - count))  # over that of the signal
        noise = noise.clamp(SNR[1] ** -2, SNR[0] ** -2)
        features = {
            "coefficients": coefficients / self.scale,
            "log_snr": -0.5 * noise.log() - math.log(50.0),
        }
        predictions: dict[str, Tensor] = self.perceptron(features)
        return predictions


def singular_vectors(signals: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors of signals of norm 1, and the mean squares of their coefficients.

    Args:
        signals: real, (atoms, frames), of any norm.
        count: how many.

    Returns:
        (frames, count), each with its largest element above 0, and (count,).
    """
    unit = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    squares, found = np.linalg.eigh(unit.T @ unit / len(unit))
    squares, found = squares[::-1][:count], found[:, ::-1][:, :count]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    return found * np.sign(largest), np.maximum(squares, 0.0)
