"""Levenberg-Marquardt within bounds: known answers, and SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares as reference

from ipads_stream.baselines.least_squares import differences, least_squares

TIMES = np.linspace(0.01, 0.3, 30)
LOW, HIGH = np.array([0.1, 0.01]), np.array([3.0, 0.5])


def model(x):
    return x[:, :1] * np.exp(-TIMES / x[:, 1:])


def _voxels(count=30, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform([0.5, 0.03], [2.0, 0.3], (count, 2))
    return x, model(x) + noise * rng.normal(size=(count, len(TIMES)))


def _starts(count):
    return np.tile(np.array([[1.0, 0.05], [1.5, 0.4]])[:, None], (1, count, 1))


def test_exact_signals_give_their_parameters():
    x, signals = _voxels()
    found, misfit = least_squares(model, signals, _starts(30), LOW, HIGH)
    assert np.allclose(found, x, rtol=1e-5)
    assert misfit.max() < 1e-10


def test_noisy_signals_give_scipy_s_answer():
    _, signals = _voxels(noise=0.05)
    found, misfit = least_squares(model, signals, _starts(30), LOW, HIGH)
    for i, y in enumerate(signals):
        expected = reference(
            lambda p, y=y: model(p[None])[0] - y, [1.0, 0.05], bounds=(LOW, HIGH), xtol=1e-12
        )
        assert misfit[i] == pytest.approx(2 * expected.cost, rel=1e-5)
        assert np.allclose(found[i], expected.x, rtol=2e-3)


def test_answers_at_a_bound_are_scipy_s():
    _, signals = _voxels(noise=0.05)
    high = np.array([0.8, 0.2])
    found, misfit = least_squares(model, signals, np.full((1, 30, 2), 0.1), LOW, high)
    assert (found <= high).all()
    assert (found == high).any()
    for i, y in enumerate(signals):
        expected = reference(
            lambda p, y=y: model(p[None])[0] - y, [0.5, 0.1], bounds=(LOW, high), xtol=1e-12
        )
        assert misfit[i] <= 2 * expected.cost * (1 + 1e-4)


def test_the_best_start_wins():
    """cos has minima of the misfit that a single start does not leave."""
    wave = lambda x: np.cos(x * np.linspace(0, 3, 40))  # noqa: E731
    signals = wave(np.array([[9.0]]))
    low, high = np.array([0.5]), np.array([12.0])
    starts = np.array([[[1.0]], [[8.8]]])
    one, _ = least_squares(wave, signals, starts[:1], low, high)
    both, misfit = least_squares(wave, signals, starts, low, high)
    assert abs(one[0, 0] - 9) > 1
    assert both[0, 0] == pytest.approx(9, abs=1e-4)
    assert misfit[0] < 1e-8


def test_differences_are_the_derivative():
    x, signals = _voxels(5)
    J = differences(model, LOW, HIGH)(x, signals)
    decays = np.exp(-TIMES / x[:, 1:])
    assert np.allclose(J[..., 0], decays, atol=1e-6)
    assert np.allclose(J[..., 1], x[:, :1] * decays * TIMES / x[:, 1:] ** 2, rtol=1e-3, atol=1e-4)


def test_a_voxel_does_not_depend_on_its_neighbours():
    _, signals = _voxels(noise=0.05)
    whole, _ = least_squares(model, signals, _starts(30), LOW, HIGH)
    part, _ = least_squares(model, signals[4:7], _starts(3), LOW, HIGH)
    assert np.allclose(whole[4:7], part, rtol=1e-9)
