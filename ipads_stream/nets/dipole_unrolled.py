"""Field map to susceptibility: total variation, then small CNNs and dipole steps in turn.

The inversions that the network starts from are those of baselines/dipole_inversion.py, in torch and
with weights that follow the field and its noise, so that the map scales with the field.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT, COUNTS, POSITIVE, SPACING, Choice, Direction, Whole
from ipads_stream.core.quantity import quantities
from ipads_stream.physics.fields import dipole

AXES = (-3, -2, -1)
# Of alternating directions, chosen for a dozen or two of them on volumes and brains of no test.
SHRINKAGE = 0.7  # of gradients, as a share of the field's root mean square in the mask
PENALTY = 0.03  # of the difference between a field and what takes its place; the data have 1
RELAXATION = 1.7
LEAST = 1e-4  # of the weight over that root mean square: without noise, too, something must decide
NORMAL_MEDIAN = 0.6745  # of |x| of normal deviates
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
}


def convolved(x: Tensor, transfer: Tensor) -> Tensor:
    """Maps (batch, X, Y, Z) convolved, without wrapping around, by a padded transfer function.

    The transfer function is half along Z, as ``physics.fields.dipole.free_space_kernel`` gives it.
    """
    X, Y, Z = x.shape[-3:]
    sizes = dipole.padded((X, Y, Z))
    spectrum = torch.fft.rfft(x, sizes[2], -1)
    spectrum = torch.fft.fft(torch.fft.fft(spectrum, sizes[1], -2), sizes[0], -3) * transfer
    spectrum = torch.fft.ifft(spectrum, dim=-3)[..., :X, :, :]
    spectrum = torch.fft.ifft(spectrum, dim=-2)[..., :Y, :]
    return torch.fft.irfft(spectrum, sizes[2], -1)[..., :Z]


def kernels(
    like: Tensor, spacing: tuple[float, ...], B0_direction: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """The dipole on the padded grid, and the squared modulus of differences per ``spacing[0]``.

    ``like`` has the volume's shape, and the type and device to make.
    """
    D, roughness = _on_host(tuple(like.shape[-3:]), spacing, B0_direction)
    return torch.from_numpy(D).to(like), torch.from_numpy(roughness).to(like)


@lru_cache(maxsize=8)
def _on_host(
    shape: tuple[int, ...], spacing: tuple[float, ...], B0_direction: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    D = dipole.free_space_kernel(shape, spacing, B0_direction)
    X, Y, Z = dipole.padded(shape)
    parts = (np.fft.fftfreq(X), np.fft.fftfreq(Y), np.fft.rfftfreq(Z))
    k = np.meshgrid(*parts, indexing="ij", sparse=True)
    pairs = zip(k, spacing, strict=True)
    x, y, z = ((2 * np.sin(np.pi * k) * spacing[0] / d) ** 2 for k, d in pairs)
    return D.astype(np.float32), (x + y + z).astype(np.float32)


def tikhonov(
    field: Tensor, mask: Tensor, D: Tensor, roughness: Tensor, weight: float, iterations: int
) -> Tensor:
    """argmin |W (f - D x)|^2 + weight |grad x|^2, x = 0 outside the mask.

    By conjugate gradients from 0, preconditioned with the closed form that holds without a mask.
    The field, 0 outside, and the mask W are (batch, X, Y, Z); D and roughness those of `kernels`.
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
    return (a * b).sum(AXES, keepdim=True)


def noise_level(field: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation of the white noise of each field, (batch, 1, 1, 1).

    The median of |third mixed second difference| inside the mask, over what noise of standard
    deviation 1 gives, sqrt(6)^3 * 0.6745: fields are smooth but at edges, which a median forgets.
    Fine structure counts as noise: on the volumes of conf/system/qsmnet.yaml it is 1.2 times too
    much in the median, and 4.5 times in a tenth of them, those with least noise. 0 for a mask too
    thin to have neighbours inside on all sides.
    """
    inner = mask > 0
    for axis in AXES:
        field = torch.roll(field, 1, axis) + torch.roll(field, -1, axis) - 2 * field
        inner = inner & torch.roll(inner, 1, axis) & torch.roll(inner, -1, axis)
    medians = [
        values[chosen].abs().median() if chosen.any() else values.new_zeros(())
        for values, chosen in zip(field, inner, strict=True)
    ]
    return torch.stack(medians)[:, None, None, None] / (6**1.5 * NORMAL_MEDIAN)


def total_variation(
    field: Tensor,
    mask: Tensor,
    start: Tensor,
    D: Tensor,
    roughness: Tensor,
    weight: Tensor,
    iterations: int,
    spacing: Sequence[float],
) -> Tensor:
    """Towards argmin 1/2 |W (f - D x)|^2 + weight sum |grad x|_1, by alternating directions.

    From ``start``, x_0; the weight is in the field's unit, (batch, 1, 1, 1), the others are as in
    :func:`tikhonov`.

    Source: as baselines/dipole_inversion.py's; over-relaxed: Boyd et al., Foundations
    and Trends in Machine Learning 3:1 (2011), 3.4.3.
    """
    X, Y, Z = field.shape[-3:]
    sizes = dipole.padded((X, Y, Z))
    ratios = [spacing[0] / d for d in spacing]

    def padded(x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, sizes[2] - Z, 0, sizes[1] - Y, 0, sizes[0] - X))

    def space(spectrum: Tensor) -> Tensor:
        return torch.fft.irfftn(spectrum, sizes, dim=AXES)

    size = mask.sum(AXES, keepdim=True).clamp_min(1)
    rms = ((field**2).sum(AXES, keepdim=True) / size).sqrt()
    rms = torch.where(rms > 0, rms, 1.0)
    shrinkage = SHRINKAGE * rms
    mu = torch.maximum(weight, LEAST * rms) / shrinkage
    inverse = 1 / (PENALTY * D**2 + mu * roughness + 1e-9)
    W, f, x = padded(mask), padded(field), padded(start)
    u = torch.where(W > 0, f, space(D * torch.fft.rfftn(x, dim=AXES)))
    slopes = [r * (torch.roll(x, -1, a) - x) for a, r in zip(AXES, ratios, strict=True)]
    u_dual, duals = torch.zeros_like(u), [torch.zeros_like(x) for _ in AXES]
    for _ in range(iterations):
        back = torch.zeros_like(x)
        for axis, r, slope, dual in zip(AXES, ratios, slopes, duals, strict=True):
            change = r * (slope - dual)
            back += torch.roll(change, 1, axis) - change
        right = PENALTY * D * torch.fft.rfftn(u - u_dual, dim=AXES)
        spectrum = (right + mu * torch.fft.rfftn(back, dim=AXES)) * inverse
        x, implied = space(spectrum), space(D * spectrum)
        for n, (axis, r) in enumerate(zip(AXES, ratios, strict=True)):
            slope = RELAXATION * r * (torch.roll(x, -1, axis) - x)
            moved = slope + (1 - RELAXATION) * slopes[n] + duals[n]
            duals[n] = torch.minimum(torch.maximum(moved, -shrinkage), shrinkage)
            slopes[n] = moved - duals[n]
        implied = RELAXATION * implied + (1 - RELAXATION) * u
        u = (W * f + PENALTY * (implied + u_dual)) / (W + PENALTY)
        u_dual = u_dual + implied - u
    return x[..., :X, :Y, :Z] * mask


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
        self.spacing = SPACING("spacing", spacing)
        self.B0_direction = Direction()("B0_direction", B0_direction)
        self.memory, self.scale = COUNT("memory", memory), scale
        self.start = Whole(low=0)("start", start)
        self.smoothness = POSITIVE("smoothness", smoothness)
        self.variation = Whole(low=0)("variation", variation)
        self.strictness = POSITIVE("strictness", strictness)
        COUNT("width", width)
        dilations = COUNTS("dilations", dilations)
        Choice(among=tuple(ACTIVATIONS))("activation", activation)
        start_rho = math.log(POSITIVE("rho", rho))
        self.log_rho = nn.Parameter(torch.full((COUNT("steps", steps),), start_rho))

        def block() -> nn.Sequential:
            layers, before = [], 2 + memory
            for d in (1, *dilations):
                layer = nn.Conv3d(before, width, 3, padding=d, dilation=d, bias=bias)
                layers += [layer, ACTIVATIONS[activation]()]
                before = width
            last = nn.Conv3d(width, 1 + memory, 3, padding=1, bias=bias)
            for parameter in last.parameters():  # at first, x_0
                nn.init.zeros_(parameter)
            return nn.Sequential(*layers, last)

        self.blocks = nn.ModuleList(block() for _ in range(steps))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The map of the input "field_ppm", 0 outside the bool "mask"."""
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
