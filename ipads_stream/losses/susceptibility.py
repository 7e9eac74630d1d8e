"""The loss of QSMnet: error of the map, of the field it implies, and of its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside
from ipads_stream.physics import dipole


class Susceptibility(torch.nn.Module):
    """|x - x*| + model |D x - D x*| + gradient |grad x - grad x*|, means inside the mask.

    D is the dipole convolution in free space, padded, so that nothing wraps around (article
    Eq. 10); D x* is the field without noise, which a synthetic sample knows. The gradient is taken
    over the 13 pairs of neighbours, over their distance in voxels. Each sample's terms are divided
    by its scale: a widened range of susceptibilities would else be learned at its upper end alone.

    Args:
        spacing: from voxel to voxel, m.
        B0_direction: along X, Y and Z.
        model, gradient: weights of these terms.
        scale: of a sample: "target", the mean of |x*| inside the mask, or "none", 1 ppm.

    Source: Yoon et al., NeuroImage 179:199 (2018): weights 0.5 and 0.1.
    """

    def __init__(
        self,
        *,
        spacing: Sequence[float],
        B0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        model: float = 0.5,
        gradient: float = 0.1,
        scale: str = "target",
    ) -> None:
        super().__init__()
        self.spacing, self.B0_direction = tuple(spacing), tuple(B0_direction)
        for name, weight in (("model", model), ("gradient", gradient)):
            if isinstance(weight, bool) or not weight >= 0:
                raise ConfigError(name, weight, "a number, 0 or more")
        if scale not in ("target", "none"):
            raise ConfigError("scale", scale, "target or none")
        self.model, self.gradient, self.scale = model, gradient, scale

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Terms ``model``, ``gradient`` and ``chi_ppm``, each (B,)."""
        target, mask = sample.targets["chi_ppm"], sample.targets.get("mask")
        error = predictions["chi_ppm"].float() - target
        size = mean_inside(target.abs(), mask) if self.scale == "target" else 1.0
        size = torch.as_tensor(size).to(error).clamp_min(1e-4)
        terms = {}
        if self.model:
            implied = dipole.field(error, self.spacing, self.B0_direction)
            terms["model"] = self.model * mean_inside(implied.abs(), mask) / size
        if self.gradient:
            terms["gradient"] = self.gradient * slopes(error, mask) / size
        return terms | {"chi_ppm": mean_inside(error.abs(), mask) / size}


def slopes(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over voxels of the sum over the 13 pairs of neighbours of |difference| / distance, (B,).

    Args:
        x: (B, X, Y, Z).
        mask: where both of a pair must lie; None: everywhere.
    """
    inside = torch.ones_like(x) if mask is None else mask.to(x)
    total = torch.zeros_like(x[:, 0, 0, 0])
    for step in _STEPS:
        a, b = _pair(x, step), _pair(inside, step)
        change = ((a[0] - a[1]).abs() * b[0] * b[1]).sum((1, 2, 3))
        total = total + change / math.hypot(*step)
    return total / inside.sum((1, 2, 3)).clamp_min(1)


# One of each two opposite neighbours among the 26.
_STEPS = [
    (i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)
]


def _pair(x: Tensor, step: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Every voxel that has a neighbour a step away, and that neighbour."""
    near = tuple(slice(max(0, -s), x.shape[i + 1] - max(0, s)) for i, s in enumerate(step))
    far = tuple(slice(max(0, s), x.shape[i + 1] - max(0, -s)) for i, s in enumerate(step))
    return x[(slice(None), *near)], x[(slice(None), *far)]
