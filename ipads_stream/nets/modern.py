"""MoDern: unrolled soft thresholding whose thresholds a hypernetwork reads off the input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipads_stream.nets.complex_convolution import TwoChannel
from ipads_stream.nets.dense_block import wrap
from ipads_stream.nets.unrolled import (
    Measured,
    check,
    check_counts,
    consistency_weight,
    from_channels,
    is_count,
    to_channels,
    to_signal,
    to_spectrum,
)


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """Thresholds from a hypernetwork that sees the features themselves (:class:`HyperThreshold`).

    Attributes:
        hidden: width of its hidden layer.
        start: about the threshold before training, over the mean of the feature's magnitude.
    """

    hidden: int = 24
    start: float = 0.05

    def __post_init__(self) -> None:
        check("hidden", self.hidden, is_count(self.hidden, 1), "integers from 1")
        is_number = isinstance(self.start, (int, float)) and not isinstance(self.start, bool)
        check("start", self.start, is_number and 0 < self.start < 1, "numbers above 0, below 1")

    def __call__(self, channels: int) -> nn.Module:
        return HyperThreshold(channels, self.hidden, self.start)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Thresholds that are learned and the same for every input (:class:`FixedThreshold`).

    Attributes:
        start: threshold before training, in units of the features.
    """

    start: float = 0.01

    def __post_init__(self) -> None:
        is_number = isinstance(self.start, (int, float)) and not isinstance(self.start, bool)
        check("start", self.start, is_number and self.start > 0, "numbers above 0")

    def __call__(self, channels: int) -> nn.Module:
        return FixedThreshold(channels, self.start)


class HyperThreshold(nn.Module):
    """T_c = sigmoid(W_2 ReLU(W_1 m + b_1) + b_2)_c m_c with m_c the mean of |h_c| over the points.

    A signal with more artefacts has a larger mean, so the threshold follows the input by itself;
    the two layers learn by how much. Shapes: (batch, channels, points) -> (batch, channels).
    Source: Zhao et al., Deep Residual Shrinkage Networks, IEEE TII 2020, for the sub-network.
    """

    def __init__(self, channels: int, hidden: int, start: float) -> None:
        super().__init__()
        last = nn.Linear(hidden, channels)
        nn.init.constant_(last.bias, math.log(start / (1 - start)))
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), last)

    def forward(self, features: Tensor) -> Tensor:
        """Thresholds (batch, channels) of features (batch, channels, points)."""
        mean = features.abs().mean(dim=-1)
        return torch.sigmoid(self.layers(mean)) * mean


class FixedThreshold(nn.Module):
    """T_c = exp(a_c), the same for every input: the ablation of :class:`HyperThreshold`."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.full((channels,), math.log(start)))

    def forward(self, features: Tensor) -> Tensor:
        """Thresholds (batch, channels) of features (batch, channels, points)."""
        return self.logarithm.exp().expand(features.shape[:2])


def soft(features: Tensor, threshold: Tensor) -> Tensor:
    """Soft thresholding: h - T above T, h + T below -T, 0 between."""
    return features - torch.maximum(torch.minimum(features, threshold), -threshold)


class Shrinkage(nn.Module):
    """Correction of a spectrum: two convolutions, soft threshold, two convolutions.

    h = W_2 * ReLU(W_1 * X), correction = W_4 * ReLU(W_3 * soft(h, T(h))); W_4 is zero at first.
    Shapes: (batch, 2, points) -> (batch, 2, points), and T and max |h| (batch, channels).
    """

    def __init__(
        self, channels: int, kernel: int, dilations: tuple[int, int], threshold: nn.Module
    ) -> None:
        super().__init__()
        make, (near, far) = TwoChannel(), dilations
        self.analysis = nn.ModuleList(
            [make(2, channels, kernel, near), make(channels, channels, kernel, far)]
        )
        self.synthesis = nn.ModuleList(
            [make(channels, channels, kernel, far), make(channels, 2, kernel, near)]
        )
        self.near, self.far = near * (kernel // 2), far * (kernel // 2)
        self.threshold = threshold
        for parameter in self.synthesis[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Correction (batch, 2, points), thresholds T and max |h| (batch, channels)."""
        first, second = self.analysis
        features = functional.relu(first(wrap(parts, self.near)))
        features = second(wrap(features, self.far))
        threshold = self.threshold(features)
        tallest = features.detach().abs().amax(dim=-1)
        features = soft(features, threshold[..., None])
        first, second = self.synthesis
        features = functional.relu(first(wrap(features, self.far)))
        return second(wrap(features, self.near)), threshold, tallest


class MoDern(nn.Module):
    """Reconstruct a spectrum by K phases of data consistency and learned soft thresholding.

    X_k = F C(F^-1 (X_(k-1) + G_k(X_(k-1)))), G_k a :class:`Shrinkage` of real and imaginary parts,
    C data consistency, F the orthonormal Fourier transform, X_0 = F y. Signals are divided by
    max |F y| inside, so the output scales with the input.
    Shapes: fid (batch, points) complex, mask (batch, points) bool.
    `threshold`: Hyper, or Fixed as its ablation.
    Source: Wang et al. 2023, IEEE TNNLS 34(10):7578, arXiv 2012.14830: unrolled l1 model with
    thresholds from a sub-network; layers and sizes are choices of this project.
    """

    def __init__(
        self,
        *,
        phases: int = 10,
        channels: int = 24,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 3),
        threshold: Hyper | Fixed | None = None,
        consistency: float = math.inf,
    ) -> None:
        super().__init__()
        check("phases", phases, is_count(phases, 1), "integers from 1")
        check("channels", channels, is_count(channels, 1), "integers from 1")
        check("kernel", kernel, is_count(kernel, 1) and kernel % 2 == 1, "odd integers from 1")
        spacings = check_counts("dilations", dilations)
        check("dilations", dilations, len(spacings) == 2, "two integers from 1")
        threshold = Hyper() if threshold is None else threshold
        check("threshold", threshold, callable(threshold), "Hyper or Fixed")
        self.weight = consistency_weight(consistency)
        self.blocks = nn.ModuleList(
            Shrinkage(channels, kernel, (spacings[0], spacings[1]), threshold(channels))
            for _ in range(phases)
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shifted spectrum (batch, points), those of all phases, and thresholds.

        inputs: "fid" (batch, points) complex, zero-filled; "mask" (batch, points) bool.
        Returns: "spectrum" (batch, points) and "phases" (phases, batch, points), complex;
        "thresholds" (phases, batch), mean of T over the channels, in units of the features, whose
        size each phase learns; "relative_thresholds" (phases, batch), mean of T / max |h|.
        """
        measured = Measured.of(inputs, self.weight)
        spectrum = to_spectrum(measured.fid)
        tiny = torch.finfo(measured.scale.dtype).tiny
        estimates, thresholds, relative = [], [], []
        for block in self.blocks:
            change, threshold, tallest = block(to_channels(spectrum))
            signal = to_signal(spectrum + from_channels(change))
            spectrum = to_spectrum(measured.consistent(signal))
            estimates.append(spectrum)
            thresholds.append(threshold.mean(dim=-1))
            relative.append((threshold / tallest.clamp_min(tiny)).mean(dim=-1))
        return measured.predictions(estimates) | {
            "thresholds": torch.stack(thresholds),
            "relative_thresholds": torch.stack(relative),
        }
