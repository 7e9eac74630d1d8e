"""The scale by which a network divides a field and multiplies the susceptibility it finds."""

import torch
from torch import Tensor, nn


class RootMeanSquare(nn.Module):
    """The root mean square of the field inside the mask; 1 for a field of 0.

    A network between this division and multiplication is homogeneous where all sources of a volume
    grow alike, not where one of them grows among others.
    """

    def forward(self, field: Tensor, mask: Tensor) -> Tensor:
        """Of each sample, (batch, 1, 1, 1).

        Args:
            field: 0 outside the mask, (batch, X, Y, Z).
            mask: 1 inside and 0 outside, of the same shape.
        """
        axes = (-3, -2, -1)
        squared = (field**2).sum(axes, keepdim=True) / mask.sum(axes, keepdim=True).clamp_min(1)
        return torch.where(squared > 0, squared, 1.0).sqrt()


class Fixed(nn.Module):
    """One number for all samples, as z-scores of a training set have it.

    Args:
        value: ppm, above 0.
    """

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = float(value)

    def forward(self, field: Tensor, mask: Tensor) -> Tensor:
        """As of RootMeanSquare."""
        return field.new_full((len(field), 1, 1, 1), self.value)
