"""Coils: loops against closed forms, estimates against the sensitivities that made the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from coil_images import low_resolution
from scipy.special import ellipe, ellipk

from ipads_stream.acquisition.coils import (
    espirit,
    loop_field,
    loop_sensitivities,
    ring,
)

MU0 = 4e-7 * math.pi


def test_the_field_on_the_axis_of_a_loop():
    """mu0 R^2 / (2 (R^2 + z^2)^(3/2))."""
    R, z = 0.07, np.linspace(-0.2, 0.2, 9)
    for normal, axis in (((0, 0, 2.0), 2), ((0, 1.0, 0), 1), ((1.0, 0, 0), 0)):
        place = np.zeros((9, 3))
        place[:, axis] = z
        field = loop_field(place, np.zeros((1, 3)), np.array([normal]), R)[0]
        exact = MU0 * R**2 / (2 * (R**2 + z**2) ** 1.5)
        assert field[:, axis] == pytest.approx(exact, rel=2e-3)
        assert np.abs(np.delete(field, axis, axis=1)).max() < 1e-6 * exact.max()


def test_the_field_off_the_axis_is_that_of_elliptic_integrals():
    """Jackson, Classical Electrodynamics, section 5.5, in cylinder coordinates."""
    R, rho, z = 0.05, np.array([0.01, 0.03, 0.08]), 0.02
    place = np.stack([rho, 0 * rho, 0 * rho + z], axis=-1)
    field = loop_field(place, np.zeros((1, 3)), np.array([[0, 0, 1.0]]), R, segments=256)[0]
    far, near = (R + rho) ** 2 + z**2, (R - rho) ** 2 + z**2
    m = 4 * R * rho / far
    K, E = ellipk(m), ellipe(m)
    along = MU0 / (2 * math.pi * np.sqrt(far)) * (K + (R**2 - rho**2 - z**2) / near * E)
    out = MU0 * z / (2 * math.pi * rho * np.sqrt(far)) * (-K + (R**2 + rho**2 + z**2) / near * E)
    assert field[:, 2] == pytest.approx(along, rel=2e-3)
    assert field[:, 0] == pytest.approx(out, rel=2e-3)
    assert np.abs(field[:, 1]).max() < 1e-9


def test_sensitivities_are_the_transverse_field_conjugate():
    centre, normal = ring(6, 0.15)
    place = np.random.default_rng(0).uniform(-0.08, 0.08, (4, 5, 3))
    field = loop_field(place, centre, normal, 0.06)
    s = loop_sensitivities(place, centre, normal, 0.06)
    assert s.shape == (6, 4, 5)
    assert s.dtype == np.complex128
    assert s == pytest.approx(field[..., 0] - 1j * field[..., 1])
    single = loop_sensitivities(place.astype(np.float32), centre, normal, 0.06)
    assert single.dtype == np.complex64
    assert np.abs(single - s).max() < 1e-5 * np.abs(s).max()


def test_coils_of_a_ring_are_alike_after_a_turn():
    """The coil a sixth of a turn on, at a place as much on, has the phase turned by -60 degrees."""
    centre, normal = ring(6, 0.15, height=0.01)
    place = np.array([[0.05, 0.01, 0.02]])
    c, s = math.cos(math.pi / 3), math.sin(math.pi / 3)
    turned = place @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    here = loop_sensitivities(place, centre[:1], normal[:1], 0.06)
    there = loop_sensitivities(turned, centre[1:2], normal[1:2], 0.06)
    assert there == pytest.approx(here * np.exp(-1j * math.pi / 3), rel=1e-9)
    nearest = np.abs(loop_sensitivities(np.array([[0.1, 0, 0]]), centre, normal, 0.06))[:, 0]
    assert nearest.argmax() == 0


def test_torch_differentiates_sensitivities():
    import torch

    place = torch.tensor([[0.02, 0.01, 0.0]], dtype=torch.float64, requires_grad=True)
    centre, normal = ring(2, 0.1)
    s = loop_sensitivities(place, centre, normal, 0.05)
    slope = torch.autograd.grad(s.abs().sum(), place)[0].numpy()
    step, numeric = 1e-6, []
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            at = place.detach().numpy().copy()
            at[0, axis] += sign * step
            ends.append(np.abs(loop_sensitivities(at, centre, normal, 0.05)).sum())
        numeric.append((ends[0] - ends[1]) / (2 * step))
    assert slope[0] == pytest.approx(numeric, rel=1e-5, abs=1e-12)


def _multicoil(coils=5, shape=(48, 40), noise=0.0):
    """An object, smooth sensitivities of unit root sum of squares, and their k-space."""
    centre, normal = ring(coils, 0.16)
    x, y = (np.linspace(-0.1, 0.1, n) for n in shape)
    place = np.stack([*np.meshgrid(x, y, indexing="ij"), np.zeros(shape)], axis=-1)
    s = loop_sensitivities(place, centre, normal, 0.07)
    s /= np.sqrt((np.abs(s) ** 2).sum(axis=0))
    s *= np.exp(-1j * np.angle(s[:1]))
    inside = (place[..., 0] / 0.085) ** 2 + (place[..., 1] / 0.08) ** 2 < 1
    image = inside * (1 + 0.3 * np.sin(90 * place[..., 0]) * np.cos(70 * place[..., 1]))
    shifted = np.fft.ifftshift(s * image, axes=(1, 2))
    k = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(1, 2))
    rng = np.random.default_rng(0)
    k = k + noise * (rng.normal(size=k.shape) + 1j * rng.normal(size=k.shape))
    core = (place[..., 0] / 0.075) ** 2 + (place[..., 1] / 0.07) ** 2 < 1
    return k.astype(np.complex64), s, inside, core


@pytest.mark.parametrize("noise", [0.0, 1e-2])
def test_espirit_finds_the_sensitivities(noise):
    k, s, inside, core = _multicoil(noise=noise)
    found = espirit(k, calibration=20)
    assert np.abs(found - s)[:, core].max() < 0.06
    assert np.sqrt((np.abs(found - s) ** 2).sum(axis=0))[core].mean() < 0.015
    assert (np.abs(found) ** 2).sum(axis=0)[core] == pytest.approx(1, abs=1e-5)
    outside = np.ones_like(inside)
    outside[4:-4, 4:-4] = False
    corner = np.zeros_like(inside)
    corner[:4, :4] = True
    assert np.abs(found[:, corner]).max() == 0


def test_low_resolution_sensitivities():
    k, s, _, core = _multicoil()
    found = low_resolution(k, 20)
    assert np.sqrt((np.abs(found - s) ** 2).sum(axis=0))[core].mean() < 0.06
    assert np.abs(found[0].imag).max() < 1e-6


def test_refusals():
    k = np.ones((2, 16, 16), np.complex64)
    with pytest.raises(ValueError, match="2 kernel <= calibration <= 16"):
        espirit(k, calibration=24)
    k[:, 8, 8] = 0
    with pytest.raises(ValueError, match="without gaps"):
        espirit(k, calibration=12)
    one = np.zeros((1, 3))
    with pytest.raises(ValueError, match="segments=2"):
        loop_field(one, one, one + 1, 0.1, segments=2)
    with pytest.raises(ValueError, match="radius"):
        loop_field(one, one, one + 1, -0.1)
    with pytest.raises(ValueError, match="normal"):
        loop_field(one, one, one, 0.1)
    with pytest.raises(ValueError, match="coils=0"):
        ring(0, 0.1)


def test_measured_kspace(data_folder):
    """The two estimates of a real eight-channel measurement agree within its object."""
    k = np.load(data_folder / "multicoil" / "brain_8ch_cartesian_ksp.npy")
    s = espirit(k, calibration=24)
    other = low_resolution(k, 24)
    on = np.abs(s).sum(axis=0) > 0
    assert 0.3 < on.mean() < 0.9
    assert (np.abs(s) ** 2).sum(axis=0)[on] == pytest.approx(1, abs=1e-5)
    # A measured phase of the first coil near 0 signal is noise: compare up to it.
    overlap = np.abs((s.conj() * other).sum(axis=0))[on]
    assert np.median(overlap) > 0.99
    assert np.percentile(overlap, 5) > 0.9
