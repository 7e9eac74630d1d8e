"""Scores of fixed arrays are those that were computed before tasks had one evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_quantification_scores import T2, comparison_of
from test_synthetic import compared, small_system

from ipads_stream.baselines import classical_methods
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation.comparison import rows_of
from ipads_stream.evaluation.evaluate import records
from ipads_stream.evaluation.tasks.quantities.scores import paired, scores
from ipads_stream.evaluation.tasks.signals import Signals
from ipads_stream.evaluation.tasks.signals.planes import Region, measured_test

BEFORE = json.loads(Path(__file__).with_name("scores_before.json").read_text())


@pytest.fixture(scope="module")
def methods():
    network = Signals().network_methods(lambda fid, mask: np.where(mask, fid, 0) * 0.9 + 0j)
    return classical_methods(small_system()) | network


def same(rows, before):
    """Rows without their times are those of before: sums of BLAS follow the processor's order."""
    kept = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]
    told = json.loads(json.dumps(kept))
    assert numbers_of(told)[0] == numbers_of(before)[0]
    np.testing.assert_allclose(numbers_of(told)[1], numbers_of(before)[1], rtol=1e-9, atol=1e-12)


def numbers_of(rows):
    """Rows with a word in the place of each fraction, and the fractions."""
    fractions = []

    def worded(value):
        if isinstance(value, dict):
            return {name: worded(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [worded(inner) for inner in value]
        if isinstance(value, float):
            fractions.append(value)
            return "fraction"
        return value

    return worded(rows), fractions


def test_quantities():
    random = np.random.Generator(np.random.Philox(key=11))
    truth = 0.02 * 25 ** random.random((40, 3, 2))
    network, fit = (truth * np.exp(s * random.standard_normal(truth.shape)) for s in (0.1, 0.2))
    fit[3, 1, 0], network[5] = np.nan, -1
    comparison = comparison_of(
        truth,
        {"network": network, "fit": fit[:30]},
        quantity=T2,
        mask=random.random(truth.shape) < 0.8,
        bounds=0.1 * truth.mean(axis=(1, 2)),
    )
    same(scores(comparison), BEFORE["scores"])
    same([paired(comparison, "q", "network", "fit", score="log_rmse")], [BEFORE["paired"]])


def test_signals(methods):
    test = compared(small_system(), methods, (0.25, 0.5), samples=12, seed=5, fewer={"LRHM": 4})
    same(rows_of(Signals(), test), BEFORE["signals"])
    assert [line["digest"] for line in records(Signals(), test)][:3] == BEFORE["records"]


def test_planes(methods):
    plane = simulated_plane(0, num_peaks=8, num_direct=24, num_indirect=48)
    regions = [Region(), Region("some", slice(4, 16), 0.05)]
    test = measured_test(plane, methods, (0.3,), schedules=2, regions=regions, seed=3)
    same(test.rows, BEFORE["plane"])
    same(test.schedules, BEFORE["schedules"])
    same(test.pairs, BEFORE["pairs"])
