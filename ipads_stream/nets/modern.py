"""MoDern: unrolled soft thresholding whose thresholds a hypernetwork reads off the input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipads_stream.core.fields import COUNT, Instance, Numbers, Whole, check, number, whole
from ipads_stream.nets import unrolled
from ipads_stream.nets.complex_convolution import TwoChannel, wrap


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """Thresholds from a hypernetwork that sees the features themselves (:class:`HyperThreshold`).

    Attributes:
        hidden: width of its hidden layer.
        start: about the threshold before training, over the mean of the feature's magnitude.
    """

    hidden: int = whole(24, low=1)
    start: float = number(0.05, above=0.0, below=1.0)

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, channels: int) -> nn.Module:
        return HyperThreshold(channels, self.hidden, self.start)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Thresholds that are learned and the same for every input (:class:`FixedThreshold`).

    Attributes:
        start: threshold before training, in units of the features.
    """

    start: float = number(0.01, above=0.0)

    def __post_init__(self) -> None:
        check(self)

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
        self, channels: int, kernel: int, dilations: Sequence[int], threshold: nn.Module
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
        COUNT("phases", phases)
        COUNT("channels", channels)
        Whole(low=1, odd=True)("kernel", kernel)
        dilations = Numbers(each=COUNT, count=2)("dilations", dilations)
        threshold = Hyper() if threshold is None else threshold
        Instance(of=(Hyper, Fixed))("threshold", threshold)
        self.weight = unrolled.consistency_weight(consistency)
        self.blocks = nn.ModuleList(
            Shrinkage(channels, kernel, dilations, threshold(channels)) for _ in range(phases)
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shifted spectrum (batch, points), those of all phases, and thresholds.

        inputs: "fid" (batch, points) complex, zero-filled; "mask" (batch, points) bool.
        Returns: "spectrum" (batch, points) and "phases" (phases, batch, points), complex;
        "thresholds" (phases, batch), mean of T over the channels, in units of the features, whose
        size each phase learns; "relative_thresholds" (phases, batch), mean of T / max |h|.
        """
        measured = unrolled.Measured.of(inputs, self.weight)
        spectrum = unrolled.to_spectrum(measured.fid)
        tiny = torch.finfo(measured.scale.dtype).tiny
        estimates, thresholds, relative = [], [], []
        for block in self.blocks:
            change, threshold, tallest = block(unrolled.to_channels(spectrum))
            signal = unrolled.to_signal(spectrum + unrolled.from_channels(change))
            spectrum = unrolled.to_spectrum(measured.consistent(signal))
            estimates.append(spectrum)
            thresholds.append(threshold.mean(dim=-1))
            relative.append((threshold / tallest.clamp_min(tiny)).mean(dim=-1))
        return measured.predictions(estimates) | {
            "thresholds": torch.stack(thresholds),
            "relative_thresholds": torch.stack(relative),
        }
