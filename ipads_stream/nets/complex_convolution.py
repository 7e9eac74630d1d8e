"""Convolutions of real and imaginary parts: free (two channels) or complex-valued."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import COUNT, COUNTS, Whole

Convolution = Callable[[int, int, int, int], nn.Module]


@dataclass(frozen=True)
class TwoChannel:
    """Real convolutions: every output channel sees every real and imaginary part freely."""

    def __call__(self, channels: int, out_channels: int, kernel: int, dilation: int) -> nn.Module:
        layer = nn.Conv1d(channels, out_channels, kernel, dilation=dilation)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return layer


@dataclass(frozen=True)
class ComplexValued:
    """Complex convolutions: half the weights of :class:`TwoChannel` for the same features."""

    def __call__(self, channels: int, out_channels: int, kernel: int, dilation: int) -> nn.Module:
        return ComplexConvolution(channels, out_channels, kernel, dilation)


class ComplexConvolution(nn.Module):
    """z -> w * z + c with complex weights, on channels that alternate real and imaginary parts.

    Re = u * x - v * y + Re c, Im = v * x + u * y + Im c for w = u + i v and z = x + i y. Where
    c = 0 it commutes with a common phase of all channels, which two free channels do not.
    Shapes: (batch, 2 C, points) -> (batch, 2 D, points - dilation (kernel - 1)).
    Source: Trabelsi et al., Deep Complex Networks, ICLR 2018, arXiv 1705.09792.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        for name, count in (("channels", channels), ("out_channels", out_channels)):
            if count % 2:
                raise ConfigError(name, count, "even numbers: real and imaginary parts")
        inner, outer = channels // 2, out_channels // 2
        # ReLU halves the energy, and each output part sums over 2 C k products.
        deviation = math.sqrt(1.0 / (inner * kernel))
        self.weight = nn.Parameter(torch.randn(2, outer, inner, kernel) * deviation)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.dilation = dilation

    def forward(self, features: Tensor) -> Tensor:
        """Convolve without padding, (batch, 2 C, points)."""
        real, imaginary = self.weight
        # Rows for the real and for the imaginary part of the output.
        parts = [torch.stack(row, dim=2) for row in ([real, -imaginary], [imaginary, real])]
        kernel = torch.stack(parts, dim=1).flatten(0, 1).flatten(1, 2)
        return functional.conv1d(features, kernel, self.bias, dilation=self.dilation)


def wrap(features: Tensor, width: int) -> Tensor:
    """Continue (batch, channels, points) periodically by `width` points on either side."""
    points = features.shape[-1]
    if width > points:
        return features[..., torch.arange(-width, points + width, device=features.device) % points]
    return torch.cat([features[..., points - width :], features, features[..., :width]], dim=-1)


class DenseBlock(nn.Module):
    """Map features h_0 to a correction with densely connected circular convolutions.

    h_l = [h_(l-1), ReLU(W_l * h_(l-1) + b_l)], correction = W_o h_L + b_o (1 x 1, zero at first).
    Shapes: (batch, channels, points) -> (batch, out_channels, points). `convolution` makes W from
    channels, out_channels, kernel and dilation (nets/complex_convolution.py).
    Source: Qu et al. 2020, Angew. Chem., arXiv 1904.05168.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        growth: int,
        *,
        kernel: int,
        dilations: Sequence[int],
        convolution: Convolution = TwoChannel(),
    ) -> None:
        super().__init__()
        COUNT("growth", growth)
        Whole(low=1, odd=True)("kernel", kernel)
        dilations = COUNTS("dilations", dilations)
        widths = [channels + growth * layer for layer in range(len(dilations) + 1)]
        layers = [
            convolution(width, growth, kernel, dilation)
            for width, dilation in zip(widths, dilations, strict=False)
        ]
        self.layers = nn.ModuleList(layers)
        self.reach = [dilation * (kernel // 2) for dilation in dilations]
        self.out = convolution(widths[-1], out_channels, 1, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, channels, points) to (batch, out_channels, points)."""
        for layer, reach in zip(self.layers, self.reach, strict=True):
            grown = functional.relu(layer(wrap(features, reach)))
            features = torch.cat([features, grown], dim=1)
        return self.out(features)
