"""From echoes to the local field: against fields whose sources are known."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.acquisition.background_removal import local_field
from ipads_stream.acquisition.phase_unwrapping import off_resonance, phase_from_numbers, unwrapped
from ipads_stream.physics.fields import dipole

SPACING = (1e-3, 1e-3, 1.5e-3)


def scene():
    """An object with sources of its own, and stronger ones outside it; ppm."""
    shape = (44, 44, 30)
    axes = [(np.arange(n) - n // 2) * d for n, d in zip(shape, SPACING, strict=True)]
    X, Y, Z = np.meshgrid(*axes, indexing="ij", sparse=True)
    mask = X**2 + Y**2 + Z**2 < 17e-3**2
    inner = np.zeros(shape)
    for x, y, z, r, chi in ((-4, 3, 2, 3, 0.2), (5, -4, -3, 2.5, -0.3), (2, 6, -5, 2, 0.4)):
        inner[(X - x * 1e-3) ** 2 + (Y - y * 1e-3) ** 2 + (Z - z * 1e-3) ** 2 < (r * 1e-3) ** 2] = (
            chi
        )
    outer = np.where((X > 18e-3) & (abs(Y) < 8e-3), 9.0, 0.0)  # air beside it
    outer = outer + np.where((Z < -19.5e-3) & (X + 0 * Y < 0), -5.0, 0.0)
    local, background = (dipole.field(chi, SPACING, (0, 0, 1)) for chi in (inner, outer))
    return mask, local, background


def nrmse(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


class TestLocalField:
    def test_fields_from_outside_are_removed_and_those_from_inside_stay(self):
        mask, local, background = scene()
        assert np.std(background[mask]) > 5 * np.std(local[mask])
        found, known = local_field(local + background, mask, SPACING)
        assert known.sum() > 0.6 * mask.sum()
        assert not known[~mask].any()
        assert nrmse(found[known], local[known]) < 0.2
        only, _ = local_field(background, mask, SPACING)
        assert np.linalg.norm(only[known]) < 0.02 * np.linalg.norm(background[known])

    def test_a_harmonic_polynomial_vanishes(self):
        mask, _, _ = scene()
        x, y, z = np.meshgrid(
            *((np.arange(n) - n // 2) * d * 1e3 for n, d in zip(mask.shape, SPACING, strict=True)),
            indexing="ij",
        )
        field = 3 + x - 2 * z + x * y + 0.3 * (x**2 - y**2) + 0.1 * (2 * z**2 - x**2 - y**2)
        found, known = local_field(field, mask, SPACING)
        assert np.linalg.norm(found[known]) < 0.02 * np.linalg.norm(field[known])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"smallest": 3e-3, "largest": 2e-3}, "smallest=0.003, largest=0.002"),
            ({"threshold": 1.5}, r"threshold=1\.5: 0 to 1"),
            ({"smallest": 30e-3, "largest": 40e-3}, "holds a sphere of smallest=0.03 m"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options, message):
        mask = np.zeros((12, 12, 12), dtype=bool)
        mask[2:-2, 2:-2, 2:-2] = True
        with pytest.raises(ValueError, match=message):
            local_field(np.zeros(mask.shape), mask, SPACING, **options)


class TestUnwrapping:
    def test_a_smooth_phase_of_many_turns(self):
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (30, 25, 20)), indexing="ij")
        phase = 15 * x**2 - 13 * y + 8 * x * z + 1
        found = unwrapped(np.angle(np.exp(1j * phase)))
        turns = (found - phase) / (2 * np.pi)
        assert np.allclose(turns, np.round(turns[0, 0, 0]), atol=1e-9)

    def test_off_resonance_has_the_sign_of_the_signal_that_is_detected(self):
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 20, 16)), indexing="ij")
        df = 90 * x - 60 * y * z + 20
        TE = np.array([4e-3, 8e-3, 12e-3, 16e-3])
        echoes = np.exp(1j * (0.7 + x)[..., None]) * np.exp(-TE / 20e-3)
        echoes = echoes * np.exp(-2j * np.pi * df[..., None] * TE)
        found, sd = off_resonance(echoes, TE)
        assert np.allclose(found, df, atol=1e-9)
        rng = np.random.default_rng(0)
        noise = 0.01 * (rng.normal(size=echoes.shape) + 1j * rng.normal(size=echoes.shape))
        noisy, _ = off_resonance(echoes + noise, TE)
        assert np.std((noisy - df) / (0.01 * sd)) == pytest.approx(1, abs=0.05)

    def test_times_that_do_not_fit_are_refused(self):
        echoes = np.ones((3, 3, 3, 3), complex)
        with pytest.raises(ValueError, match="one time for each"):
            off_resonance(echoes, [1e-3, 2e-3])
        with pytest.raises(ValueError, match="equally spaced"):
            off_resonance(echoes, [1e-3, 2e-3, 4e-3])

    def test_stored_numbers_become_phases(self):
        found = phase_from_numbers(np.array([-0.5, 0.0, 0.25, 0.5]))
        assert np.allclose(found, np.array([-1, 0, 0.5, 1]) * np.pi)


def test_measured_echoes_agree_with_one_another(data_folder):
    """df of the first two echoes and of the last two, of a measured part of a head."""
    nibabel = pytest.importorskip("nibabel")
    magnitude, stored = (
        np.asarray(nibabel.load(data_folder / "gre" / f"gre_small_{kind}.nii").dataobj, float)
        for kind in ("Mag", "Phase")
    )
    echoes = magnitude * np.exp(1j * phase_from_numbers(stored))
    TE = np.array([4e-3, 8e-3, 12e-3])
    mask = magnitude[..., 0] > 0.2 * np.quantile(magnitude[..., 0], 0.95)
    early, late = (off_resonance(echoes[..., k : k + 2], TE[k : k + 2])[0] for k in (0, 1))
    whole, _ = off_resonance(echoes, TE)
    assert np.corrcoef(early[mask], late[mask])[0, 1] > 0.9
    local, known = local_field(whole, mask, (0.469e-3, 0.469e-3, 1e-3), largest=6e-3)
    assert np.std(local[known]) < 0.5 * np.std(whole[known])
