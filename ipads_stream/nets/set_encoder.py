"""An encoder of a set: the same for its members in any order and number."""

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT


class SetEncoder(nn.Module):
    """mean_i f(x_i) and max_i f(x_i) over the members that are there, f = a(W_2 a(W_1 x)).

    Members that are not there are not computed: a batch is packed into one list.

    Args:
        tokens: numbers of a member.
        width: of the layers; the result has twice as many numbers.

    Source: Zaheer et al., Deep sets, Advances in Neural Information Processing Systems 30, 2017.
    """

    def __init__(self, *, tokens: int, width: int = 64) -> None:
        super().__init__()
        self.size = 2 * COUNT("width", width)
        self.layers = nn.Sequential(
            nn.Linear(COUNT("tokens", tokens), width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """(B, 2 width), of ``tokens`` (B, N, K) and ``mask`` (B, N), of at least one each."""
        mask = inputs["mask"]
        members = self.layers(inputs["tokens"][mask])
        lengths = mask.sum(1)
        pooled = [torch.segment_reduce(members, kind, lengths=lengths) for kind in ("mean", "max")]
        return torch.cat(pooled, dim=1)
