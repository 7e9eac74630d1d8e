"""The phase of a receiver is removed, and the sign kept."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.acquisition.receive_phase import sign_reference, without_phase

N = 60
T1 = np.geomspace(0.05, 5, 40)
SIGNALS = 1 - 2 * np.exp(-np.linspace(0.01, 4, N) / T1[:, None])  # inversion recovery


def test_signals_are_real_again_with_their_sign():
    reference, margin = sign_reference(SIGNALS)
    unit = SIGNALS / np.linalg.norm(SIGNALS, axis=1, keepdims=True)
    assert (unit @ reference).min() == pytest.approx(margin)
    assert margin > 0.2  # although early and late points differ in sign and some sums vanish
    turn = np.exp(1j * np.linspace(-7, 7, 40))[:, None]
    assert np.allclose(without_phase(SIGNALS * turn, reference), SIGNALS, atol=1e-12)


def test_the_reference_is_the_best_direction():
    points = np.array([[3.0, 0.0], [2.0, 2.0]])  # 0 and 45 degrees: the best lies between
    reference, margin = sign_reference(points)
    assert np.allclose(reference, [np.cos(np.pi / 8), np.sin(np.pi / 8)], atol=1e-6)
    assert margin == pytest.approx(np.cos(np.pi / 8))


def test_opposite_signals_have_no_reference():
    assert sign_reference(np.array([[1.0, 0.2], [-1.0, -0.2], [0.0, 1.0]]))[1] <= 1e-6


def test_noise_stays_white_and_a_signal_of_zero_is_zero():
    random = np.random.Generator(np.random.Philox(3))
    noise = random.normal(size=(4000, N)) + 1j * random.normal(size=(4000, N))
    reference, _ = sign_reference(SIGNALS)
    turn = np.exp(2j * np.pi * random.random((4000, 1)))
    found = without_phase(SIGNALS[7] * 10 * turn + 0.1 * noise, reference)
    error = found - 10 * SIGNALS[7]
    assert error.std() == pytest.approx(0.1, rel=0.01)
    assert np.abs(error.mean(axis=0)).max() < 6 * 0.1 / np.sqrt(4000)
    assert np.all(without_phase(np.zeros((2, N), complex), reference) == 0)
