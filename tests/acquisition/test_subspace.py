"""Coordinates of signals, and the noise outside of their subspace."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.acquisition.subspace import subspace
from ipads_stream.core.errors import ConfigError


def _signals(count=500):
    rates = np.random.default_rng(0).uniform(1, 5, count)
    return np.exp(-rates[:, None] * np.linspace(0, 1, 20))


def test_coordinates_of_the_set_have_mean_0_and_the_stated_size():
    signals = _signals()
    found = subspace(signals, 4, 0.0)
    x = found.coordinates(signals)
    assert np.allclose(x.mean(axis=0), 0, atol=1e-10)
    assert np.allclose(x.std(axis=0), 1, rtol=1e-6)
    back = found.mean + (x * found.sizes) @ found.vectors
    assert np.abs(back - signals).max() < 1e-3


def test_with_noise_sizes_are_those_of_noisy_coordinates():
    rng = np.random.default_rng(1)
    signals = _signals(20_000)
    x = subspace(signals, 6, 0.02).coordinates(signals + 0.02 * rng.normal(size=signals.shape))
    assert np.allclose(x.std(axis=0), 1, rtol=0.03)


def test_single_precision_keeps_small_differences():
    signals = _signals()
    found = subspace(signals, 3, 1e-4)
    single = found.coordinates(signals.astype(np.float32))
    assert single.dtype == np.float32
    assert np.abs(single - found.coordinates(signals)).max() < 2e-3


def test_what_lies_outside_is_the_noise():
    rng = np.random.default_rng(2)
    noise = np.array([0.01, 0.1])
    found = subspace(_signals(), 5, 0.0)
    measured = 7 * _signals(4000)[:, None] + noise[:, None] * rng.normal(size=(4000, 2, 20))
    rms = [np.sqrt(np.mean(found.residual(measured[:, i]) ** 2)) for i in range(2)]
    assert np.allclose(rms, noise, rtol=0.02)


def test_refuses_more_directions_than_samples():
    with pytest.raises(ConfigError, match="features=21"):
        subspace(_signals(), 21, 0.0)
    with pytest.raises(ConfigError, match="features=19"):
        subspace(_signals(), 19, 0.0).residual(_signals())
