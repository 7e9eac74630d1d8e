"""QSMnet: a 3D U-Net from a field map to a susceptibility map."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNTS, Whole
from ipads_stream.core.quantity import quantities
from ipads_stream.nets.field_scale import Fixed
from ipads_stream.nets.unet2d import padded

SLOPE = 0.1  # of the leaky ReLU


class UNet3D(nn.Module):
    """Levels of two (convolution, batch norm, leaky ReLU) each, joined by pooling and skips.

    Level l has ``widths[l]`` feature maps; the way down halves by the maximum of 2^3 voxels, the
    way up doubles by transposed convolutions of 2^3, beside the maps of the way down. A last
    convolution of 1^3 gives the map. Extents are padded with zeros to a multiple of 2^(levels - 1).
    Shapes: field_ppm, mask and the map (batch, X, Y, Z).

    Args:
        outputs: the one quantity, in ppm.
        widths: feature maps of the levels; 32, 64, 128, 256, 512 as published.
        kernel: extent of the convolutions; 5 as published.
        scale: divides the field and multiplies the map (nets/field_scale.py); None: by 0.05 ppm.

    Source: Yoon et al., NeuroImage 179:199 (2018).
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        widths: Sequence[int] = (8, 16, 32),
        kernel: int = 3,
        scale: nn.Module | None = None,
    ) -> None:
        super().__init__()
        (self.name,) = quantities(outputs)
        widths = COUNTS("widths", widths)
        Whole(low=1, odd=True)("kernel", kernel)
        self.scale = Fixed(0.05) if scale is None else scale
        self.down = nn.ModuleList(
            nn.Sequential(*layer(before, after, kernel), *layer(after, after, kernel))
            for before, after in zip((1, *widths[:-1]), widths, strict=True)
        )
        pairs = list(pairwise(widths))[::-1]
        self.doubling = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(*layer(2 * a, a, kernel), *layer(a, a, kernel)) for a, _ in pairs
        )
        self.last = nn.Conv3d(widths[0], 1, 1)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The map of the input "field_ppm", 0 outside the bool "mask"."""
        mask = inputs["mask"].to(inputs["field_ppm"].dtype)
        field = inputs["field_ppm"] * mask
        scale = self.scale(field, mask)
        x = padded((field / scale)[:, None], 2 ** len(self.doubling))
        skips = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool3d(x, 2) if level else x)
            skips.append(x)
        for twice, block, skip in zip(self.doubling, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, twice(x)], dim=1))
        X, Y, Z = field.shape[1:]
        return {self.name: self.last(x)[:, 0, :X, :Y, :Z] * scale * mask}


def layer(before: int, after: int, kernel: int = 3) -> nn.Sequential:
    """A convolution of volumes, batch norm and leaky ReLU."""
    convolution = nn.Conv3d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.LeakyReLU(SLOPE))
