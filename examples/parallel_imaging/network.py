"""An unrolled reconstruction: steps towards the data, each followed by a small network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import Whole
from ipads_stream.core.sample import Sample
from parallel_imaging.encoding import adjoint, encode


class UnrolledImages(nn.Module):
    """x <- x - t_k A^H (A x - y), then x <- x + N_k(x), from x = A^H y, K times.

    N_k are three convolutions of the real and imaginary part. k-space is divided by the largest
    magnitude of A^H y, so that the unit of the measurement does not matter.

    Args:
        iterations: K.
        features: of the hidden layers.

    Source: Hammernik et al., MRM 79:3055 (2018); Aggarwal et al., IEEE TMI 38:394 (2019).
    """

    def __init__(self, *, iterations: int = 5, features: int = 32) -> None:
        super().__init__()
        Whole(low=1)("iterations", iterations)
        Whole(low=1)("features", features)
        self.step = nn.Parameter(torch.ones(iterations))
        self.networks = nn.ModuleList(self._network(features) for _ in range(iterations))

    @staticmethod
    def _network(features: int) -> nn.Sequential:
        last = nn.Conv2d(features, 2, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        return nn.Sequential(
            nn.Conv2d(2, features, 3, padding=1), nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), last,
        )  # fmt: skip

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``image`` (B, X, Y) of ``kspace``, ``sensitivities`` (B, C, X, Y), ``mask`` (B, X, Y)."""
        sensitivities, mask = inputs["sensitivities"], inputs["mask"]
        start = adjoint(inputs["kspace"], sensitivities, mask)
        scale = start.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
        start = x = start / scale
        for step, network in zip(self.step, self.networks, strict=True):
            x = x - step * (adjoint(encode(x, sensitivities, mask), sensitivities, mask) - start)
            parts = network(torch.view_as_real(x).permute(0, 3, 1, 2))
            x = x + torch.view_as_complex(parts.permute(0, 2, 3, 1).contiguous())
        return {"image": x * scale}


class RelativeSquare(nn.Module):
    """|x - x*|^2 / |x*|^2 of complex images, each sample by itself."""

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Any]:
        """The term ``image``, (B,)."""
        target = sample.targets["image"]
        error = (predictions["image"] - target).abs().square().sum(dim=(1, 2))
        return {"image": error / target.abs().square().sum(dim=(1, 2)).clamp_min(1e-30)}
