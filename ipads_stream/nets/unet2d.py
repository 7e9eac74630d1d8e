"""A U-Net from a complex image to maps of quantities."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNTS
from ipads_stream.core.quantity import physical, quantities

SLOPE = 0.1  # of the leaky ReLU
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class UNet2D(nn.Module):
    """Levels of two (3 x 3 convolution, leaky ReLU), without normalisation, joined by skips.

    Level l has ``widths[l]`` feature maps; the way down halves by means of 2 x 2, the way up takes
    the nearest. A last 1 x 1 convolution gives the normalised quantities. Extents are padded with
    zeros to a multiple of 2^(levels - 1). Shapes: image (batch, channels, X, Y), map (batch, X, Y).

    Args:
        outputs: quantities that are estimated.
        widths: feature maps of the levels.
        channels: of the image: 2, real and imaginary part.

    Source: Ronneberger et al., MICCAI 2015, arXiv 1505.04597; without normalisation: Yang et al.,
    IEEE TMI 41:3167 (2022).
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        widths: Sequence[int] = (16, 32, 64, 128),
        channels: int = 2,
    ) -> None:
        super().__init__()
        self.quantities = quantities(outputs)
        widths = COUNTS("widths", widths)
        self.down = nn.ModuleList(
            _level(before, after)
            for before, after in zip((channels, *widths[:-1]), widths, strict=True)
        )
        pairs = list(itertools.pairwise(widths))[::-1]
        self.up = nn.ModuleList(_level(a + b, a) for a, b in pairs)
        self.last = nn.Conv2d(widths[0], len(self.quantities), 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The quantities in SI, of the input "image"."""
        X, Y = inputs["image"].shape[-2:]
        x = padded(inputs["image"], 2 ** len(self.up))
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=2.0)], dim=1))
        return physical(self.quantities, self.last(x)[:, :, :X, :Y].float())


def _level(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(after, after, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )


def padded(x: Tensor, multiple: int) -> Tensor:
    """Images or volumes (batch, channels, X, Y[, Z]) with zeros at the end of each axis, up to
    multiples, channels last."""
    missing = [size for n in reversed(x.shape[2:]) for size in (0, -n % multiple)]
    return torch.nn.functional.pad(x, missing).contiguous(memory_format=FORMATS[x.ndim])
