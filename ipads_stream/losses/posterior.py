"""The likelihood of the truth under the posterior that a network answers with."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ipads_stream.core.quantity import quantities
from ipads_stream.core.sample import Sample

EDGE = 1e-6  # share of a range by which a truth is kept from its ends, whose scores are infinite


class PosteriorLikelihood(torch.nn.Module):
    """-log N(z*; m, L L^T) = |L^-1 (z* - m)|^2 / 2 + sum log L_ii + P log(2 pi) / 2.

    Args:
        outputs: name -> range, unit and scale of the quantity; those of the network
            (nets/posterior.py, which says what the scores z are).
    """

    def __init__(self, *, outputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.quantities = quantities(outputs)

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """The term ``posterior``, (B,)."""
        values = [x.normalized(sample.targets[name]) for name, x in self.quantities.items()]
        share = (0.5 * (torch.stack(values, 1) + 1)).clamp(EDGE, 1 - EDGE)
        away = (torch.special.ndtri(share) - predictions["posterior_mean"])[..., None]
        root = predictions["posterior_root"]
        scaled = torch.linalg.solve_triangular(root, away, upper=False)[..., 0]
        size = root.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = 0.5 * len(values) * math.log(2 * math.pi)
        return {"posterior": 0.5 * scaled.square().sum(1) + size + constant}
