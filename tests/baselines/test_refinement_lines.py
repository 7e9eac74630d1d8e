"""Lines fitted after a network: against the Cramer-Rao bound, unknown number, and falling back."""

import numpy as np
import pytest

from ipads_stream.baselines.signals.refinement import LowRank
from ipads_stream.baselines.signals.refinement_lines import Lines
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.physics.cramer_rao import fisher_information

POINTS = 64
T = np.arange(POINTS)


def signals(rows=24, lines=3, noise=0.0, key=0):
    """Lines at least 2 / points apart, 24 points of each measured, and a start 10 % off."""
    random = np.random.Generator(np.random.Philox(key=key))
    f = (np.arange(lines) + 0.5 * random.random((rows, lines))) / lines
    f = f + random.random((rows, 1))
    decay = random.uniform(15, 60, (rows, lines))
    c = random.uniform(0.3, 1, (rows, lines)) * np.exp(2j * np.pi * random.random((rows, lines)))
    waves = np.exp((2j * np.pi * f - 1 / decay)[..., None] * T)
    full = (c[..., None] * waves).sum(axis=1)
    mask = np.argsort(random.random((rows, POINTS)), axis=1) < 24
    parts = random.normal(size=(2, 2, rows, POINTS)) / np.sqrt(2)
    gauss = parts[:, 0] + 1j * parts[:, 1]
    fid = np.where(mask, full + noise * gauss[0], 0)
    start = np.where(mask, fid, full + 0.1 * np.abs(full).max() * gauss[1])
    slopes = np.stack([waves, 1j * waves, T * c[..., None] * waves, 1j * T * c[..., None] * waves])
    return full, mask, fid, start, slopes.transpose(1, 3, 0, 2).reshape(rows, POINTS, -1)


def test_errs_in_noise_like_an_efficient_estimator_that_knows_the_number():
    noise = 0.05
    full, mask, fid, start, slopes = signals(rows=40, noise=noise)
    found = Lines(measured=0.0)(fid, mask, start).estimate
    bound = []
    for jacobian, measured in zip(slopes, mask, strict=True):
        fisher = fisher_information(jacobian[measured], noise / np.sqrt(2))
        covariance = jacobian @ np.linalg.inv(fisher) @ jacobian.conj().T
        bound.append(np.trace(covariance).real)
    squared = (np.abs(found - full) ** 2).sum(axis=1)
    ratio = np.median(squared / bound)
    assert 0.6 < ratio < 1.3
    low_rank = LowRank()(fid, mask, start).estimate
    before = (np.abs(low_rank - full) ** 2).sum(axis=1)
    assert np.median(before / bound) > 1.5 * ratio


@pytest.mark.parametrize("lines", [1, 4, 8])
def test_noise_free_lines_are_found_exactly_whatever_their_number(lines):
    full, mask, fid, start, _ = signals(rows=16, lines=lines)
    found = Lines()(fid, mask, start)
    assert np.median(rlne(found.estimate, full, axis=1)) < 1e-6
    hankel = np.lib.stride_tricks.sliding_window_view(found.estimate, 32, axis=-1)
    values = np.linalg.svd(hankel, compute_uv=False)
    assert np.median((values > 1e-5 * values[:, :1]).sum(axis=1)) == lines


def test_a_poor_start_is_made_good_by_what_is_measured():
    full, mask, fid, _, _ = signals()
    zero_filled = Lines(before=LowRank(passes=1))(fid, mask, fid).estimate
    assert np.median(rlne(zero_filled, full, axis=1)) < 1e-6
    assert np.median(rlne(LowRank(passes=1)(fid, mask, fid).estimate, full, axis=1)) > 0.2


def test_rows_of_noise_are_left_to_the_low_rank_step():
    _, mask, fid, _, _ = signals(noise=1e6)
    start = np.where(mask, fid, 0.1 * fid.max())
    low_rank = LowRank()(fid, mask, start).estimate
    size = rlne(Lines()(fid, mask, start).estimate, low_rank, axis=1)
    assert np.median(size) < 0.2


def test_what_no_lines_explain_is_left_to_the_low_rank_step():
    _, mask, fid, start, _ = signals(lines=8)
    low_rank = LowRank()(fid, mask, start)
    one = Lines(most=1)(fid, mask, start)
    fails = np.isclose(one.estimate, low_rank.estimate, rtol=1e-9).all(axis=1)
    assert fails.mean() > 0.5
    np.testing.assert_allclose(one.residuals[-1, fails], low_rank.residuals[-1, fails])


def test_too_few_points_for_a_line_give_the_low_rank_estimate():
    _, mask, fid, start, _ = signals(rows=3)
    few = np.cumsum(mask, axis=1) * mask
    few = (few > 0) & (few <= 5)
    fid = np.where(few, fid, 0)
    np.testing.assert_array_equal(
        Lines()(fid, few, start).estimate, LowRank()(fid, few, start).estimate
    )


@pytest.mark.slow
def test_noise_is_taken_out_of_measured_points_as_far_as_asked():
    full, mask, fid, start, _ = signals(noise=0.05)
    fitted, mixed, kept = (
        Lines(measured=weight)(fid, mask, start).estimate for weight in (0.0, 0.7, 1.0)
    )
    np.testing.assert_allclose(kept[mask], fid[mask], atol=1e-12)
    np.testing.assert_allclose(mixed, fitted + 0.7 * (kept - fitted), atol=1e-12)
    error = np.abs(np.where(mask, fitted - full, 0)).sum()
    assert error < 0.9 * np.abs(np.where(mask, fid - full, 0)).sum()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_keeps_zero_rows_precision_and_input_and_records(dtype):
    _, mask, fid, start, _ = signals(rows=5)
    fid, start = fid.astype(dtype), start.astype(dtype)
    fid[2] = start[2] = 0
    before = fid.copy(), start.copy()
    found = Lines()(fid, mask, start)
    assert found.estimate.dtype == dtype
    np.testing.assert_array_equal(fid, before[0])
    np.testing.assert_array_equal(start, before[1])
    assert not found.estimate[2].any() and np.isfinite(found.estimate).all()
    assert found.changes.shape == found.residuals.shape == (4, 5)
    assert (found.changes[-1] < 1e-3).all() and (found.residuals[-1] < 1e-3).all()
    empty = np.zeros((0, 16), np.complex64)
    assert Lines()(empty, mask[0, :16], empty).estimate.shape == (0, 16)


@pytest.mark.slow
def test_rows_are_independent_and_scale_and_hidden_values_are_not_used():
    _, mask, fid, start, _ = signals(rows=20, noise=0.05)  # more than one batch
    mask[3, np.flatnonzero(mask[3])[:4]] = False  # fewer points than the others
    together = Lines()(fid, mask, start).estimate
    for row in (0, 3, 19):
        alone = Lines()(fid[row : row + 1], mask[row : row + 1], start[row : row + 1])
        np.testing.assert_allclose(alone.estimate[0], together[row], rtol=1e-6, atol=1e-8)
    scaled = Lines()(1e-5j * fid, mask, 1e-5j * start).estimate
    np.testing.assert_allclose(scaled, 1e-5j * together, rtol=1e-5, atol=1e-11)
    spoiled = Lines()(np.where(mask, fid, 1e6), mask, np.where(mask, -1e6, start)).estimate
    np.testing.assert_array_equal(spoiled, together)


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"most=0.*at least 1"):
        Lines(most=0)
    with pytest.raises(ValueError, match=r"measured=1.5.*at most 1"):
        Lines(measured=1.5)
    with pytest.raises(ValueError, match="odds=nan"):
        Lines(odds=float("nan"))
