"""The error of the spectrum after every phase of an unrolled network."""

import math

import torch
from torch import Tensor

from ipads_stream.core.fields import POSITIVE, Number
from ipads_stream.core.sample import Sample
from ipads_stream.physics.spectroscopy.spectrum import fid

EPS = 1e-3


class DeepSupervision(torch.nn.Module):
    """Relative error of each phase: ``(w_p / P) sqrt(||X_p - X||^2 / ||X||^2 + eps^2)``, summed.

    Relative, because RLNE is what is reported and amplitudes span a decade; over all P phases, so
    that each learns to remove artefacts by itself (article Eq. 9 and Fig. 4). The small eps = 1e-3
    rounds the tip of the root, where the gradient of a finished sample would not fade.

    Args:
        discount: ``w_p = discount^(P - p)``: weight of earlier phases; 1 weights all equally.
        target: name of the target spectrum.
        dwell: time between points, s; for the errors of single peaks.

    Raises:
        ConfigError: a discount outside (0, 1].
    """

    def __init__(
        self, *, discount: float = 1.0, target: str = "spectrum", dwell: float = 1.0
    ) -> None:
        super().__init__()
        self.discount = Number(above=0.0, high=1.0)("discount", discount)
        self.target, self.dwell = target, POSITIVE("dwell", dwell)

    def forward(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Per-sample terms ``phase_1 .. phase_P``, each (B,), from ``predictions["phases"]``
        (P, B, N) complex."""
        target = sample.targets[self.target]
        phases = predictions["phases"]
        scale = energy(target).clamp_min(torch.finfo(torch.float32).tiny)
        errors = [(energy(phase - target) / scale + EPS**2).sqrt() for phase in phases]
        return {
            f"phase_{p + 1}": self.discount ** (len(errors) - 1 - p) / len(errors) * error
            for p, error in enumerate(errors)
        }

    def errors(self, predictions: dict[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """What adaptive distributions follow: of each draw of a parameter, the error it led to.

        For what is drawn per peak that of the peak, (B, J), else that of the spectrum, (B,).
        """
        estimate, target = predictions["phases"][-1].detach(), sample.targets[self.target]
        peaks = peak_errors(estimate, target, sample, self.dwell)
        scale = energy(target).clamp_min(torch.finfo(torch.float32).tiny)
        whole = (energy(estimate - target) / scale).sqrt()
        return {
            name: peaks if values.shape == peaks.shape else whole
            for name, values in sample.params.items()
        }


def energy(x: Tensor) -> Tensor:
    """Sum of squared magnitudes of each sample, (B, ...) -> (B,)."""
    squares = torch.view_as_real(x).square() if x.is_complex() else x.square()
    return squares.flatten(1).sum(1)


@torch.no_grad()
def peak_errors(estimate: Tensor, target: Tensor, sample: Sample, dwell: float) -> Tensor:
    """Complex error at each true frequency over the peak's own height, (B, J); NaN without a peak.

    |sum_n e_n exp(-2 pi i f n dt)| / (a sum_n exp(-n dt / T)), e the error of the signal, as in
    evaluation/tasks/signals/peak_errors.py. Spectra are centred and orthonormal, (B, N).
    """
    error = fid(estimate - target)
    amplitude, frequency, decay = (
        torch.as_tensor(sample.params[name], dtype=torch.float32, device=error.device)
        for name in ("amplitude", "frequency", "decay")
    )
    time = dwell * torch.arange(error.shape[-1], dtype=torch.float32, device=error.device)
    turns = torch.remainder(frequency[..., None] * time, 1.0)
    wave = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)
    at_peak = torch.einsum("bn,bjn->bj", error.to(wave.dtype), wave).abs()
    height = amplitude * torch.exp(-time / decay[..., None]).sum(-1)
    return torch.where(height > 0, at_peak / height, torch.nan)
