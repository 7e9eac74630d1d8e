"""The synthetic test: its numbers, its records, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.signals.methods import as_method, fill_with_zeros
from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions import DiscreteUniform, Uniform
from ipads_stream.evaluation.comparison import compare, rows_of
from ipads_stream.evaluation.evaluate import records
from ipads_stream.evaluation.tasks import task_of
from ipads_stream.evaluation.tasks.signals import Signals
from ipads_stream.evaluation.tasks.signals.scores import at_rate, peak_intensities
from ipads_stream.report.figures import NETWORK
from ipads_stream.stream.replay import replay
from ipads_stream.systems.dlnmr import DLNMR

TASK = Signals()
FILLED = as_method(fill_with_zeros)


def small_system(points=48):
    return DLNMR(
        num_peaks=DiscreteUniform(low=1, high=4),
        amplitude=Uniform(low=0.2, high=1.0),
        frequency=Uniform(low=0.05, high=0.95),
        phase=0.0,
        decay=Uniform(low=10, high=60),
        rate=Uniform(low=0.2, high=0.5),
        points=points,
    )


def compared(system, methods, rates, **options):
    """Condition and comparison at every rate."""
    conditions = [at_rate(system, rate) for rate in rates]
    return [(each, compare(each.system, methods, **options)) for each in conditions]


@pytest.fixture(scope="module")
def test():
    methods = {"zero-filling": FILLED, NETWORK: as_method(lambda fid, mask: fid)}
    return compared(small_system(), methods, (0.25, 0.5), samples=12, seed=5)


def test_a_row_per_rate_and_method(test):
    assert [(row["rate"], row["method"]) for row in rows_of(TASK, test)] == [
        (0.25, "zero-filling"), (0.25, NETWORK), (0.5, "zero-filling"), (0.5, NETWORK),
    ]  # fmt: skip
    for row in rows_of(TASK, test):
        assert row["rlne_low"] <= row["rlne_median"] <= row["rlne_high"]
        assert row["r_low"] <= row["r"] <= row["r_high"]
        assert row["r2"] == pytest.approx(row["r"] ** 2)
        assert row["signals"] == 12


def test_more_points_leave_less_error(test):
    errors = {row["rate"]: row["rlne_median"] for row in rows_of(TASK, test)}
    assert errors[0.5] < errors[0.25]


def test_sampling_is_at_the_rate_asked_for(test):
    for condition, comparison in test:
        points = round(48 * condition.labels["rate"])
        assert comparison.inputs["mask"].sum(axis=1).tolist() == [points] * 12


def test_the_truth_has_no_error():
    system = dataclasses.replace(small_system(), rate=1.0)
    (row,) = rows_of(TASK, compared(system, {NETWORK: FILLED}, (1.0,), samples=6, seed=0))
    assert row["rlne_median"] < 1e-6
    assert row["r"] == pytest.approx(1.0, abs=1e-6)


def test_pooled_correlation_is_that_of_all_peaks_together(test):
    estimates, truths = test[0][1].estimates[NETWORK], test[0][1].truths
    pairs = [
        peak_intensities(e, t)
        for e, t in zip(estimates["spectrum"], truths["spectrum"], strict=True)
    ]
    x, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
    row = next(r for r in rows_of(TASK, test) if (r["rate"], r["method"]) == (0.25, NETWORK))
    assert row["peaks"] == x.size
    assert row["r"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_records_are_replayable_with_their_rate(test):
    lines = records(TASK, test)
    for record in (lines[0], lines[-1]):
        system = dataclasses.replace(small_system(), rate=record["rate"])
        replay(system, record)  # raises unless the digest agrees
        assert set(record["errors"]) == {"zero-filling", NETWORK}
        assert record["split"] == "test"


def test_slow_methods_may_see_fewer_signals_and_say_so():
    system = small_system()
    test = compared(system, classical_methods(system), (0.4,), samples=6, seed=0, fewer={"LRHM": 2})
    by_name = {row["method"]: row for row in rows_of(TASK, test)}
    assert (by_name["LRHM"]["signals"], by_name["LRHM"]["is_partial"]) == (2, True)
    assert (by_name["IST"]["signals"], by_name["IST"]["is_partial"]) == (6, False)
    lines = records(TASK, test)
    assert [("LRHM" in record["errors"]) for record in lines] == [True] * 2 + [False] * 4


def test_a_system_without_a_rate_is_refused():
    class Other:
        name, task = "other", "signals"

        def draw(self, keys, progress): ...

        def render(self, params, keys, xp): ...

    with pytest.raises(ConfigError, match="undersampled"):
        task_of(Other())
