"""Densities of noise, against SciPy's distributions and against draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ipads_stream.acquisition.likelihood import gaussian, noncentral_chi

MASK = np.array([[True] * 5, [True, True, False, True, False]])


def measured_and_signals(dtype, count=7):
    rng = np.random.default_rng(0)  # for each test anew, whatever ran before it
    signal = 10.0 ** rng.uniform(-2, 2.3, (2, 5, count))
    measured = np.abs(signal[..., 0] + rng.normal(size=(2, 5)))
    return measured.astype(dtype), signal.astype(dtype)


@pytest.mark.parametrize("coils", [1, 2, 4, 32])
def test_magnitudes_have_the_density_of_scipy(coils):
    measured, signal = measured_and_signals(np.float64)
    found = noncentral_chi(measured, signal, MASK, coils)
    m = measured[:, :, None]
    # m^2 has the non-central chi-square distribution of 2 N degrees of freedom.
    terms = stats.ncx2.logpdf(m**2, 2 * coils, signal**2) + np.log(2 * m)
    expected = np.sum(np.where(MASK[:, :, None], terms, 0), axis=1)
    # Ours are exact to 1e-5 an image.
    inside = expected > -1e4  # beyond, SciPy's own series loses digits
    assert inside.mean() > 0.5
    np.testing.assert_allclose(
        found[inside], expected[inside], rtol=1e-6, atol=5e-5
    )  # 1e-5 an image


def test_the_kernel_has_the_numbers_of_the_formula():
    measured, signal = measured_and_signals(np.float32, 64)
    found = noncentral_chi(measured, signal, MASK)
    formula = noncentral_chi(measured.astype(float), signal.astype(float), MASK)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, formula, rtol=2e-6, atol=2e-4)


def test_no_signal_is_rayleigh_and_zero_is_no_failure():
    measured, zero = np.full((1, 1), 1.7), np.zeros((1, 1, 1))
    every = np.ones((1, 1), bool)
    assert noncentral_chi(measured, zero, every) == pytest.approx(stats.rayleigh.logpdf(1.7))
    assert noncentral_chi(measured, zero, every, 4) == pytest.approx(stats.chi.logpdf(1.7, 8))
    assert np.isfinite(noncentral_chi(0 * measured, zero, every)).all()


@pytest.mark.parametrize("coils", [1, 3])
def test_the_slope_is_that_of_differences(coils):
    measured, signal = measured_and_signals(np.float64)
    tensor = torch.tensor(signal, requires_grad=True)
    noncentral_chi(torch.tensor(measured), tensor, torch.tensor(MASK), coils).sum().backward()
    step = 1e-5 * signal
    ends = [noncentral_chi(measured, signal + x, MASK, coils) for x in (step, -step)]
    slope = np.sum(tensor.grad.numpy() * step, axis=1)
    np.testing.assert_allclose(2 * slope, ends[0] - ends[1], rtol=1e-4, atol=1e-7)


def test_gaussian_noise_of_one_and_of_two_channels():
    measured, signal = measured_and_signals(np.float64)
    terms = stats.norm.logpdf(measured[:, :, None] - signal)
    expected = np.sum(np.where(MASK[:, :, None], terms, 0), axis=1)
    np.testing.assert_allclose(gaussian(measured, signal, MASK), expected)
    turned = gaussian(measured * 1j, signal * 1j, MASK)
    other = np.sum(np.where(MASK[:, :, None], stats.norm.logpdf(0.0), 0), axis=1)
    np.testing.assert_allclose(turned, expected + other)
