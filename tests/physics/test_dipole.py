"""The dipole field against bodies with closed forms, and against a sum over pairs of voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream.physics.fields import dipole

OBLIQUE = (0.3, -0.5, 0.8)


def positions(shape, spacing):
    """Of the voxels about the middle of the volume, m, three arrays that broadcast."""
    axes = ((np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True))
    return np.meshgrid(*axes, indexing="ij", sparse=True)


def filled(inside, shape, spacing, parts=4):
    """Share of each voxel that is inside, from parts^3 points in it."""
    total = np.zeros(shape)
    X = positions(shape, spacing)
    for step in np.ndindex(parts, parts, parts):
        moved = ((i + 0.5) / parts - 0.5 for i in step)
        total += inside(*(x + m * d for x, m, d in zip(X, moved, spacing, strict=True)))
    return total / parts**3


def sphere_field(shape, spacing, b, radius):
    """(a / r)^3 (3 cos^2 - 1) / 3 outside, 0 inside, for chi = 1 ppm; and r."""
    X = positions(shape, spacing)
    r = np.sqrt(sum(x**2 for x in X))
    cosine = sum(x * c for x, c in zip(X, b, strict=True)) / (math.hypot(*b) * r)
    return np.where(r < radius, 0.0, (radius / r) ** 3 * (3 * cosine**2 - 1) / 3), r


def nrmse(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def sphere_errors(shape, spacing, b, radius):
    """NRMSE far from the surface, where voxels are filled in part, and beyond 1.9 radii."""
    source = filled(lambda x, y, z: x**2 + y**2 + z**2 < radius**2, shape, spacing)
    expected, r = sphere_field(shape, spacing, b, radius)
    found = dipole.field(source, spacing, b)
    off, out = abs(r - radius) > 1.5 * max(spacing), r > 1.9 * radius
    return nrmse(found[off], expected[off]), nrmse(found[out], expected[out]), found[r < radius / 2]


# Largest NRMSE away from the surface and outside; ringing is stronger for an oblique field, whose
# D(k) jumps where the grid of wave numbers ends.
@pytest.mark.parametrize(
    ("shape", "spacing", "b", "near", "outside"),
    [
        ((32, 32, 32), (1e-3, 1e-3, 1e-3), (0, 0, 1), 0.008, 0.0013),
        ((31, 32, 33), (1e-3, 1e-3, 1e-3), (0, 2, 0), 0.008, 0.0013),
        ((40, 40, 28), (1e-3, 1e-3, 1.5e-3), (0, 0, 1), 0.010, 0.003),
        ((40, 32, 28), (0.8e-3, 1e-3, 1.2e-3), OBLIQUE, 0.06, 0.02),
    ],
)
def test_a_sphere_in_free_space(shape, spacing, b, near, outside):
    radius = min(n * d for n, d in zip(shape, spacing, strict=True)) / 4
    off, out, inside = sphere_errors(shape, spacing, b, radius)
    assert off < near
    assert out < outside
    assert abs(inside.mean()) < 1e-3  # the sphere of Lorentz


def test_the_error_falls_with_resolution():
    errors = [sphere_errors((n,) * 3, (32e-3 / n,) * 3, OBLIQUE, 8e-3)[1] for n in (16, 24, 36)]
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.75 * errors[1]


def test_copies_of_the_volume_add_nothing():
    """Near the border, where the copies of a volume padded twice would be felt by 3 %."""
    small, large = (16, 16, 16), (48, 48, 48)
    spacing, radius = (1e-3, 1e-3, 1e-3), 7e-3
    source = filled(lambda x, y, z: x**2 + y**2 + z**2 < radius**2, small, spacing)
    alone = dipole.field(source, spacing, OBLIQUE)
    wide = np.zeros(large)
    middle = (slice(16, 32),) * 3
    wide[middle] = source
    assert nrmse(alone, dipole.field(wide, spacing, OBLIQUE)[middle]) < 2e-3
    twice = np.fft.fftn(np.pad(source, (0, 16))) * dipole.kernel((32, 32, 32), spacing, OBLIQUE)
    assert nrmse(np.fft.ifftn(twice).real[:16, :16, :16], alone) > 0.02


@pytest.mark.parametrize("degrees", [0, 35, 54.7356, 90])
def test_the_middle_of_a_finite_cylinder(degrees):
    """1/3 - b.N.b, N_z = 1 - cos(alpha) on the axis, N_x = N_y = (1 - N_z) / 2."""
    angle, a, length = math.radians(degrees), 6.0, 60.0
    shape, spacing = (19, 19, 61), (1.0, 1.0, 1.0)
    source = filled(lambda x, y, z: (x**2 + y**2 < a**2) & (abs(z) < length / 2), shape, spacing)
    b = (math.sin(angle), 0, math.cos(angle))
    found = dipole.field(source, spacing, b)[9, 9, 30]
    N_z = 1 - (length / 2) / math.hypot(length / 2, a)
    expected = 1 / 3 - N_z * b[2] ** 2 - (1 - N_z) / 2 * b[0] ** 2
    assert found == pytest.approx(expected, abs=3e-3)


def test_a_long_cylinder_has_the_field_of_an_infinite_one():
    """Outside chi/2 (a / rho)^2 sin^2 cos(2 phi), inside chi/6 (3 cos^2 - 1)."""
    theta, a, shape, spacing = math.radians(60), 4e-3, (28, 28, 140), (1e-3, 1e-3, 1e-3)
    x, y, _ = positions(shape, spacing)
    source = filled(lambda x, y, z: (x**2 + y**2 < a**2) & (z < 1), (28, 28, 1), spacing)
    found = dipole.field(
        np.tile(source, (1, 1, 140)), spacing, (math.sin(theta), 0, math.cos(theta))
    )[:, :, 70]
    rho2, cos2phi = (x**2 + y**2)[..., 0], ((x**2 - y**2) / (x**2 + y**2))[..., 0]
    outside = a**2 / rho2 / 2 * math.sin(theta) ** 2 * cos2phi
    expected = np.where(rho2 < a**2, (3 * math.cos(theta) ** 2 - 1) / 6, outside)
    off = abs(np.sqrt(rho2) - a) > 1.5e-3
    assert nrmse(found[off], expected[off]) < 0.03


def test_turning_field_and_object_turns_the_result():
    rng = np.random.default_rng(1)
    chi = rng.normal(size=(9, 12, 10))
    spacing, b = np.array([1.0, 1.3, 0.7]), np.array([0.2, -0.4, 0.9])
    order = (2, 0, 1)
    turned = dipole.field(chi.transpose(order), spacing[list(order)], b[list(order)])
    assert np.allclose(turned, dipole.field(chi, spacing, b).transpose(order), atol=1e-12)
    mirrored = dipole.field(chi[::-1], spacing, b * [-1, 1, 1])
    assert np.allclose(mirrored, dipole.field(chi, spacing, b)[::-1], atol=1e-12)


def test_it_is_linear_symmetric_and_keeps_batches():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 3, 8, 9, 10))
    spacing = (1e-3, 2e-3, 1.5e-3)
    fields = dipole.field(x, spacing, OBLIQUE)
    assert fields.shape == x.shape
    assert np.allclose(fields[1], dipole.field(x[1], spacing, OBLIQUE), atol=1e-14)
    assert np.vdot(y, fields) == pytest.approx(np.vdot(dipole.field(y, spacing, OBLIQUE), x))
    both = dipole.field(2 * x - y, spacing, OBLIQUE)
    assert np.allclose(both, 2 * fields - dipole.field(y, spacing, OBLIQUE), atol=1e-13)


def test_torch_gives_the_same_and_the_gradient():
    chi = np.random.default_rng(3).normal(size=(2, 3, 4, 5))
    spacing = (1e-3, 1e-3, 2e-3)
    expected = dipole.field(chi, spacing, OBLIQUE)
    tensor = torch.tensor(chi, requires_grad=True)
    assert np.allclose(dipole.field(tensor, spacing, OBLIQUE).detach(), expected, atol=1e-13)
    single = dipole.field(tensor.detach().float(), spacing, OBLIQUE)
    assert single.dtype == torch.float32
    assert np.allclose(single, expected, atol=1e-5)
    assert dipole.field(chi.astype(np.float32), spacing, OBLIQUE).dtype == np.float32
    assert torch.autograd.gradcheck(
        lambda x: dipole.field(x, spacing, OBLIQUE), tensor, fast_mode=True
    )


class TestKernel:
    def test_it_is_the_formula_and_free_of_a_mean(self):
        spacing, b = (1e-3, 2e-3, 4e-3), np.array([1.0, 2.0, -2.0]) / 3
        found = dipole.kernel((5, 7, 9), spacing, b * 5)
        k = np.array([2 / 5e-3, -3 / 14e-3, 1 / 36e-3])
        expected = 1 / 3 - (k @ b) ** 2 / (k @ k)
        assert found[2, -3, 1] == pytest.approx(expected, abs=1e-14)
        assert found[0, 0, 0] == 0
        assert found.min() >= -2 / 3
        assert found.max() <= 1 / 3

    @pytest.mark.parametrize("shape", [(6, 8, 4), (5, 6, 7)])
    def test_real_sources_have_a_real_field(self, shape):
        chi = np.random.default_rng(4).normal(size=shape)
        D = dipole.kernel(shape, (1, 2, 3), OBLIQUE)
        found = np.fft.ifftn(np.fft.fftn(chi) * D)
        assert np.abs(found.imag).max() < 1e-15
        assert abs(found.mean()) < 1e-16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((4, 4, 4)), (1, 0, 1), (0, 0, 1)), r"spacing=\(1.0, 0.0, 1.0\): three lengths"),
        ((np.zeros((4, 4, 4)), (1, 1), (0, 0, 1)), "three lengths in m above 0"),
        ((np.zeros((4, 4, 4)), (1, 1, 1), (0, 0, 0)), "B0_direction=.*not all 0"),
        ((np.zeros((4, 4, 4)), (1, 1, 1), (0, math.nan, 1)), "three finite numbers"),
    ],
)
def test_senseless_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dipole.field(*arguments)


def test_a_kernel_of_no_volume_is_refused():
    with pytest.raises(ValueError, match="whole numbers from 1"):
        dipole.kernel((4, 0, 4), (1, 1, 1), (0, 0, 1))
