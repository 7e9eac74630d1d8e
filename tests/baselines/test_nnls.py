"""Non-negative least squares against SciPy's and against the conditions of an optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls as reference

from ipads_stream.baselines.nnls import misfit, nnls, regularised
from ipads_stream.physics.closed_forms.multi_pool import decay

T2 = np.geomspace(0.01, 2, 40)
BASIS = np.asarray(decay(0.01 * np.arange(1, 33), np.ones((40, 1)), T2[:, None], 0.9, T1=2.0)).T


def _signals(count=40, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (count, 40)) * (rng.uniform(size=(count, 40)) < 0.1)
    return x @ BASIS.T + noise * rng.normal(size=(count, 32))


@pytest.mark.parametrize("mu", [1e-4, 1e-2, 1.0])
def test_a_regularised_spectrum_is_scipy_s(mu):
    signals = _signals()
    rows = np.vstack([BASIS, np.sqrt(mu) * np.eye(40)])
    expected = [reference(rows, np.append(y, np.zeros(40)), maxiter=4000)[0] for y in signals]
    assert np.abs(nnls(BASIS, signals, mu) - expected).max() < 1e-8


def test_without_regularisation_the_misfit_is_scipy_s():
    """The basis is so nearly singular that the amounts themselves are not determined."""
    signals = _signals()
    x = nnls(BASIS, signals)
    expected = [reference(BASIS, y, maxiter=4000)[1] ** 2 for y in signals]
    assert (x >= 0).all()
    assert np.allclose(misfit(BASIS, signals, x), expected, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_the_optimum_has_no_downhill_direction(rows, columns, seed):
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(rows, columns)), rng.normal(size=(3, rows))
    x = nnls(A, y, 0.01)
    slope = (y - x @ A.T) @ A - 0.01 * x
    assert (slope <= 1e-8).all()
    assert np.abs(slope[x > 0]).max(initial=0) < 1e-8


def test_every_signal_has_a_weight_of_its_own():
    signals, mu = _signals(5), np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    whole = nnls(BASIS, signals, mu)
    for i in range(5):
        assert np.allclose(whole[i : i + 1], nnls(BASIS, signals[i : i + 1], mu[i]), atol=1e-9)


def test_regularisation_raises_the_misfit_as_asked():
    signals = _signals()
    signals = signals[np.abs(signals[:, 0]) > 0.3]  # of nothing but noise the misfit hardly rises
    least = misfit(BASIS, signals, nnls(BASIS, signals))
    for rise in (1.02, 1.2):
        x, mu = regularised(BASIS, signals, rise)
        assert np.allclose(misfit(BASIS, signals, x) / least, rise, rtol=2e-3)
        assert np.allclose(x, nnls(BASIS, signals, mu), atol=1e-6)
        assert (mu > 0).all()


def test_nothing_is_made_of_nothing():
    x, _ = regularised(BASIS, np.zeros((2, 32)))
    assert not x.any()
    assert not nnls(BASIS, -BASIS.T[:3]).any()
