"""Inversions that a dipole network starts from: conjugate gradients and total variation.

A few iterations of the classical methods of evaluation/classical/dipole_inversion.py in torch, with
weights that follow the field and its noise, so that the map scales with the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ipads_stream.physics import dipole

AXES = (-3, -2, -1)
# Of alternating directions, chosen for a dozen or two of them on volumes and brains of no test.
SHRINKAGE = 0.7  # of gradients, as a share of the field's root mean square in the mask
PENALTY = 0.03  # of the difference between a field and what takes its place; the data have 1
RELAXATION = 1.7
LEAST = 1e-4  # of the weight over that root mean square: without noise, too, something must decide
NORMAL_MEDIAN = 0.6745  # of |x| of normal deviates


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


def kernels(
    like: Tensor, spacing: tuple[float, ...], B0_direction: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """The dipole on the padded grid, and the squared modulus of forward differences.

    Args:
        like: a tensor of the volume's shape and of the type and device to make.
        spacing: from voxel to voxel, m; differences are per ``spacing[0]``.
        B0_direction: along X, Y and Z.
    """
    made = _made(tuple(like.shape[-3:]), spacing, B0_direction)
    D, roughness = (torch.from_numpy(kernel).to(like) for kernel in made)
    return D, roughness


@lru_cache(maxsize=8)
def _made(
    shape: tuple[int, ...], spacing: tuple[float, ...], B0_direction: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    D = dipole.free_space_kernel(shape, spacing, B0_direction)
    X, Y, Z = dipole.padded(shape)
    parts = (np.fft.fftfreq(X), np.fft.fftfreq(Y), np.fft.rfftfreq(Z))
    k = np.meshgrid(*parts, indexing="ij", sparse=True)
    squares = [
        (2 * np.sin(np.pi * x) * spacing[0] / d) ** 2 for x, d in zip(k, spacing, strict=True)
    ]
    roughness = squares[0] + squares[1] + squares[2]
    return D.astype(np.float32), roughness.astype(np.float32)


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
    return (a * b).sum(AXES, keepdim=True)


def noise_level(field: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation of the white noise of each field, (batch, 1, 1, 1).

    The median of |third mixed second difference| inside the mask, over what noise of standard
    deviation 1 gives, sqrt(6)^3 * 0.6745: fields are smooth but at edges, which a median forgets.
    Fine structure counts as noise: on the volumes of conf/system/qsmnet.yaml it is 1.2 times too
    much in the median, and 4.5 times in a tenth of them, those with least noise. 0 for a mask too
    thin to have neighbours inside on all sides.

    Args:
        field: (batch, X, Y, Z).
        mask: 1 inside and 0 outside, of the same shape.
    """
    inner = mask > 0
    for axis in AXES:
        field = torch.roll(field, 1, axis) + torch.roll(field, -1, axis) - 2 * field
        inner = inner & torch.roll(inner, 1, axis) & torch.roll(inner, -1, axis)
    found = [
        values[chosen].abs().median() if chosen.any() else values.new_zeros(())
        for values, chosen in zip(field, inner, strict=True)
    ]
    return torch.stack(found)[:, None, None, None] / (6**1.5 * NORMAL_MEDIAN)


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

    Args:
        field: 0 outside the mask, (batch, X, Y, Z).
        mask: W, 1 or 0, of the same shape.
        start: x_0, of the same shape.
        D: dipole on the padded grid.
        roughness: squared gradient on the same grid.
        weight: of total variation, in the field's unit, (batch, 1, 1, 1).
        iterations: from 0, which gives the start.
        spacing: from voxel to voxel.

    Source: as evaluation/classical/dipole_inversion.py's; over-relaxed: Boyd et al., Foundations
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
