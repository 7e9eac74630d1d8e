"""Noise of a receiver: a measured signal is that with noise where it is sampled, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.acquisition.noise import complex_noise, measured
from ipads_stream.core.random import Keys


@pytest.mark.parametrize("points", [1, 2, 7, 64, 255, 256])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_noise_is_added_where_points_are_sampled(points, share):
    num, random = 150, np.random.default_rng(points)
    key = Keys(0, "train", 2**33 + np.arange(num, dtype=np.uint64))["noise"]
    parts = random.normal(size=(num, 2 * points)).astype(np.float32)
    signal, sigma = parts.view(np.complex64), random.uniform(0.1, 2, num).astype(np.float32)
    mask = random.uniform(size=(num, points)) < share
    whole = np.where(mask, signal + complex_noise(key, sigma, points, np), np.complex64(0))
    assert np.array_equal(measured(key, signal, sigma, mask, np), whole)


def test_no_samples_have_no_noise():
    key = Keys(0, "train", np.arange(0))["noise"]
    nothing = np.zeros((0, 8), np.complex64)
    assert measured(key, nothing, np.zeros(0, np.float32), nothing != 0, np).shape == (0, 8)
