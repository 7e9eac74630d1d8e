"""Sparse Bayesian learning of planes: what neighbours and mirror images add, and who decides."""

import numpy as np
import pytest

from ipads_stream.baselines.signals import iterative_soft_threshold, sparse_bayes
from ipads_stream.baselines.signals.sparse_bayes import reconstruct
from ipads_stream.evaluation.metrics import rlne

POINTS, ROWS = 64, 120
T = np.arange(POINTS)
HELD = (np.arange(POINTS) * 7) % 19 < 8  # 27 points without a period


def plane(pairs=2, spins=20, key=0, noise=1e-4):
    """Rows of a plane in which pairs of spins see each other, off the grid; places of the rows."""
    random = np.random.Generator(np.random.Philox(key=key))
    shift = (np.arange(spins) + 0.6 * random.random(spins)) / spins - 0.5
    places = (np.arange(ROWS) + 0.5) / ROWS - 0.5
    apart = (places[:, None] - shift + 0.5) % 1 - 0.5
    profile = np.exp(-0.5 * (apart * ROWS) ** 2)  # (rows, spins), two rows wide
    strength = np.diag(np.ones(spins)).astype(complex)
    for a in range(spins):
        for step in range(1, pairs + 1):
            b = (a + step * 3) % spins
            strength[a, b] = 0.02 ** random.random() * np.exp(2j * np.pi * random.random())
            strength[b, a] = strength[a, b]
    waves = np.exp((2j * np.pi * shift[:, None] - 1 / POINTS) * T)
    full = profile @ strength @ waves
    parts = random.standard_normal((2, ROWS, POINTS))
    return full + noise * (parts[0] + 1j * parts[1]), places


def sparse(count):
    """So many points of any."""
    order = np.random.Generator(np.random.Philox(key=9)).permutation(POINTS)
    return np.isin(T, order[:count])


def unrelated(key=1, rows=24):
    random = np.random.Generator(np.random.Philox(key=key))
    f, c = random.random((rows, 3, 1)), random.uniform(0.3, 1, (rows, 3, 1))
    phase = np.exp(2j * np.pi * random.random((rows, 3, 1)))
    return (c * phase * np.exp((2j * np.pi * f - 1 / POINTS) * T)).sum(axis=1)


def test_finds_lines_off_the_grid_that_soft_thresholding_misses():
    full = unrelated()
    found = rlne(reconstruct(np.where(HELD, full, 0), HELD), full)
    thresholded = rlne(iterative_soft_threshold.reconstruct(full, HELD, passes=300), full)
    assert found < 0.02 < 0.2 < thresholded


def test_neighbours_and_mirror_images_each_lower_the_error_of_crowded_rows():
    full, _ = plane(pairs=5, spins=30)
    mask = sparse(22)
    fid = np.where(mask, full, 0)
    some = range(0, ROWS, 4)
    alone = np.concatenate([reconstruct(fid[n : n + 1], mask) for n in some])
    together = reconstruct(fid, mask)[some]
    assert rlne(together, full[some]) < 0.8 * rlne(alone, full[some])
    full, places = plane(pairs=3)
    mask = sparse(17)
    fid = np.where(mask, full, 0)
    neighbours = rlne(reconstruct(fid, mask), full)
    assert rlne(reconstruct(fid, mask, row_frequency=places), full) < 0.6 * neighbours


def test_points_held_back_choose_what_is_shared_and_the_decay():
    def chosen(full, places=None, mask=HELD):
        scaled = full / np.sqrt((np.abs(full[:, mask]) ** 2).mean())
        both = np.broadcast_to(mask, full.shape)
        return sparse_bayes._chosen(np.where(mask, scaled, 0), both, places)

    assert chosen(unrelated())[0] is sparse_bayes._alone
    full, places = plane()
    assert chosen(full) == (sparse_bayes._with_neighbours, 1.0)
    crowded, _ = plane(pairs=3)
    share = chosen(crowded, places, sparse(17))[0]
    assert share not in (sparse_bayes._alone, sparse_bayes._with_neighbours)
    elsewhere = chosen(crowded, places + 0.23, sparse(17))[0]
    assert elsewhere is sparse_bayes._with_neighbours
    assert chosen(full * np.exp(-T / POINTS))[1] == 0.5


def test_held_back_points_are_not_those_that_are_unknown():
    """What is not measured changes neither the choice nor the result."""
    full, places = plane()
    truth = reconstruct(full, HELD, passes=5, row_frequency=places)
    spoiled = np.where(HELD, full, 1e3)
    np.testing.assert_array_equal(reconstruct(spoiled, HELD, 5, places), truth)
    np.testing.assert_array_equal(truth[:, HELD], full[:, HELD])


def test_scales_with_the_signal_and_keeps_zero_rows_and_precision():
    full, _ = plane()
    full[4] = 0
    found = reconstruct(np.where(HELD, full, 0), HELD, passes=10)
    scaled = reconstruct(np.where(HELD, 1e-5j * full, 0), HELD, passes=10)
    np.testing.assert_allclose(scaled, 1e-5j * found, atol=1e-5 * 1e-7 * np.abs(full).max())
    assert not found[4].any() and np.isfinite(found).all()
    single = full.astype(np.complex64)
    assert reconstruct(single, HELD, passes=2).dtype == np.complex64
    assert not reconstruct(np.zeros((3, POINTS), complex), HELD).any()


def test_rows_with_schedules_of_their_own_are_what_they_are_alone(monkeypatch):
    full = unrelated(rows=9)
    mask = np.stack([np.roll(HELD, n) | (n % 3 * 5 > T) for n in range(9)])
    assert len(set(mask.sum(axis=1))) > 1
    monkeypatch.setattr(sparse_bayes, "ROWS_AT_ONCE", 4)
    fid = np.where(mask, full, 0)
    learned = sparse_bayes._learned
    together = learned(fid, mask, sparse_bayes._alone, 1.0, 12)
    for n in range(9):
        each = learned(fid[n : n + 1], mask[n : n + 1], sparse_bayes._alone, 1.0, 12)
        np.testing.assert_allclose(together[n], each[0], atol=1e-6)


def test_batches_do_not_change_a_plane(monkeypatch):
    full, places = plane()
    found = reconstruct(full, HELD, 6, places)
    monkeypatch.setattr(sparse_bayes, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(reconstruct(full, HELD, 6, places), found, atol=1e-6)


@pytest.mark.parametrize("kind", ["passes", "frequencies", "mask"])
def test_refuses_what_does_not_fit(kind):
    full, places = plane()
    with pytest.raises(ValueError, match="allowed"):
        if kind == "passes":
            reconstruct(full, HELD, passes=0)
        elif kind == "frequencies":
            reconstruct(full, HELD, row_frequency=places[1:])
        else:
            reconstruct(full, HELD[1:])
