"""DL-NMR: unrolled dense CNN phases with data consistency for undersampled FIDs."""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ipads_stream.core.errors import ConfigError


def _check(name: str, value: object, valid: bool, allowed: str) -> None:
    if not valid:
        raise ConfigError(name, value, allowed)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _wrap(features: Tensor, width: int) -> Tensor:
    """Continue (batch, channels, points) periodically by `width` points on either side."""
    points = features.shape[-1]
    if width > points:
        return features[..., torch.arange(-width, points + width, device=features.device) % points]
    return torch.cat([features[..., points - width :], features, features[..., :width]], dim=-1)


class DenseBlock(nn.Module):
    """Map features h_0 to a correction with densely connected circular convolutions.

    h_l = [h_(l-1), ReLU(W_l * h_(l-1) + b_l)], correction = W_o h_L + b_o (1 x 1, zero at first).
    Shapes: (batch, channels, points) -> (batch, out_channels, points).
    Source: Qu et al. 2020, Angew. Chem., arXiv 1904.05168.
    """

    def __init__(
        self,
        *,
        channels: int,
        out_channels: int,
        growth: int,
        kernel: int,
        dilations: Sequence[int],
    ) -> None:
        super().__init__()
        widths = [channels + growth * layer for layer in range(len(dilations) + 1)]
        layers = [
            nn.Conv1d(width, growth, kernel, dilation=dilation)
            for width, dilation in zip(widths, dilations, strict=False)
        ]
        self.layers = nn.ModuleList(layers)
        self.reach = [dilation * (kernel // 2) for dilation in dilations]
        self.out = nn.Conv1d(widths[-1], out_channels, 1)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (*layers, self.out):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, channels, points) to (batch, out_channels, points)."""
        for layer, reach in zip(self.layers, self.reach, strict=True):
            grown = functional.relu(layer(_wrap(features, reach)))
            features = torch.cat([features, grown], dim=1)
        return self.out(features)


class DLNMR(nn.Module):
    """Reconstruct the spectrum of an undersampled FID by K unrolled phases.

    (X_k', M_k) = (X_(k-1), M_(k-1)) + D_k([X_(k-1), M_(k-1)]), s_k = F^-1 X_k', X_k = F C(s_k) with
    C(s)_n = (s_n + lambda y_n) / (1 + lambda) at sampled n and s_n elsewhere (lambda = inf: y_n).
    F is the orthonormal Fourier transform, D_k a dense block on real and imaginary parts, M_k real
    feature maps that carry what a phase has found past data consistency to the next, M_0 = 0,
    X_0 = F y. Signals are divided by max |F y| inside, so the output scales with the input.
    Shapes: fid (batch, points) complex, mask (batch, points) bool; one dilation per dense layer.
    Source: Qu et al. 2020, Angew. Chem., arXiv 1904.05168; M_k and the dilations are additions.
    """

    def __init__(
        self,
        *,
        phases: int = 12,
        growth: int = 24,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 3),
        memory: int = 24,
        consistency: float = math.inf,
    ) -> None:
        super().__init__()
        _check("phases", phases, _is_count(phases, 1), "integers from 1")
        _check("growth", growth, _is_count(growth, 1), "integers from 1")
        _check("kernel", kernel, _is_count(kernel, 1) and kernel % 2 == 1, "odd integers from 1")
        dilations = tuple(dilations)
        valid = len(dilations) > 0 and all(_is_count(dilation, 1) for dilation in dilations)
        _check("dilations", dilations, valid, "one or more integers from 1, one per layer")
        _check("memory", memory, _is_count(memory, 0), "integers from 0")
        valid = isinstance(consistency, (int, float)) and consistency > 0
        _check("consistency", consistency, valid, "numbers above 0, math.inf for exact consistency")
        self.weight = 1.0 / (1.0 + 1.0 / consistency)
        self.memory = memory
        self.blocks = nn.ModuleList(
            DenseBlock(
                channels=2 + memory,
                out_channels=2 + memory,
                growth=growth,
                kernel=kernel,
                dilations=dilations,
            )
            for _ in range(phases)
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shifted spectrum (batch, points) and those of all phases.

        inputs: "fid" (batch, points) complex, zero-filled; "mask" (batch, points) bool.
        Returns: "spectrum" (batch, points) and "phases" (phases, batch, points), complex.
        """
        mask = inputs["mask"]
        measured = torch.where(mask, inputs["fid"], 0)
        spectrum = torch.fft.fft(measured, dim=-1, norm="ortho")
        scale = spectrum.abs().amax(dim=-1, keepdim=True)
        divisor = scale.clamp_min(torch.finfo(scale.dtype).tiny)
        measured, spectrum = measured / divisor, spectrum / divisor
        batch, points = spectrum.shape
        memory = scale.new_zeros(batch, self.memory, points)
        estimates = []
        for block in self.blocks:
            parts = rearrange(torch.view_as_real(spectrum), "b points part -> b part points")
            state = torch.cat([parts, memory], dim=1)
            state = state + block(state)
            memory = state[:, 2:]
            parts = rearrange(state[:, :2], "b part points -> b points part")
            signal = torch.fft.ifft(torch.view_as_complex(parts.contiguous()), dim=-1, norm="ortho")
            signal = torch.where(mask, torch.lerp(signal, measured, self.weight), signal)
            spectrum = torch.fft.fft(signal, dim=-1, norm="ortho")
            estimates.append(spectrum)
        # Circular convolutions commute with the frequency shift, so it is applied once, here.
        estimates = torch.fft.fftshift(torch.stack(estimates) * scale, dim=-1)
        return {"spectrum": estimates[-1], "phases": estimates}
