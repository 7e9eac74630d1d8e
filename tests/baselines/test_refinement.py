"""Solvers that start from an estimate: what they reach, keep and record."""

import numpy as np
import pytest

from ipads_stream.baselines.signals.refinement import LowRank
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks.signals import REFINED, Signals
from ipads_stream.report.figures import NETWORK

solver = LowRank(passes=12)


def signals(rows=5, points=64, lines=3, key=0):
    random = np.random.Generator(np.random.Philox(key=key))
    t = np.arange(points)
    f, phase = random.uniform(0, 1, (2, rows, lines, 1))
    decay = 1 / random.uniform(15, 60, (rows, lines, 1))
    amplitude = random.uniform(0.1, 1, (rows, lines, 1))
    full = (amplitude * np.exp(2j * np.pi * (f * t + phase) - decay * t)).sum(axis=1)
    mask = random.random((rows, points)) < 0.4
    mask[:, 0] = True
    ripple = 0.05 * np.abs(full).max() * (random.normal(size=(2, rows, points)) * 0.7)
    start = np.where(mask, full, full + ripple[0] + 1j * ripple[1])
    return full, mask, start


def test_low_rank_recovers_few_exponentials_from_a_rough_start():
    full, mask, start = signals()
    found = LowRank()(np.where(mask, full, 0), mask, start)
    assert np.median(rlne(start, full, axis=1)) > 0.05
    assert np.median(rlne(found.estimate, full, axis=1)) < 1e-3


def test_the_number_of_exponentials_is_found():
    for lines in (1, 6):
        full, mask, start = signals(lines=lines)
        found = LowRank()(np.where(mask, full, 0), mask, start)
        hankel = np.lib.stride_tricks.sliding_window_view(found.estimate, 33, axis=-1)
        values = np.linalg.svd(hankel, compute_uv=False)
        assert np.median((values > 0.01 * values[:, :1]).sum(axis=1)) == lines


def test_convergence_is_recorded():
    full, mask, start = signals()
    found = LowRank(passes=60)(np.where(mask, full, 0), mask, start)
    assert found.changes.shape == found.residuals.shape == (60, 5)
    assert (found.changes[-1] < 0.05 * found.changes[:5].max(axis=0)).all()
    assert (found.residuals[-1] < 0.1 * found.residuals[0]).all()
    shorter = LowRank(passes=20)(np.where(mask, full, 0), mask, start)
    np.testing.assert_allclose(shorter.changes, found.changes[:20], rtol=1e-9)


def test_noise_stops_the_threshold():
    full, mask, start = signals()
    random = np.random.Generator(np.random.Philox(key=9))
    noise = random.normal(size=(2, *full.shape)) * 0.03 * np.abs(full).max()
    noisy = np.where(mask, full + noise[0] + 1j * noise[1], 0)
    residual = LowRank(passes=40)(noisy, mask, np.where(mask, noisy, start)).residuals[-1]
    clean = LowRank(passes=40)(np.where(mask, full, 0), mask, start).residuals[-1]
    size = np.linalg.norm(np.where(mask, noise[0] + 1j * noise[1], 0), axis=1)
    level = size / np.linalg.norm(noisy, axis=1)
    assert (residual > 0.2 * level).all()  # the noise is not fitted
    assert (clean < 0.1 * level).all()


def test_rows_of_noise_stay_as_they_are_and_signals_do_not():
    full, mask, start = signals()
    random = np.random.Generator(np.random.Philox(key=11))
    parts = random.normal(size=(2, *full.shape))
    noise = parts[0] + 1j * parts[1]
    fid, begin = np.where(mask, noise, 0), np.where(mask, noise, 0.1 * noise)
    moved = rlne(LowRank()(fid, mask, begin).estimate, begin, axis=1)
    away = rlne(LowRank()(np.where(mask, full, 0), mask, start).estimate, start, axis=1)
    error = rlne(full, start, axis=1)
    assert np.median(away / error) > 0.9  # the whole way
    assert np.median(moved) < 0.25


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_keeps_samples_zero_rows_precision_and_input(dtype):
    full, mask, start = (a.astype(dtype) if a.dtype != bool else a for a in signals())
    full[2] = start[2] = 0
    before = full.copy(), start.copy()
    found = solver(full, mask, start)
    assert found.estimate.dtype == dtype
    np.testing.assert_array_equal(found.estimate[mask], full[mask])
    np.testing.assert_array_equal(full, before[0])
    np.testing.assert_array_equal(start, before[1])
    assert not found.estimate[2].any() and np.isfinite(found.estimate).all()
    assert np.isfinite(found.changes).all() and not found.changes[:, 2].any()


def test_rows_are_independent_and_scale():
    full, mask, start = signals(rows=70)  # more than one batch
    together = solver(full, mask, start)
    for row in (0, 69):
        alone = solver(full[row : row + 1], mask[row : row + 1], start[row : row + 1])
        np.testing.assert_allclose(alone.estimate[0], together.estimate[row], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(alone.changes[:, 0], together.changes[:, row], rtol=1e-5)
    scaled = solver(1e-5j * full, mask, 1e-5j * start)
    np.testing.assert_allclose(scaled.estimate, 1e-5j * together.estimate, rtol=1e-6, atol=1e-13)


def test_hidden_values_are_not_used():
    full, mask, start = signals()
    spoiled = np.where(mask, full, 1e6)
    found = solver(spoiled, mask, np.where(mask, -1e6, start))
    np.testing.assert_array_equal(found.estimate, solver(full, mask, start).estimate)


def test_full_sampling_and_no_row():
    full, mask, start = signals()
    np.testing.assert_array_equal(solver(full, np.ones(64, bool), start).estimate, full)
    empty = np.zeros((0, 16), np.complex64)
    assert solver(empty, mask[0, :16], empty).estimate.shape == (0, 16)


def test_as_a_method_beside_the_network():
    full, mask, start = signals()
    methods = Signals().network_methods(lambda fid, mask: start)
    inputs = {"fid": np.where(mask, full, 0), "mask": np.broadcast_to(mask, full.shape)}
    estimates = {name: method(inputs)["fid"] for name, method in methods.items()}
    errors = {name: rlne(estimate, full) for name, estimate in estimates.items()}
    assert errors[REFINED] < 0.2 * errors[NETWORK]


def test_errors_name_what_is_allowed():
    full, mask, start = signals()
    with pytest.raises(ValueError, match=r"start.*allowed: equal"):
        LowRank()(full, mask, start[:3])
    with pytest.raises(ValueError, match="relaxation=2"):
        LowRank(relaxation=2.0)
    with pytest.raises(ValueError, match="decay=1"):
        LowRank(decay=1.0)
