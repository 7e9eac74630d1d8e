"""The error of estimated quantities, each on its own scale."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Choice, Number
from ipads_stream.core.quantity import quantities
from ipads_stream.core.sample import Sample

POWERS = {"l1": 1, "l2": 2}


class QuantityError(torch.nn.Module):
    """Mean over the map of |z - z*|^p, z the normalised quantity (core/quantity.py), per quantity.

    Predictions and targets are SI; a target "mask" says where a map counts.

    Args:
        outputs: name -> range, unit and scale of the quantity; those of the network.
        norm: "l1" or "l2": p = 1 or 2.
        weights: name -> factor of the term; 1 where it is not named.

    Raises:
        ConfigError: another norm, a weight of no quantity or below 0.
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        norm: str = "l2",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.power = POWERS[Choice(among=tuple(POWERS))("norm", norm)]
        self.quantities, self.weights = quantities(outputs), dict(weights or {})
        for name, weight in self.weights.items():
            if name not in self.quantities:
                raise ConfigError(f"weights.{name}", weight, f"one of {list(self.quantities)}")
            Number(low=0.0)(f"weights.{name}", weight)

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Terms by name of the quantity, each (B,)."""
        mask = sample.targets.get("mask")
        terms = {}
        for name, quantity in self.quantities.items():
            target = quantity.normalized(sample.targets[name])
            if mask is not None:  # before the power: the logarithm of nothing has no gradient
                target = torch.where(mask, target, 0)
            error = (quantity.normalized(predictions[name]) - target).abs().pow(self.power)
            terms[name] = self.weights.get(name, 1.0) * mean_inside(error, mask)
        return terms


def mean_inside(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of each sample's values (B, ...) where the mask is True, (B,); 0 where it is empty."""
    values = values.flatten(1) if values.ndim > 1 else values[:, None]
    if mask is None:
        return values.mean(1)
    inside = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
    return torch.where(inside, values, 0).sum(1) / inside.sum(1).clamp_min(1)
