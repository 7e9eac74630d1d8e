"""Classical reconstructions: what they must recover, keep and refuse."""

import numpy as np
import pytest

from ipads_stream.baselines.signals import iterative_soft_threshold, low_rank_hankel
from ipads_stream.evaluation.metrics import rlne

METHODS = [iterative_soft_threshold.reconstruct, low_rank_hankel.reconstruct]
SPARSE, LOW_RANK = METHODS


def exponentials(num_rows=6, num_points=64, num_lines=2, key=0):
    random = np.random.Generator(np.random.Philox(key=key))
    t = np.arange(num_points)
    f, phase = random.uniform(0, 1, (2, num_rows, num_lines, 1))
    decay = 1 / random.uniform(10, 60, (num_rows, num_lines, 1))
    return np.exp(2j * np.pi * (f * t + phase) - decay * t).sum(axis=1)


def schedule(num_points=64, fraction=0.4, key=1):
    random = np.random.Generator(np.random.Philox(key=key))
    mask = np.zeros(num_points, bool)
    mask[random.permutation(num_points)[: round(fraction * num_points)]] = True
    mask[0] = True
    return mask


def test_low_rank_is_exact_for_few_exponentials():
    fid, mask = exponentials(), schedule()
    assert rlne(LOW_RANK(fid, mask, passes=200), fid) < 1e-3


def test_soft_threshold_is_exact_for_lines_on_the_grid():
    t = np.arange(64)
    fid = np.exp(2j * np.pi * np.outer([5, 20], t) / 64) + np.exp(2j * np.pi * 40 * t / 64)
    assert rlne(SPARSE(fid, schedule(), passes=300), fid) < 0.02


@pytest.mark.parametrize("reconstruct", METHODS)
def test_improves_on_zero_filling(reconstruct):
    fid, mask = exponentials(), schedule(fraction=0.3)
    assert rlne(reconstruct(fid, mask), fid) < 0.7 * rlne(np.where(mask, fid, 0), fid)


@pytest.mark.parametrize("reconstruct", METHODS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_keeps_samples_zero_rows_precision_and_input(reconstruct, dtype):
    fid, mask = exponentials().astype(dtype), schedule()
    fid[2] = 0
    before = fid.copy()
    filled = reconstruct(fid, mask, passes=10)
    assert filled.dtype == dtype and filled.shape == fid.shape
    np.testing.assert_array_equal(filled[:, mask], fid[:, mask])
    np.testing.assert_array_equal(fid, before)
    assert not filled[2].any() and np.isfinite(filled).all()


@pytest.mark.parametrize("reconstruct", METHODS)
def test_hidden_values_are_not_used(reconstruct):
    fid, mask = exponentials(), schedule()
    spoiled = np.where(mask, fid, 1e6)
    np.testing.assert_array_equal(reconstruct(spoiled, mask, 5), reconstruct(fid, mask, 5))


@pytest.mark.parametrize("reconstruct", METHODS)
def test_rows_are_independent_and_scale(reconstruct):
    fid, mask = exponentials(), schedule()
    together = reconstruct(fid, mask, 10)
    np.testing.assert_allclose(reconstruct(fid[3:4], mask, 10)[0], together[3], rtol=1e-9)
    np.testing.assert_allclose(reconstruct(1e-4j * fid, mask, 10), 1e-4j * together, rtol=1e-9)


@pytest.mark.parametrize("reconstruct", METHODS)
def test_every_row_may_have_its_schedule(reconstruct):
    fid, masks = exponentials(), np.stack([schedule(key=key) for key in range(6)])
    together = reconstruct(fid, masks, 10)
    for row, mask, filled in zip(fid, masks, together, strict=True):
        np.testing.assert_allclose(reconstruct(row[None], mask, 10)[0], filled, rtol=1e-9)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_and_threads_do_not_change_the_result(workers):
    fid, mask = exponentials(), schedule()
    split = LOW_RANK(fid, mask, 10, rows_at_once=2, workers=workers)
    np.testing.assert_allclose(split, LOW_RANK(fid, mask, 10), rtol=1e-9)


@pytest.mark.parametrize("num_points", [31, 64])
def test_full_sampling_returns_the_input(num_points):
    fid = exponentials(num_points=num_points)
    for reconstruct in METHODS:
        np.testing.assert_allclose(reconstruct(fid, np.ones(num_points, bool), 3), fid)


def test_no_row_is_no_work():
    empty = np.zeros((0, 16), np.complex64)
    for reconstruct in METHODS:
        assert reconstruct(empty, schedule(16), 3).shape == (0, 16)


@pytest.mark.parametrize("reconstruct", METHODS)
def test_errors_name_what_is_allowed(reconstruct):
    fid = exponentials()
    with pytest.raises(ValueError, match=r"\(63,\).*allowed: boolean, \(64,\) or \(6, 64\)"):
        reconstruct(fid, schedule(63))
    with pytest.raises(ValueError, match="no sampled point"):
        reconstruct(fid, np.zeros(64, bool))
    with pytest.raises(ValueError, match="passes=0"):
        reconstruct(fid, schedule(), passes=0)


def test_parameters_out_of_range():
    with pytest.raises(ValueError, match="0 < decay < 1"):
        SPARSE(exponentials(), schedule(), decay=1.0)
    with pytest.raises(ValueError, match="threshold > 0"):
        LOW_RANK(exponentials(), schedule(), threshold=0.0)


def test_progress_bar_counts_rows_and_passes(capsys):
    LOW_RANK(exponentials(), schedule(), passes=3, progress=True)
    SPARSE(exponentials(), schedule(), passes=3, progress=True)
    shown = capsys.readouterr().err
    assert "LRHM" in shown and "18/18" in shown and "IST" in shown
