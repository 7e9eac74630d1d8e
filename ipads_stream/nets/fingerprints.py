"""A fully connected network on the projections of a fingerprint onto its singular vectors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ipads_stream.core.fields import Choice, Whole
from ipads_stream.nets.perceptron import Perceptron
from ipads_stream.physics.epg.fingerprint import fingerprint, tissue_grid
from ipads_stream.sequences.fingerprint_schedules import FrameSchedule

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
        schedule: FrameSchedule,
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
        Whole(low=1, high=num - 1)("vectors", vectors)
        Choice(among=("complex", "magnitude"))("data", data)
        low, high = B1
        a, b, c = tissue_grid(T1, T2, (low, high), (*POINTS, 9 if low < high else 1))
        signals = np.imag(fingerprint(*frames, T1=a, T2=b, B1=c))
        if data == "magnitude":
            signals = np.abs(signals)
        singular, squares = singular_vectors(signals, vectors)
        spread = np.sqrt(squares + FLOOR**2 / num)
        self.register_buffer("vectors", torch.from_numpy(singular.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(spread.astype(np.float32)))
        inputs = {"coefficients": vectors, "log_snr": 1}
        self.perceptron = Perceptron(
            inputs=inputs, outputs=outputs, widths=widths, activation=activation
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Quantities in SI, each (B,), of the signal (B, N)."""
        signal = inputs["signal"]
        coefficients = signal @ self.vectors
        residual = signal - coefficients @ self.vectors.T
        num, count = self.vectors.shape
        noise = residual.square().sum(1) * (num / (num - count))  # over that of the signal
        noise = noise.clamp(SNR[1] ** -2, SNR[0] ** -2)
        log_snr = -0.5 * noise.log() - math.log(50.0)
        return self.perceptron({"coefficients": coefficients / self.scale, "log_snr": log_snr})


def singular_vectors(signals: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors of real signals (atoms, frames) brought to norm 1, (frames, count),
    each with its largest element above 0, and the mean squares of their coefficients, (count,)."""
    unit = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    squares, vectors = np.linalg.eigh(unit.T @ unit / len(unit))
    squares, vectors = squares[::-1][:count], vectors[:, ::-1][:, :count]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return vectors * np.sign(largest), np.maximum(squares, 0.0)
