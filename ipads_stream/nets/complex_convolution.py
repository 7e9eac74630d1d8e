"""Convolutions of real and imaginary parts: free (two channels) or complex-valued."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipads_stream.nets.unrolled import check


@dataclass(frozen=True)
class TwoChannel:
    """Real convolutions: every output channel sees every real and imaginary part freely."""

    def __call__(self, channels: int, out_channels: int, kernel: int, dilation: int) -> nn.Module:
        layer = nn.Conv1d(channels, out_channels, kernel, dilation=dilation)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
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
        allowed = "even numbers: real and imaginary parts"
        check("channels", channels, channels % 2 == 0, allowed)
        check("out_channels", out_channels, out_channels % 2 == 0, allowed)
        inner, outer = channels // 2, out_channels // 2
        # ReLU halves the energy, and each output part sums over 2 C k products.
        deviation = math.sqrt(1.0 / (inner * kernel))
        self.weight = nn.Parameter(torch.randn(2, outer, inner, kernel) * deviation)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.dilation = dilation

    def forward(self, features: Tensor) -> Tensor:
        """Convolve without padding, (batch, 2 C, points)."""
        real, imaginary = self.weight
        rows = torch.stack(
            [
                torch.stack([real, -imaginary], dim=2),  # real part of the output
                torch.stack([imaginary, real], dim=2),
            ],
            dim=1,
        )
        kernel = rows.flatten(0, 1).flatten(1, 2)
        return functional.conv1d(features, kernel, self.bias, dilation=self.dilation)
