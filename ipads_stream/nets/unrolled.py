"""What unrolled reconstruction networks share: their arguments, scale and data consistency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ipads_stream.core.errors import ConfigError


def check(name: str, value: object, valid: bool, allowed: str) -> None:
    """Refuse a value of a network's argument, by name."""
    if not valid:
        raise ConfigError(name, value, allowed)


def is_count(value: object, least: int) -> bool:
    """Whether a value is a whole number from `least` up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_counts(name: str, values: object) -> tuple[int, ...]:
    """One or more whole numbers from 1, as a tuple; refused otherwise."""
    counts = tuple(values) if isinstance(values, Sequence) else ()
    valid = len(counts) > 0 and all(is_count(count, 1) for count in counts)
    check(name, values, valid, "a list of one or more integers from 1")
    return counts


def consistency_weight(consistency: object) -> float:
    """lambda / (1 + lambda): how far a sampled point moves to what was measured."""
    is_number = isinstance(consistency, (int, float)) and not isinstance(consistency, bool)
    valid = is_number and consistency > 0  # type: ignore[operator]
    check("consistency", consistency, valid, "numbers above 0, math.inf for exact consistency")
    return 1.0 / (1.0 + 1.0 / float(consistency))  # type: ignore[arg-type]


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
    def of(inputs: dict[str, Tensor], weight: float) -> Measured:
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
        left = torch.where(self.mask, signal - self.fid, 0).abs().square().sum(dim=-1)
        total = self.fid.abs().square().sum(dim=-1)
        return 0.5 * (left / total.clamp_min(torch.finfo(total.dtype).tiny) + 1e-10).log()

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
