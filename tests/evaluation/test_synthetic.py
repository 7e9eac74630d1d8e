"""The synthetic test: its numbers, its records, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions import DiscreteUniform, Uniform
from ipads_stream.evaluation.methods import NETWORK, fill_with_zeros, reconstruction_methods
from ipads_stream.evaluation.synthetic import peak_intensities, synthetic_test
from ipads_stream.stream.replay import replay
from ipads_stream.systems.dlnmr import DLNMR


def small_system():
    return DLNMR(
        num_peaks=DiscreteUniform(low=1, high=4),
        amplitude=Uniform(low=0.2, high=1.0),
        frequency=Uniform(low=0.05, high=0.95),
        phase=0.0,
        decay=Uniform(low=10, high=60),
        rate=Uniform(low=0.2, high=0.5),
        points=48,
    )


@pytest.fixture(scope="module")
def test():
    methods = {"zero-filling": fill_with_zeros, NETWORK: lambda fid, mask: fid}
    return synthetic_test(small_system(), methods, (0.25, 0.5), samples=12, seed=5)


def test_a_row_per_rate_and_method(test):
    assert [(row["rate"], row["method"]) for row in test.rows] == [
        (0.25, "zero-filling"), (0.25, NETWORK), (0.5, "zero-filling"), (0.5, NETWORK),
    ]  # fmt: skip
    for row in test.rows:
        assert row["rlne_low"] <= row["rlne_median"] <= row["rlne_high"]
        assert row["r_low"] <= row["r"] <= row["r_high"]
        assert row["r2"] == pytest.approx(row["r"] ** 2)
        assert row["signals"] == 12


def test_more_points_leave_less_error(test):
    errors = {row["rate"]: row["rlne_median"] for row in test.rows}
    assert errors[0.5] < errors[0.25]


def test_sampling_is_at_the_rate_asked_for(test):
    for rate, sample in test.samples.items():
        assert sample.inputs["mask"].numpy().sum(axis=1).tolist() == [round(48 * rate)] * 12


def test_the_truth_has_no_error():
    system = dataclasses.replace(small_system(), rate=1.0)
    found = synthetic_test(system, {NETWORK: fill_with_zeros}, (1.0,), samples=6)
    row = found.rows[0]
    assert row["rlne_median"] < 1e-6
    assert row["r"] == pytest.approx(1.0, abs=1e-6)


def test_pooled_correlation_is_that_of_all_peaks_together(test):
    target = test.samples[0.25].targets["spectrum"].numpy()
    pairs = [
        peak_intensities(e, t) for e, t in zip(test.estimates[0.25][NETWORK], target, strict=True)
    ]
    x, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
    row = next(r for r in test.rows if (r["rate"], r["method"]) == (0.25, NETWORK))
    assert row["peaks"] == x.size
    assert row["r"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_records_are_replayable_with_their_rate(test):
    for record in (test.records[0], test.records[-1]):
        system = dataclasses.replace(small_system(), rate=record["rate"])
        replay(system, record)  # raises unless the digest agrees
        assert set(record["rlne"]) == {"zero-filling", NETWORK}
        assert record["split"] == "test"


def test_slow_methods_may_see_fewer_signals_and_say_so():
    methods = reconstruction_methods(fill_with_zeros)
    found = synthetic_test(small_system(), methods, (0.4,), samples=6, fewer={"LRHM": 2})
    by_name = {row["method"]: row for row in found.rows}
    assert (by_name["LRHM"]["signals"], by_name["LRHM"]["is_partial"]) == (2, True)
    assert (by_name["IST"]["signals"], by_name["IST"]["is_partial"]) == (6, False)
    assert [("LRHM" in record["rlne"]) for record in found.records] == [True] * 2 + [False] * 4


def test_a_system_without_a_rate_is_refused():
    class Other:
        name = "other"

        def draw(self, keys, progress): ...

        def render(self, params, keys, xp): ...

    with pytest.raises(ConfigError, match="undersampled"):
        synthetic_test(Other(), {NETWORK: fill_with_zeros}, (0.5,), samples=2)
