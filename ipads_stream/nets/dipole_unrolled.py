"""Field map to susceptibility: conjugate gradients, then small CNNs and dipole steps in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import quantities
from ipads_stream.nets.unrolled import check, check_counts, is_count
from ipads_stream.physics import dipole

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
}


class DipoleUnrolled(nn.Module):
    """x_0 = Tikhonov's solution; K times [x, M] <- [x, M] + C_k([x, A_k W (f - D x), M]).

    W is the mask, D the dipole in free space, A_k = F^-1 D / (D^2 + rho_k) F the proximal step in
    closed form: x + A (f - D x) = argmin_y |D y - g|^2 + rho |y - x|^2 with the data g = f inside
    the mask and D x outside it. C_k is a CNN, M are feature maps that it hands on. x_0 minimises
    |W (f - D x)|^2 + smoothness |grad x|^2 by conjugate gradients, without gradients of the
    network: masks make the steps alone converge too slowly for a few of them.
    Without biases, as by default, all is homogeneous: the output scales with the input, so strong
    sources are not bent back as long as no activation saturates.
    Shapes: field_ppm, mask and the map (batch, X, Y, Z), of any extent.

    Args:
        outputs: the one quantity, in ppm.
        spacing: from voxel to voxel, m.
        B0_direction: along X, Y and Z.
        steps: K.
        width: feature maps between the convolutions.
        dilations: of the inner convolutions of a step, one each.
        memory: feature maps handed from step to step.
        rho: where the learned rho_k start.
        start: iterations of conjugate gradients.
        smoothness: of x_0.
        bias: whether convolutions have biases.
        activation: "leaky_relu" or "tanh", which saturates.
        scale: divides the field and multiplies the map (nets/field_scale.py); None: none.

    Source: closed-form step: Bilgic et al., MRM 72:1444 (2014); networks without biases: Mohan et
    al., ICLR 2020 (arXiv 1906.05478).
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Any],
        spacing: Sequence[float],
        B0_direction: Sequence[float] = (0, 0, 1),
        steps: int = 3,
        width: int = 16,
        dilations: Sequence[int] = (1,),
        memory: int = 6,
        rho: float = 0.02,
        start: int = 10,
        smoothness: float = 1e-3,
        bias: bool = False,
        activation: str = "leaky_relu",
        scale: nn.Module | None = None,
    ) -> None:
        super().__init__()
        (self.name,) = quantities(outputs)
        self.spacing = tuple(float(d) for d in spacing)
        self.B0_direction = tuple(float(b) for b in B0_direction)
        check("steps", steps, is_count(steps, 1), "integers from 1")
        check("width", width, is_count(width, 1), "integers from 1")
        check("memory", memory, is_count(memory, 0), "integers from 0")
        check("start", start, is_count(start, 0), "integers from 0")
        for name, value in (("rho", rho), ("smoothness", smoothness)):
            check(name, value, isinstance(value, (int, float)) and value > 0, "numbers above 0")
        dilations = check_counts("dilations", dilations)
        if activation not in ACTIVATIONS:
            raise ConfigError("activation", activation, f"one of {', '.join(ACTIVATIONS)}")
        self.memory, self.scale, self.start, self.smoothness = memory, scale, start, smoothness
        self.log_rho = nn.Parameter(torch.full((steps,), math.log(rho)))
        self.blocks = nn.ModuleList(
            _block(2 + memory, 1 + memory, width, dilations, bias, ACTIVATIONS[activation])
            for _ in range(steps)
        )
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The map, 0 outside the mask.

        inputs: "field_ppm" (batch, X, Y, Z), "mask" the same, bool.
        """
        mask = inputs["mask"].to(inputs["field_ppm"].dtype)
        field = inputs["field_ppm"] * mask
        scale = 1.0 if self.scale is None else self.scale(field, mask)
        field = field / scale
        D, roughness = self._kernels(field)
        with torch.no_grad():
            x = tikhonov(field, mask, D, roughness, self.smoothness, self.start)
        state = torch.cat([x[:, None], x.new_zeros(len(x), self.memory, *x.shape[1:])], dim=1)
        for block, rho in zip(self.blocks, self.log_rho.exp(), strict=True):
            x, memory = state[:, 0], state[:, 1:]
            missing = convolved((field - convolved(x, D)) * mask, D / (D**2 + rho)) * mask
            seen = torch.cat([x[:, None], missing[:, None], memory], dim=1)
            seen = seen.contiguous(memory_format=torch.channels_last_3d)
            state = (state + block(seen)) * mask[:, None]
        return {self.name: state[:, 0] * scale}

    def _kernels(self, field: Tensor) -> tuple[Tensor, Tensor]:
        made = _made(tuple(field.shape[-3:]), self.spacing, self.B0_direction)
        D, roughness = (torch.from_numpy(kernel).to(field) for kernel in made)
        return D, roughness


def convolved(x: Tensor, transfer: Tensor) -> Tensor:
    """Maps convolved, without wrapping around, with what a padded transfer function stands for.

    Args:
        x: (batch, X, Y, Z).
        transfer: of the padded grid, half along Z (physics.dipole.free_space_kernel).
    """
    X, Y, Z = x.shape[-3:]
    sizes = dipole.padded((X, Y, Z))
    spectrum = torch.fft.rfft(x, sizes[2], -1)
    spectrum = torch.fft.fft(torch.fft.fft(spectrum, sizes[1], -2), sizes[0], -3) * transfer
    spectrum = torch.fft.ifft(spectrum, dim=-3)[..., :X, :, :]
    spectrum = torch.fft.ifft(spectrum, dim=-2)[..., :Y, :]
    return torch.fft.irfft(spectrum, sizes[2], -1)[..., :Z]


def tikhonov(
    field: Tensor, mask: Tensor, D: Tensor, roughness: Tensor, weight: float, iterations: int
) -> Tensor:
    """argmin |W (f - D x)|^2 + weight |grad x|^2, x = 0 outside the mask.

    By conjugate gradients, preconditioned with the closed form that holds without a mask.

    Args:
        field: 0 outside the mask, (batch, X, Y, Z).
        mask: W, 1 or 0, of the same shape.
        D: dipole on the padded grid.
        roughness: squared gradient on the same grid.
        weight: of the squared gradient.
        iterations: from 0, which gives 0.
    """
    whole = D**2 + weight * roughness
    closed, smooth = 1 / (whole + 0.01 * D.max() ** 2), weight * roughness

    def normal(x: Tensor) -> Tensor:
        implied = convolved(convolved(x, D) * mask, D)
        return (implied + convolved(x, smooth)) * mask

    x, r = torch.zeros_like(field), convolved(field, D) * mask
    p = torch.zeros_like(field)
    before = torch.ones_like(field[:, :1, :1, :1])
    for step in range(iterations):
        z = convolved(r, closed) * mask
        now = _dot(r, z)
        p = z + (now / before if step else 0.0) * p
        q = normal(p)
        share = now / _dot(p, q).clamp_min(torch.finfo(q.dtype).tiny)
        x, r, before = x + share * p, r - share * q, now.clamp_min(torch.finfo(q.dtype).tiny)
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-3, -2, -1), keepdim=True)


@lru_cache(maxsize=8)
def _made(
    shape: tuple[int, ...], spacing: tuple[float, ...], B0_direction: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The dipole, and the squared modulus of forward differences per ``spacing[0]``."""
    D = dipole.free_space_kernel(shape, spacing, B0_direction)
    X, Y, Z = dipole.padded(shape)
    parts = (np.fft.fftfreq(X), np.fft.fftfreq(Y), np.fft.rfftfreq(Z))
    k = np.meshgrid(*parts, indexing="ij", sparse=True)
    squares = [
        (2 * np.sin(np.pi * x) * spacing[0] / d) ** 2 for x, d in zip(k, spacing, strict=True)
    ]
    roughness = squares[0] + squares[1] + squares[2]
    return D.astype(np.float32), roughness.astype(np.float32)


def _block(
    before: int,
    after: int,
    width: int,
    dilations: Sequence[int],
    bias: bool,
    activation: Callable[[], nn.Module],
) -> nn.Sequential:
    sizes = [before, *[width] * (1 + len(dilations))]
    layers: list[nn.Module] = []
    for a, b, d in zip(sizes[:-1], sizes[1:], (1, *dilations), strict=True):
        layers += [nn.Conv3d(a, b, 3, padding=d, dilation=d, bias=bias), activation()]
    last = nn.Conv3d(width, after, 3, padding=1, bias=bias)
    nn.init.zeros_(last.weight)  # at first, Tikhonov's solution
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
