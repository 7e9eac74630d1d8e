"""Retrospective undersampling of a plane."""

from dataclasses import replace

import numpy as np
import pytest
from test_synthetic import small_system

from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.signals.methods import IST, as_method, fill_with_zeros
from ipads_stream.data.planes.plane import UnusableData
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation.tasks.signals import Signals
from ipads_stream.evaluation.tasks.signals.planes import draw_schedules, measured_test
from ipads_stream.report.figures import NETWORK

FILLED = as_method(fill_with_zeros)
PLANE = simulated_plane(0, num_peaks=12, num_direct=32, num_indirect=64)


def methods_of(model):
    methods = classical_methods(small_system())
    methods.pop("LRHM")
    return methods | Signals().network_methods(model)


@pytest.fixture(scope="module")
def perfect():
    methods = methods_of(lambda fid, mask: PLANE.fid)
    return measured_test(PLANE, methods, (0.25, 0.5), schedules=3, seed=1)


def test_schedules_have_the_rate_and_differ():
    masks = draw_schedules(64, 0.25, 4, seed=0)
    assert masks.sum(axis=1).tolist() == [16] * 4
    assert masks[:, 0].all()
    assert len({mask.tobytes() for mask in masks}) == 4
    assert np.array_equal(draw_schedules(64, 0.25, 2, seed=0), masks[:2])


@pytest.mark.slow
def test_numbers_are_complete(perfect):
    assert len(perfect.schedules) == 2 * 4 * 3
    assert len(perfect.rows) == 2 * 4
    for row in perfect.rows:
        own = [
            each["rlne"]
            for each in perfect.schedules
            if (each["rate"], each["method"]) == (row["rate"], row["method"])
        ]
        assert row["rlne"] == pytest.approx(np.mean(own))
        assert row["rlne_sd"] == pytest.approx(np.std(own, ddof=1))


def test_the_truth_wins_every_schedule(perfect):
    best = [row for row in perfect.rows if row["method"] == NETWORK]
    assert all(row["rlne"] == 0 and row["r"] == pytest.approx(1) for row in best)
    assert [pair["rlne_better"] for pair in perfect.pairs] == [3, 3]
    assert all(pair["rlne_difference"] < 0 for pair in perfect.pairs)


def test_a_model_that_does_nothing_loses_every_schedule():
    found = measured_test(PLANE, methods_of(fill_with_zeros), (0.4,), schedules=2)
    assert found.pairs[0]["rlne_better"] == 0
    by_name = {row["method"]: row["rlne"] for row in found.rows}
    assert by_name[IST] < by_name[NETWORK] == by_name["zero-filling"]


def test_methods_see_only_what_was_sampled():
    seen = []

    def spy(fid, mask):
        seen.append(not fid[~mask].any())
        return fid

    measured_test(PLANE, {NETWORK: as_method(spy)}, (0.3,), schedules=2)
    assert seen == [True, True]


def test_one_schedule_has_no_standard_deviation():
    found = measured_test(PLANE, {NETWORK: FILLED}, (0.3,), schedules=1)
    assert found.rows[0]["rlne_sd"] is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    fid = PLANE.fid.copy()
    fid[3, 4] = bad
    with pytest.raises(UnusableData, match="not finite"):
        measured_test(replace(PLANE, fid=fid), {NETWORK: FILLED}, (0.5,), schedules=1)


def test_an_unphased_plane_is_compared_by_magnitude():
    turned = replace(PLANE, fid=PLANE.fid * np.complex64(1j), is_phased=False)
    found = measured_test(
        turned, {NETWORK: as_method(lambda fid, mask: turned.fid)}, (0.5,), schedules=1
    )
    assert found.rows[0]["r"] == pytest.approx(1)
