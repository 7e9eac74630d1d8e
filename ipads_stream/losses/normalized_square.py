"""The squared error of maps, over their own size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ipads_stream.core.quantity import quantities
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside

FLOOR = 2e-3  # least root mean square of a map that counts, over the quantity's range


class NormalizedSquare(torch.nn.Module):
    """mean (x - x*)^2 / mean x*^2 inside the mask, per sample and quantity.

    Samples of little and of much count alike; one whose map is next to 0 counts as if its root mean
    square were 1/500 of the range.

    Args:
        outputs: name -> range, unit and scale of the quantity; those of the network.

    Source: ISMRM 2019, abstract 4887: per-sample-normalised masked mean squared error.
    """

    def __init__(self, *, outputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.quantities = quantities(outputs)

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Terms by name of the quantity, each (B,)."""
        mask = sample.targets.get("mask")
        terms = {}
        for name, quantity in self.quantities.items():
            target = sample.targets[name]
            least = (FLOOR * (quantity.high - quantity.low)) ** 2
            size = mean_inside(target**2, mask).clamp_min(least)
            terms[name] = mean_inside((predictions[name].float() - target) ** 2, mask) / size
        return terms
