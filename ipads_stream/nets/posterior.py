"""A network whose answer is a distribution of the quantities."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT
from ipads_stream.core.quantity import physical, quantities

# The logarithms of the roots' diagonals stay within MIDDLE +- WIDEST.
MIDDLE, WIDEST = -2.0, 5.0


class GaussianPosterior(nn.Module):
    """A normal distribution of the scores z of all quantities together, mean m and root L L^T.

    z = Phi^-1((x + 1) / 2), x the normalised quantity (core/quantity.py): the ends of the range lie
    at infinity, so that no probability is beyond them; where a quantity is drawn evenly on its
    scale, z is standard normal. The estimate is the mean on that scale,
    E[x] = 2 Phi(m / sqrt(1 + |L_i|^2)) - 1.

    Args:
        encoder: inputs -> (B, encoder.size).
        outputs: name -> low, high, unit, scale, bids of a quantity.
        width: of the layer between.

    Source: Papamakarios and Murray, Advances in Neural Information Processing Systems 29, 2016.
    """

    def __init__(self, *, encoder: nn.Module, outputs: Mapping[str, Any], width: int = 128) -> None:
        super().__init__()
        self.encoder, self.quantities = encoder, quantities(outputs)
        num = len(self.quantities)
        self.register_buffer("rows", torch.tril_indices(num, num), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(int(encoder.size), COUNT("width", width)),  # type: ignore[arg-type]
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, num + num * (num + 1) // 2),
        )

    rows: Tensor

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Quantities in SI, each (B,); ``posterior_mean`` m (B, P), ``posterior_root`` L (B, P, P)
        of their scores, in the order of the outputs."""
        answer = self.layers(self.encoder(inputs)).float()
        num = len(self.quantities)
        mean = answer[:, :num]
        root = answer.new_zeros(len(answer), num, num)
        root[:, self.rows[0], self.rows[1]] = answer[:, num:]
        size = torch.exp(MIDDLE + WIDEST * torch.tanh(root.diagonal(dim1=1, dim2=2) / WIDEST))
        # A row off the diagonal is in units of its own size: correlations are learned as such.
        root = size[:, :, None] * torch.tril(root, -1) + torch.diag_embed(size)
        share = torch.special.ndtr(mean / torch.sqrt(1 + root.square().sum(2)))
        values = physical(self.quantities, 2 * share - 1)
        return {**values, "posterior_mean": mean, "posterior_root": root}
