"""Densely connected circular convolutions, real or complex-valued."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Convolution = Callable[[int, int, int, int], nn.Module]


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
        *,
        channels: int,
        out_channels: int,
        growth: int,
        kernel: int,
        dilations: Sequence[int],
        convolution: Convolution,
    ) -> None:
        super().__init__()
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
