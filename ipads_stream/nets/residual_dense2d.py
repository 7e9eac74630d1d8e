"""A residual-dense network from a complex image to maps of quantities."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT
from ipads_stream.core.quantity import physical, quantities


class ResidualDense2D(nn.Module):
    """Blocks of densely joined convolutions at full resolution, joined again at the end.

    Block: h_l = [h_(l-1), ReLU(3 x 3 h_(l-1))], output x + 1 x 1 h_L. All blocks' outputs go into
    one 1 x 1 and one 3 x 3 convolution, to which the first features are added. Shapes: image
    (batch, channels, X, Y), maps (batch, X, Y).

    Args:
        outputs: quantities that are estimated.
        width: feature maps between blocks.
        growth: feature maps of a convolution within a block.
        layers: convolutions in a block.
        blocks: how many.
        channels: of the image: 2, real and imaginary part.

    Source: Zhang et al., CVPR 2018, arXiv 1802.08797.
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        width: int = 32,
        growth: int = 16,
        layers: int = 4,
        blocks: int = 4,
        channels: int = 2,
    ) -> None:
        super().__init__()
        self.quantities = quantities(outputs)
        counts = {"width": width, "growth": growth, "layers": layers, "blocks": blocks}
        for name, count in counts.items():
            COUNT(name, count)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width, growth, layers) for _ in range(blocks))
        self.joined = nn.Sequential(
            nn.Conv2d(blocks * width, width, 1), nn.Conv2d(width, width, 3, padding=1)
        )
        self.last = nn.Conv2d(width, len(self.quantities), 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The quantities in SI, of the input "image"."""
        x = inputs["image"].contiguous(memory_format=torch.channels_last)
        shallow = self.first(x)
        x, deep = self.second(shallow), []
        for block in self.blocks:
            x = block(x)
            deep.append(x)
        z = self.last(shallow + self.joined(torch.cat(deep, dim=1))).float()
        return physical(self.quantities, z)


class _Block(nn.Module):
    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(width + growth * layer, growth, 3, padding=1) for layer in range(layers)
        )
        self.out = nn.Conv2d(width + growth * layers, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.layers:
            features = torch.cat([features, torch.relu(layer(features))], dim=1)
        return x + self.out(features)
