"""Metrics against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipads_stream.evaluation.metrics import confidence_interval, find_peaks, peak_correlation, rlne


def complex_rows(key, shape):
    random = np.random.Generator(np.random.Philox(key=key))
    return random.normal(size=shape) + 1j * random.normal(size=shape)


@given(st.integers(0, 1000), st.floats(0, 3))
def test_rlne_of_a_scaled_copy_is_the_scale_error(key, scale):
    x = complex_rows(key, (4, 16))
    np.testing.assert_allclose(rlne(scale * x, x), abs(scale - 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(rlne(scale * x, x, axis=-1), np.full(4, abs(scale - 1)), atol=1e-12)


def test_rlne_is_the_same_in_time_and_frequency():
    x, y = complex_rows(1, (3, 32)), complex_rows(2, (3, 32))
    transform = [np.fft.fft(a, norm="ortho") for a in (x, y)]
    np.testing.assert_allclose(rlne(*transform, axis=-1), rlne(x, y, axis=-1), rtol=1e-12)


def test_rlne_keeps_precision_and_says_nothing_about_a_zero_row():
    x = np.zeros((2, 8), np.complex64)
    x[0] = 1
    error = rlne(x, x, axis=-1)
    assert error.dtype == np.float32
    assert error[0] == 0 and np.isnan(error[1])


def test_rlne_names_the_shapes():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        rlne(np.ones(2), np.ones(3))


def test_peaks_of_a_row():
    row = np.array([0.0, 1.0, 0.5, 0.02, 0.04, 0.03, 0.6, 0.6, 0.0])
    assert find_peaks(row, 0.03).ravel().tolist() == [1, 4, 6]
    assert find_peaks(row, 0.5).ravel().tolist() == [1, 6]


def test_peaks_of_a_plane_and_across_its_edge():
    plane = np.zeros((8, 8))
    plane[2, 3], plane[3, 4], plane[6, 6] = 1.0, 0.9, 0.5
    plane[0, 0], plane[7, 7] = 0.3, 0.4
    assert find_peaks(plane).tolist() == [[2, 3], [6, 6]]
    plane[7, 7], plane[0, 0] = 0.0, 0.4
    assert find_peaks(plane).tolist() == [[0, 0], [2, 3], [6, 6]]


def test_no_peaks_in_nothing():
    assert find_peaks(np.zeros((4, 4))).shape == (0, 2)


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_peaks_refuse_threshold(threshold):
    with pytest.raises(ValueError, match="0 <= threshold < 1"):
        find_peaks(np.ones(4), threshold)


def spikes(heights):
    row = np.zeros(4 * len(heights))
    row[2::4] = heights
    return row


def test_peak_correlation_of_known_heights():
    reference, estimate = spikes([1.0, 0.5, 0.2, 0.01]), spikes([0.9, 0.6, 0.1, 0.9])
    r, r2, num_peaks = peak_correlation(estimate, reference)
    expected = np.corrcoef([0.9, 0.6, 0.1], [1.0, 0.5, 0.2])[0, 1]
    assert num_peaks == 3
    assert r == pytest.approx(expected) and r2 == pytest.approx(expected**2)


def test_peak_correlation_sees_the_sign_only_of_real_spectra():
    reference = spikes([1.0, 0.5, 0.2])
    flipped = reference * np.where(reference == 0.5, -1, 1)
    assert peak_correlation(flipped, reference)[0] < 0.9
    assert peak_correlation(flipped + 0j, reference + 0j)[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="both real"):
        peak_correlation(reference + 0j, reference)


def test_peak_correlation_needs_two_peaks():
    r, r2, num_peaks = peak_correlation(spikes([1.0]), spikes([1.0]))
    assert np.isnan(r) and np.isnan(r2) and num_peaks == 1


def test_confidence_interval_covers_the_mean_of_normal_values():
    random = np.random.Generator(np.random.Philox(key=3))
    values = random.normal(5, 1, 400)
    low, high = confidence_interval(values, np.mean)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_confidence_interval_is_keyed_and_leaves_global_state_alone():
    values = np.arange(20.0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = confidence_interval(values, key=7)
    assert first == confidence_interval(values, key=7)
    assert first[0] <= 9.5 <= first[1]
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0]]])
def test_confidence_interval_refuses(values):
    with pytest.raises(ValueError, match="finite, not empty"):
        confidence_interval(values)
