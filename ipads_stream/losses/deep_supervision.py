"""The error of the spectrum after every phase of an unrolled network."""

from __future__ import annotations

import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample


class DeepSupervision(torch.nn.Module):
    """Relative error of each phase: ``w_p ||X_p - X|| / ||X||``, summed over phases p.

    Relative, because RLNE is what is reported and amplitudes span a decade; over all phases, so
    that each learns to remove artefacts by itself (article Eq. 9 and Fig. 4).

    Args:
        discount: ``w_p = discount^(P - p)``: weight of earlier phases; 1 weighs all alike.
        target: name of the target spectrum.

    Raises:
        ConfigError: a discount outside (0, 1].
    """

    def __init__(self, *, discount: float = 1.0, target: str = "spectrum") -> None:
        super().__init__()
        if isinstance(discount, bool) or not 0 < discount <= 1:
            raise ConfigError("discount", discount, "above 0, at most 1")
        self.discount, self.target = discount, target

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Per-sample terms ``phase_1 .. phase_P``, each (B,), from ``predictions["phases"]``
        (P, B, N) complex."""
        target = sample.targets[self.target]
        scale = norm(target).clamp_min(torch.finfo(torch.float32).tiny)
        phases = predictions["phases"]
        return {
            f"phase_{p + 1}": self.discount ** (len(phases) - 1 - p) * norm(phase - target) / scale
            for p, phase in enumerate(phases)
        }


def norm(x: Tensor) -> Tensor:
    """l2 norm of each sample, (B, ...) -> (B,), with a finite gradient at zero."""
    squares = torch.view_as_real(x).square() if x.is_complex() else x.square()
    return (squares.flatten(1).sum(1) + 1e-20).sqrt()
