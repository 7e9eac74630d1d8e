"""Field map to susceptibility: total variation, then small CNNs and dipole steps in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import quantities
from ipads_stream.nets.dipole_iterations import (
    convolved,
    kernels,
    noise_level,
    tikhonov,
    total_variation,
)
from ipads_stream.nets.unrolled import check, check_counts, is_count

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
}


class DipoleUnrolled(nn.Module):
    """x_0 = total variation's map; K times [x, M] <- [x, M] + C_k([x, A_k W (f - D x), M]).

    W is the mask, D the dipole in free space, A_k = F^-1 D / (D^2 + rho_k) F the proximal step in
    closed form: x + A (f - D x) = argmin_y |D y - g|^2 + rho |y - x|^2 with the data g = f inside
    the mask and D x outside it. C_k is a CNN, M are feature maps that it hands on; the first of
    them starts as the noise level of the field, sigma. x_0 goes by conjugate gradients towards the
    minimum of |W (f - D x)|^2 + smoothness |grad x|^2, from there by alternating directions towards
    that of 1/2 |W (f - D x)|^2 + strictness sigma sum |grad x|_1, and what field is left goes once
    more through the first, because total variation flattens the longest waves most. All without
    gradients of the network: masks make the steps alone converge too slowly for a few of them.
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
        memory: feature maps handed from step to step, from 1.
        rho: where the learned rho_k start.
        start: iterations of conjugate gradients, both times.
        smoothness: of what they minimise.
        variation: iterations of total variation; 0: x_0 is Tikhonov's map.
        strictness: weight of total variation over the noise level.
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
        start: int = 3,
        smoothness: float = 0.01,
        variation: int = 24,
        strictness: float = 0.03,
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
        check("memory", memory, is_count(memory, 1), "integers from 1")
        for name, count in (("start", start), ("variation", variation)):
            check(name, count, is_count(count, 0), "integers from 0")
        numbers = {"rho": rho, "smoothness": smoothness, "strictness": strictness}
        for name, value in numbers.items():
            check(name, value, isinstance(value, (int, float)) and value > 0, "numbers above 0")
        dilations = check_counts("dilations", dilations)
        if activation not in ACTIVATIONS:
            raise ConfigError("activation", activation, f"one of {', '.join(ACTIVATIONS)}")
        self.memory, self.scale = memory, scale
        self.start, self.smoothness = start, smoothness
        self.variation, self.strictness = variation, strictness
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
        D, roughness = kernels(field, self.spacing, self.B0_direction)
        with torch.no_grad():
            noise = noise_level(field, mask)
            x = tikhonov(field, mask, D, roughness, self.smoothness, self.start)
            if self.variation:
                x = total_variation(field, mask, x, D, roughness, self.strictness * noise,
                                    self.variation, self.spacing)  # fmt: skip
                missing = (field - convolved(x, D)) * mask
                x = x + tikhonov(missing, mask, D, roughness, self.smoothness, self.start)
        memory = x.new_zeros(len(x), self.memory, *x.shape[1:])
        memory[:, 0] = noise * mask
        state = torch.cat([x[:, None], memory], dim=1)
        for block, rho in zip(self.blocks, self.log_rho.exp(), strict=True):
            x, memory = state[:, 0], state[:, 1:]
            missing = convolved((field - convolved(x, D)) * mask, D / (D**2 + rho)) * mask
            seen = torch.cat([x[:, None], missing[:, None], memory], dim=1)
            seen = seen.contiguous(memory_format=torch.channels_last_3d)
            state = (state + block(seen)) * mask[:, None]
        return {self.name: state[:, 0] * scale}


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
    nn.init.zeros_(last.weight)  # at first, x_0
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
