"""How a refinement converges: against the closed form of one that has it."""

import numpy as np
import pytest
from test_refinement import signals

from ipads_stream.baselines.signals.refinement import LowRank
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks.signals import convergence
from ipads_stream.evaluation.tasks.signals.convergence import course, quartiles


def test_errors_are_those_of_a_solver_that_stops_there():
    full, mask, start = signals()
    fid, solver = np.where(mask, full, 0), LowRank(passes=20)
    found = course(lambda fid, mask: start, fid, mask, full, solver=solver)
    assert found.passes[0] == 0 and found.passes[-1] == 20
    assert found.changes.shape == found.residuals.shape == (20, len(full))
    for stop, errors in zip(found.passes[1:], found.errors[1:], strict=True):
        estimate = LowRank(passes=stop)(fid, mask, start).estimate
        np.testing.assert_array_equal(errors, rlne(estimate, full, axis=-1))


def test_the_window_and_the_sentence():
    full, mask, start = signals()
    fid = np.where(mask, full, 0)
    window = np.cos(np.linspace(0, 1.5, 64))
    found = course(lambda fid, mask: start, fid, mask, full, window=window)
    np.testing.assert_allclose(found.errors[0], rlne(window * start, window * full, axis=-1))
    refined = LowRank()(fid, mask, start)
    last = np.median(rlne(window * refined.estimate, window * full, axis=-1))
    assert (
        f"falls, from {np.median(found.errors[0]):.3f} of the network to {last:.3f}"
        in found.sentence()
    )
    np.testing.assert_array_equal(found.changes, refined.changes)
    perfect = course(lambda fid, mask: full, fid, mask, full)
    assert "does not fall, from 0.000" in perfect.sentence()


def test_signals_that_are_zero_are_left_out():
    full, mask, start = signals()
    full[1] = start[1] = 0
    found = course(lambda fid, mask: start, np.where(mask, full, 0), mask, full)
    others = course(lambda fid, mask: start[[0, 2, 3, 4]], np.where(mask, full, 0)[[0, 2, 3, 4]],
                    mask[[0, 2, 3, 4]], full[[0, 2, 3, 4]])  # fmt: skip
    assert np.isnan(found.errors[:, 1]).all()
    summary = found.summary()
    np.testing.assert_allclose(summary["rlne_median"], others.summary()["rlne_median"])
    assert quartiles(np.full((2, 3), np.nan))[0].shape == (2,)


def test_the_strongest_rows_of_a_plane_are_followed(monkeypatch, tmp_path):
    monkeypatch.setattr(convergence, "MOST", 6)
    plane = simulated_plane(0, num_peaks=8, num_direct=24, num_indirect=48)
    mask = np.arange(48) % 2 == 0
    seen = []

    def model(fid, mask):
        seen.append(fid)
        return np.where(mask, fid, 0)

    found = convergence.on_plane(model, plane, slice(4, 20), mask)
    heights = np.abs(np.fft.fft(plane.window * plane.fid, axis=1)).max(axis=1)
    wanted = 4 + np.sort(np.argsort(-heights[4:20])[:6])
    np.testing.assert_array_equal(seen[0], np.where(mask, plane.fid[wanted], 0))
    path = convergence.convergence_curves(
        {"here": found, "there": found}, tmp_path / "x.png", name="refined"
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    assert found.summary()["rlne_median"][0] == pytest.approx(np.median(found.errors[0]))
