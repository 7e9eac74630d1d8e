"""What unrolled reconstruction networks share: their arguments, scale and data consistency."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ipads_stream.core.fields import Number


def consistency_weight(consistency: Any) -> float:
    """lambda / (1 + lambda): how far a sampled point moves to what was measured; inf: all of it."""
    value = float(Number(above=0.0, infinite=True)("consistency", consistency))
    return 1.0 / (1.0 + 1.0 / value)


@dataclass(frozen=True)
class Measured:
    """The sampled points of a batch, divided by ``scale = max |F y|`` of each signal.

    Attributes:
        fid: y / scale, zero where not sampled, (batch, points) complex.
        mask: True where sampled, (batch, points) bool.
        scale: (batch, 1); 0 for a signal that is zero.
        weight: lambda / (1 + lambda) of data consistency.
    """

    fid: Tensor
    mask: Tensor
    scale: Tensor
    weight: float

    @staticmethod
    def of(inputs: dict[str, Tensor], weight: float) -> "Measured":
        """Bring "fid" and "mask" of a batch to one scale, so that the network is homogeneous."""
        mask = inputs["mask"]
        fid = torch.where(mask, inputs["fid"], 0)
        scale = to_spectrum(fid).abs().amax(dim=-1, keepdim=True)
        return Measured(fid / scale.clamp_min(torch.finfo(scale.dtype).tiny), mask, scale, weight)

    def consistent(self, signal: Tensor) -> Tensor:
        """C(s)_n = (s_n + lambda y_n) / (1 + lambda) at sampled n, s_n elsewhere."""
        return torch.where(self.mask, torch.lerp(signal, self.fid, self.weight), signal)

    def log_residual(self, signal: Tensor) -> Tensor:
        """ln of ||s - y|| / ||y|| over the sampled points, not below -11.5, (batch,)."""
        residual = torch.where(self.mask, signal - self.fid, 0).abs().square().sum(dim=-1)
        total = self.fid.abs().square().sum(dim=-1)
        return 0.5 * (residual / total.clamp_min(torch.finfo(total.dtype).tiny) + 1e-10).log()

    def predictions(self, spectra: list[Tensor]) -> dict[str, Tensor]:
        """Spectra of all phases in the inputs' unit, zero frequency in the middle.

        Circular convolutions commute with the frequency shift, so it is applied once, here.
        """
        phases = torch.fft.fftshift(torch.stack(spectra) * self.scale, dim=-1)
        return {"spectrum": phases[-1], "phases": phases}


def to_spectrum(signal: Tensor) -> Tensor:
    """Orthonormal Fourier transform, zero frequency first."""
    return torch.fft.fft(signal, dim=-1, norm="ortho")


def to_signal(spectrum: Tensor) -> Tensor:
    """Inverse of :func:`to_spectrum`."""
    return torch.fft.ifft(spectrum, dim=-1, norm="ortho")


def to_channels(spectrum: Tensor) -> Tensor:
    """Real and imaginary part as channels: (batch, points) -> (batch, 2, points)."""
    return rearrange(torch.view_as_real(spectrum), "b points part -> b part points")


def from_channels(parts: Tensor) -> Tensor:
    """Inverse of :func:`to_channels`."""
    return torch.view_as_complex(rearrange(parts, "b part points -> b points part").contiguous())
