"""Fingerprints against sums of isochromats, a recursion and automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream.physics import epg
from ipads_stream.physics.epg.fingerprint import fingerprint, logarithmic_jacobian, tissue_grid

FLIP = np.radians([20.0, 60.0, 35.0, 80.0, 10.0, 45.0])
PHASE = np.array([0.0, math.pi, 0.0, 0.0, math.pi, 0.0])
TR = np.array([12e-3, 15e-3, 11e-3, 14e-3, 13e-3, 16e-3])
TE = np.full(6, 4e-3)
FRAMES = (FLIP, PHASE, TR, TE, 20e-3)


def isochromats(T1, T2, B1, count=512):
    """The mean of spins that each spoiler turns by its own angle of one whole turn."""
    angles = 2 * np.pi * np.arange(count) / count
    M = np.zeros((count, 3))
    M[:, 2] = 1 - 2 * math.exp(-20e-3 / T1)
    echoes = []

    def relax(M, t):
        E1, E2 = math.exp(-t / T1), math.exp(-t / T2)
        return M * [E2, E2, E1] + [0, 0, 1 - E1]

    for flip, phase, tr, te in zip(FLIP, PHASE, TR, TE, strict=True):
        a, c, s = flip * B1, math.cos(phase), math.sin(phase)
        # dM/dt = gamma M x B: about the axis (c, s, 0), clockwise; from z towards (-s, c) i.e. +y.
        axis = np.array([c, s, 0])
        cross = np.cross(axis, M)
        M = M * math.cos(a) - cross * math.sin(a) + np.outer(M @ axis, axis) * (1 - math.cos(a))
        M = relax(M, te)
        echoes.append(np.mean(M[:, 0] + 1j * M[:, 1]))
        M = relax(M, tr - te)
        turned = (M[:, 0] + 1j * M[:, 1]) * np.exp(1j * angles)
        M = np.stack([turned.real, turned.imag, M[:, 2]], axis=1)
    return np.array(echoes)


@pytest.mark.parametrize(("T1", "T2", "B1"), [(1.0, 0.1, 1.0), (0.3, 0.25, 0.8), (2.5, 0.02, 1.2)])
def test_gradient_spoiling_is_the_sum_of_isochromats(T1, T2, B1):
    found = fingerprint(*FRAMES, "gradient", T1=np.array([T1]), T2=T2, B1=B1)[0]
    assert np.allclose(found, isochromats(T1, T2, B1), atol=1e-12)
    assert np.abs(found.real).max() < 1e-15  # pulses of phase 0 and pi: i times a real signal


def test_ideal_spoiling_is_a_recursion_of_longitudinal_magnetisation():
    T1, T2, B1 = 0.8, 0.07, 0.9
    found = fingerprint(*FRAMES, "ideal", T1=np.array([T1]), T2=T2, B1=B1)[0]
    Mz = 1 - 2 * math.exp(-20e-3 / T1)
    for n in range(6):
        expected = 1j * np.exp(1j * PHASE[n]) * Mz * math.sin(B1 * FLIP[n]) * math.exp(-TE[n] / T2)
        assert found[n] == pytest.approx(expected, abs=1e-14)
        Mz = 1 + (Mz * math.cos(B1 * FLIP[n]) - 1) * math.exp(-TR[n] / T1)


def test_the_jacobian_is_that_of_automatic_differentiation():
    T1, T2, B1 = np.array([0.4, 1.2, 2.9]), np.array([0.03, 0.1, 0.4]), np.array([1.0, 0.8, 1.1])
    found = logarithmic_jacobian((*FRAMES, "gradient"), ("T1", "T2", "B1"), T1=T1, T2=T2, B1=B1)

    def signal(logs):
        a, b, c = torch.exp(logs)
        return epg.fisp_formula(
            *(torch.tensor(x) for x in (FLIP, PHASE, TR, TE)), a, b, c, 20e-3, 3
        ).imag

    for i in range(3):
        logs = torch.tensor(np.log([T1[i], T2[i], B1[i]]))
        exact, at = torch.func.jacrev(signal)(logs).numpy(), signal(logs).numpy()
        rms = np.sqrt(np.mean(at**2))
        assert np.allclose(found[i, :, :3], exact / rms, atol=1e-10)
        assert np.allclose(found[i, :, 3], at / rms, atol=1e-12)


def test_ideal_spoiling_with_one_echo_time_does_not_change_with_T2_but_for_a_factor():
    tissue = {"T1": np.full(3, 1.0), "T2": np.array([0.03, 0.1, 0.3])}
    ideal = np.imag(fingerprint(*FRAMES, "ideal", **tissue))
    unit = ideal / np.linalg.norm(ideal, axis=1, keepdims=True)
    assert np.abs(unit - unit[0]).max() < 1e-14
    spoiled = np.imag(fingerprint(*FRAMES, "gradient", **tissue))
    unit = spoiled / np.linalg.norm(spoiled, axis=1, keepdims=True)
    assert np.abs(unit - unit[0]).max() > 0.01


def test_another_word_for_spoiling_is_refused():
    with pytest.raises(ValueError, match="gradient, ideal"):
        fingerprint(*FRAMES, "none", T1=np.array([1.0]), T2=0.1)


def test_the_grid_of_tissue_has_no_T2_above_T1():
    T1, T2, B1 = tissue_grid((0.1, 1.0), (0.05, 0.5), (0.9, 1.1), (5, 6, 3))
    assert (T2 <= T1).all()
    assert len(T1) == len(T2) == len(B1) < 5 * 6 * 3
    assert set(B1) == {0.9, 1.0, 1.1}
    assert T1.max() == pytest.approx(1.0)
