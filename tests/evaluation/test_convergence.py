"""How a refinement converges: against the closed form of one that has it."""

import numpy as np
import pytest
from test_refinement import signals

from ipads_stream.evaluation import convergence, network_figures
from ipads_stream.evaluation.convergence import course, quartiles
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.refinement import LowRank, Smooth
from ipads_stream.evaluation.simulated_plane import simulated_plane


def test_errors_follow_the_closed_form():
    """Gradient steps on |x - x_0|^2 + mu |(n / N) x|^2 shrink the distance by a factor per step."""
    full, mask, start = signals()
    mu, passes = 3.0, 50
    ramp = mu * (np.arange(64) / 64) ** 2
    found = course(
        lambda fid, mask: start, np.where(mask, full, 0), mask, full,
        solver=Smooth(passes=passes, strength=mu),
    )  # fmt: skip
    assert found.passes[0] == 0 and found.passes[-1] == passes
    assert found.changes.shape == found.residuals.shape == (passes, len(full))
    for stop, errors in zip(found.passes, found.errors, strict=True):
        left = (1 - (1 + ramp) / (1 + mu)) ** stop
        limit = start / (1 + ramp)
        expected = np.where(mask, full, limit + left * (start - limit))
        np.testing.assert_allclose(errors, rlne(expected, full, axis=-1), rtol=1e-9)


def test_the_window_and_the_sentence():
    full, mask, start = signals()
    fid = np.where(mask, full, 0)
    window = np.cos(np.linspace(0, 1.5, 64))
    found = course(lambda fid, mask: start, fid, mask, full, window=window)
    np.testing.assert_allclose(found.errors[0], rlne(window * start, window * full, axis=-1))
    refined = LowRank()(fid, mask, start)
    last = np.median(rlne(window * refined.estimate, window * full, axis=-1))
    assert (
        f"falls, from {np.median(found.errors[0]):.3f} of the network to {last:.3f}" in found.told()
    )
    np.testing.assert_array_equal(found.changes, refined.changes)
    perfect = course(lambda fid, mask: full, fid, mask, full)
    assert "does not fall, from 0.000" in perfect.told()


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
    path = network_figures.convergence_curves({"here": found, "there": found}, tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert found.summary()["rlne_median"][0] == pytest.approx(np.median(found.errors[0]))
