"""A small U-Net from displacement-encoded images to the displacement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import Number, Whole
from ipads_stream.core.quantity import quantities
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside


class DisplacementNet(nn.Module):
    """A U-Net proposes a displacement, which the phase makes exact and convolutions smooth.

    u = v + r + D(v, r, a), v of a U-Net of three levels, r = angle(P_j exp(-2 pi i k v_j)) / (2 pi
    k) with P_j = S_j S_0^*, the difference to the nearest displacement that has the measured phase,
    a = |P| over its largest value, D convolutions. No unit of the signal and no phase of the
    receiver reaches the network.

    Args:
        outputs: ``displacement`` with its range.
        encoding: k of the system, cycles/m.
        features: of the first level; the next ones have twice and four times as many.

    Source: of the U-Net, Ronneberger et al., MICCAI 2015; the rest is made up here.
    """

    def __init__(self, *, outputs: Mapping[str, Any], encoding: float, features: int = 24) -> None:
        super().__init__()
        n: int = Whole(low=1)("features", features)
        self.quantity = quantities(outputs)["displacement"]
        self.encoding: float = Number(above=0.0)("encoding", encoding)
        self.down = nn.ModuleList([level(4, n), level(n, 2 * n), level(2 * n, 4 * n)])
        self.up = nn.ModuleList([level(6 * n, 2 * n), level(3 * n, n)])
        self.proposal = nn.Conv2d(n, 2, 1)
        self.denoise = nn.Sequential(level(6, n), level(n, n), nn.Conv2d(n, 2, 1))
        nn.init.zeros_(self.denoise[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.denoise[-1].bias)  # type: ignore[arg-type]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``displacement`` and ``proposal`` (B, 2, X, Y), m, of ``images`` (B, 3, X, Y)."""
        images = inputs["images"]
        product = images[:, 1:] * images[:, :1].conj()
        product = product / product.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
        v = self.proposed(torch.cat([product.real, product.imag], dim=1))
        turn = 2 * math.pi * self.encoding * self.quantity.physical(v)
        difference = torch.angle(product * torch.polar(torch.ones_like(turn), -turn))
        r = difference / (2 * math.pi * self.encoding) * (2 / self.width)
        u = v + r + self.denoise(torch.cat([v, r, product.abs()], dim=1))
        return {"displacement": self.quantity.physical(u), "proposal": self.quantity.physical(v)}

    @property
    def width(self) -> float:
        """Of the range, m."""
        return self.quantity.high - self.quantity.low

    def proposed(self, x: Tensor) -> Tensor:
        """The U-Net's proposal over half the range, (B, 2, X, Y)."""
        X, Y = x.shape[-2:]
        x = nn.functional.pad(x, (0, -Y % 4, 0, -X % 4))
        first = self.down[0](x)
        second = self.down[1](nn.functional.avg_pool2d(first, 2))
        x = self.down[2](nn.functional.avg_pool2d(second, 2))
        for block, skip in zip(self.up, (second, first), strict=True):
            x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=2.0)], dim=1))
        return self.proposal(x)[..., :X, :Y]


def level(before: int, after: int) -> nn.Sequential:
    """Two convolutions."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.1),
        nn.Conv2d(after, after, 3, padding=1), nn.LeakyReLU(0.1),
    )  # fmt: skip


class EndPointError(nn.Module):
    """Mean of |u - u*| inside the mask over half the range, of u and of its proposal.

    Where the phase decides u, no gradient reaches the proposal, which has a term of its own.

    Args:
        outputs: as of the network.
    """

    def __init__(self, *, outputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.quantity = quantities(outputs)["displacement"]

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """The terms ``displacement`` and ``proposal``, (B,)."""
        half = 0.5 * (self.quantity.high - self.quantity.low)
        target, mask = sample.targets["displacement"], sample.targets["mask"]
        return {
            name: mean_inside(((predictions[name] - target) / half).norm(dim=1), mask)
            for name in ("displacement", "proposal")
        }
