"""Errors at the true peaks, against cases whose error is known."""

import numpy as np
import pytest

from ipads_stream.evaluation.tasks.signals.scores import (
    is_low,
    peak_errors,
)

N = 64
AMPLITUDE = np.array([[0.8, 0.1, 0.0], [0.3, 0.15, 0.12]])
FREQUENCY = np.array([[0.1, 0.6, 0.0], [0.2, 0.4, 0.85]])
DECAY = np.array([[30.0, 40.0, 20.0], [20.0, 60.0, 25.0]])


def lines(amplitude):
    t = np.arange(N)
    wave = np.exp(2j * np.pi * FREQUENCY[..., None] * t - t / DECAY[..., None])
    return amplitude[..., None] * wave


def errors(estimate):
    return peak_errors(estimate, lines(AMPLITUDE).sum(1), AMPLITUDE, FREQUENCY, DECAY)


def test_the_truth_has_no_error_and_absent_peaks_none():
    found = errors(lines(AMPLITUDE).sum(1))
    assert np.isnan(found[0, 2])
    np.testing.assert_array_equal(found[AMPLITUDE > 0], 0)


def test_a_peak_left_out_has_the_error_one():
    for row, peak in np.argwhere(AMPLITUDE > 0):
        kept = AMPLITUDE.copy()
        kept[row, peak] = 0
        assert errors(lines(kept).sum(1))[row, peak] == pytest.approx(1)


def test_the_phase_counts_where_the_magnitude_would_not():
    turned = lines(AMPLITUDE)
    turned[1, 0] *= 1j
    assert errors(turned.sum(1))[1, 0] == pytest.approx(np.sqrt(2))


def test_errors_are_relative_to_the_own_height():
    scaled = AMPLITUDE * np.array([[1, 1.3, 1], [1, 1, 1]])
    assert errors(lines(scaled).sum(1))[0, 1] == pytest.approx(0.3)


def test_dwell_only_scales_the_axes():
    estimate, reference = np.ones((2, N)) + 0j, lines(AMPLITUDE).sum(1)
    slow = peak_errors(estimate, reference, AMPLITUDE, FREQUENCY, DECAY)
    fast = peak_errors(estimate, reference, AMPLITUDE, FREQUENCY / 1e-3, DECAY * 1e-3, dwell=1e-3)
    np.testing.assert_allclose(fast, slow)


def test_low_peaks_stand_beside_a_tall_one():
    np.testing.assert_array_equal(is_low(AMPLITUDE), [[False, True, False], [False] * 3])
    np.testing.assert_array_equal(
        is_low(AMPLITUDE, beside=0.25), [[False, True, False], [False, True, True]]
    )


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="allowed: equal shapes"):
        peak_errors(np.ones((2, 5)) + 0j, np.ones((2, 6)) + 0j, AMPLITUDE, FREQUENCY, DECAY)
