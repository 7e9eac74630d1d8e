"""DeepSPIO: images to a map by its wavelet coefficients, one decoder each, or by one decoder."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT, POSITIVE, Choice, Numbers, Whole
from ipads_stream.core.quantity import quantities
from ipads_stream.nets.unet2d import padded
from ipads_stream.nets.unet3d import layer

SLICES = 2  # odd and even ones, in channels of their own
_ROOT3 = math.sqrt(3)
# Scaling filters of orthonormal wavelets, times sqrt(2); Daubechies, CPAM 41:909 (1988).
FILTERS: dict[str, tuple[float, ...]] = {
    "haar": (1.0, 1.0),
    "db2": tuple((a + b * _ROOT3) / 4 for a, b in ((1, 1), (3, 1), (3, -1), (1, -1))),
}


class WaveletTransform(nn.Module):
    """One level of an orthonormal wavelet transform of the two first of three last axes.

    Low and high along an axis of even length, which repeats itself: l_n = sum_k h_k x_(2n+k),
    h'_n = sum_k g_k x_(2n+k), g_k = (-1)^k h_(K-1-k).

    Args:
        wavelet: "haar" or "db2", Daubechies' with four coefficients.
    """

    filters: Tensor

    def __init__(self, wavelet: str = "haar") -> None:
        super().__init__()
        Choice(among=tuple(FILTERS))("wavelet", wavelet)
        low = torch.tensor(FILTERS[wavelet], dtype=torch.float64) / math.sqrt(2)
        sign = (-1.0) ** torch.arange(len(low))
        self.register_buffer("filters", torch.stack([low, sign * low.flip(0)]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., X, Y, Z) -> (4, ..., X/2, Y/2, Z): LL, LH, HL, HH, the first letter that of X."""
        return torch.stack([part for half in self._split(x, -3) for part in self._split(half, -2)])

    def inverse(self, coefficients: Tensor) -> Tensor:
        """(4, ..., X/2, Y/2, Z) -> (..., X, Y, Z)."""
        low, high = (self._joined(coefficients[i], coefficients[i + 1], -2) for i in (0, 2))
        return self._joined(low, high, -3)

    def _split(self, x: Tensor, axis: int) -> list[Tensor]:
        pairs = x.unflatten(axis, (-1, 2))
        filters = self.filters.to(x)
        shifted = [pairs.select(axis, k % 2).roll(-(k // 2), axis) for k in range(len(filters[0]))]
        return [torch.stack([h * x for h, x in zip(taps, shifted, strict=True)]).sum(0)
                for taps in filters]  # fmt: skip

    def _joined(self, low: Tensor, high: Tensor, axis: int) -> Tensor:
        taps = [
            (h * low + g * high).roll(k // 2, axis)
            for k, (h, g) in enumerate(self.filters.to(low).T)
        ]
        halves = [sum(taps[parity::2]) for parity in (0, 1)]
        return torch.stack(halves, dim=axis).flatten(axis - 1, axis)  # type: ignore[arg-type]


class WaveletDecoders(nn.Module):
    """Encoder, bottleneck, four decoders that give LL, LH, HL and HH of the map, inverse transform.

    Odd and even slices are channels, so that a voxel of the network is two slices thick. The
    transform is of one level within the slices: decoders end at half the resolution, beside the
    encoder's features there. Shapes: image, mask and the map (batch, X, Y, Z); X and Y are padded
    to multiples of 4, Z too.

    Args:
        outputs: the one quantity.
        widths: feature maps of the encoder at full, half and quarter resolution.
        decoder: feature maps of each decoder.
        blocks: residual blocks of the bottleneck.
        wavelet: of WaveletTransform.
        scale: SI, that an output of 1 stands for; a new network gives 0.

    Source: IEEE TPAMI 44:143 (2022); residual bottleneck: ISMRM 2019, abstract 4887. Widths, depth
    and wavelet are not stated in what was read.
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        widths: Sequence[int] = (16, 32, 48),
        decoder: int = 16,
        blocks: int = 2,
        wavelet: str = "haar",
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        (self.name,) = quantities(outputs)
        self.scale = float(POSITIVE("scale", scale))
        self.encoder = Encoder(widths, blocks)
        COUNT("decoder", decoder)
        self.decoders = nn.ModuleList(
            HalfDecoder(widths[2], widths[1], decoder, _last(decoder)) for _ in range(4)
        )
        self.wavelet = WaveletTransform(wavelet)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The map of the complex input "image", 0 outside the bool "mask"."""
        _, half, quarter = self.encoder(folded(inputs))
        coefficients = torch.stack([decoder(quarter, half) for decoder in self.decoders])
        x = self.wavelet.inverse(coefficients)
        return {self.name: self.scale * unfolded(x, inputs["mask"])}


class DirectDecoder(nn.Module):
    """The same encoder and bottleneck, and one decoder that gives the map itself.

    Args:
        outputs, widths, blocks, scale: as of WaveletDecoders.
        decoder: feature maps of the decoder at half and at full resolution.
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        widths: Sequence[int] = (16, 32, 48),
        decoder: Sequence[int] = (32, 16),
        blocks: int = 2,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        (self.name,) = quantities(outputs)
        self.scale = float(POSITIVE("scale", scale))
        at_half, at_full = Numbers(each=COUNT, count=2)("decoder", decoder)
        self.encoder = Encoder(widths, blocks)
        self.at_half = HalfDecoder(widths[2], widths[1], at_half, nn.Identity())
        self.doubled = nn.ConvTranspose3d(at_half, at_full, (2, 2, 1), stride=(2, 2, 1))
        self.at_full = nn.Sequential(layer(at_full + widths[0], at_full), layer(at_full, at_full),
                                  _last(at_full))  # fmt: skip
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As of WaveletDecoders."""
        full, half, quarter = self.encoder(folded(inputs))
        x = self.doubled(self.at_half(quarter, half))
        x = self.at_full(torch.cat([full, x], dim=1))
        return {self.name: self.scale * unfolded(x, inputs["mask"])}


class Encoder(nn.Module):
    """Features at full, half and quarter resolution, the last with residual blocks."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        widths = Numbers(each=COUNT, count=3)("widths", widths)
        Whole(low=0)("blocks", blocks)
        self.at_full = nn.Sequential(layer(3 * SLICES, widths[0]), layer(widths[0], widths[0]))
        self.at_half = nn.Sequential(layer(widths[0], widths[1]), layer(widths[1], widths[1]))
        self.at_quarter = nn.Sequential(layer(widths[1], widths[2]), *(
            Residual(widths[2]) for _ in range(blocks)
        ))  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, 6, X, Y, Z/2) -> features; Z/2 is halved at quarter resolution alone."""
        full = self.at_full(x)
        half = self.at_half(nn.functional.max_pool3d(full, (2, 2, 1)))
        return full, half, self.at_quarter(nn.functional.max_pool3d(half, 2))


class Residual(nn.Module):
    """x + two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(layer(width, width), layer(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, X, Y, Z) -> the same."""
        return x + self.body(x)


class HalfDecoder(nn.Module):
    """From quarter resolution to half, beside the encoder's features there; then ``last``."""

    def __init__(self, below: int, beside: int, width: int, last: nn.Module) -> None:
        super().__init__()
        self.doubled = nn.ConvTranspose3d(below, width, 2, stride=2)
        self.body = nn.Sequential(layer(width + beside, width), layer(width, width), last)

    def forward(self, quarter: Tensor, half: Tensor) -> Tensor:
        """(batch, below, X/4, Y/4, Z/4), (batch, beside, X/2, Y/2, Z/2) -> the latter's extent."""
        return self.body(torch.cat([half, self.doubled(quarter)], dim=1))


def folded(inputs: Mapping[str, Tensor]) -> Tensor:
    """Real part, imaginary part and mask of odd and even slices, (batch, 6, X, Y, Z/2)."""
    image = inputs["image"]
    parts = torch.stack([image.real, image.imag, inputs["mask"].to(image.real.dtype)], dim=1)
    x = padded(parts, 4).unflatten(-1, (-1, SLICES)).movedim(-1, 2).flatten(1, 2)
    return x.contiguous(memory_format=torch.channels_last_3d)


def unfolded(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, 2, X, Y, Z/2), odd and even slices -> (batch, X, Y, Z) of the mask, 0 outside it."""
    X, Y, Z = mask.shape[1:]
    whole = x.movedim(1, -1).flatten(-2)[:, :X, :Y, :Z]
    return whole.float() * mask


def _last(width: int) -> nn.Conv3d:
    """Weights start at 0: maps of little iron would otherwise start far too large."""
    last = nn.Conv3d(width, SLICES, 1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return last
