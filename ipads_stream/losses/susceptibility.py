"""The loss of QSMnet: error of the map, of the field it implies, and of its gradient."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ipads_stream.core.fields import SPACING, Choice, Direction, Number
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside
from ipads_stream.physics.fields import dipole


class Susceptibility(torch.nn.Module):
    """|x - x*| + model |D x - D x*| + gradient |grad x - grad x*|, means inside the mask.

    D is the dipole convolution in free space, padded, so that nothing wraps around (article
    Eq. 10); D x* is the field without noise, which a synthetic sample knows. The gradient is taken
    over the 13 pairs of neighbours, over their distance in voxels. Each sample's terms are divided
    by its scale; a widened range of susceptibilities would otherwise be learned at its upper end.

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
        self.spacing = SPACING("spacing", spacing)
        self.B0_direction = Direction()("B0_direction", B0_direction)
        self.model = Number(low=0.0)("model", model)
        self.gradient = Number(low=0.0)("gradient", gradient)
        self.scale = Choice(among=("target", "none"))("scale", scale)

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


# One of each two opposite neighbours among the 26.
_STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def slopes(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over voxels of the sum over the 13 pairs of neighbours of |difference| / distance, (B,),
    of x (B, X, Y, Z); both of a pair must lie in the mask."""
    inside = torch.ones_like(x) if mask is None else mask.to(x)
    total = torch.zeros_like(x[:, 0, 0, 0])
    for step in _STEPS:
        # Every voxel that has a neighbour a step away, and that neighbour.
        pairs = list(zip(step, x.shape[1:], strict=True))
        near = (slice(None), *(slice(max(0, -s), n - max(0, s)) for s, n in pairs))
        far = (slice(None), *(slice(max(0, s), n - max(0, -s)) for s, n in pairs))
        change = ((x[near] - x[far]).abs() * inside[near] * inside[far]).sum((1, 2, 3))
        total = total + change / math.hypot(*step)
    return total / inside.sum((1, 2, 3)).clamp_min(1)
