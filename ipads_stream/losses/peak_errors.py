"""Errors of single peaks, which tell adaptive distributions where a network fails."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ipads_stream.core.sample import Sample


@torch.no_grad()
def peak_errors(estimate: Tensor, target: Tensor, sample: Sample, dwell: float) -> Tensor:
    """Complex error at each true frequency over the peak's own height, (B, J); NaN without a peak.

    |sum_n e_n exp(-2 pi i f n dt)| / (a sum_n exp(-n dt / T)), e the error of the signal: what
    evaluation/peak_errors.py reports, on the device.

    Args:
        estimate, target: centred orthonormal spectra, (B, N).
        sample: with the parameters amplitude, frequency (Hz) and decay (s), (B, J).
        dwell: dt, s.
    """
    error = torch.fft.ifft(torch.fft.ifftshift(estimate - target, dim=-1), norm="ortho")
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
