"""Scores of quantities: against their definitions, their intervals, their pooling."""

import numpy as np
import pytest
from scipy import stats

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks.quantities.scores import (
    BOUND,
    SUMS,
    _blocks,
    of_sums,
    paired,
    sample_sums,
    scores,
)

T2 = Quantity(low=0.02, high=0.5, unit="ms", scale="log")
CHI = Quantity(low=-1.0, high=1.0, unit="ppm")


def comparison_of(truth, estimates, *, quantity=T2, mask=None, bounds=None):
    """Of one quantity "q"."""
    return Comparison(
        quantities={"q": quantity},
        truths={"q": truth},
        estimates={name: {"q": values} for name, values in estimates.items()},
        seconds=dict.fromkeys(estimates, 1e-3),
        mask=mask,
        bounds={} if bounds is None else {"q": bounds},
        sample=Sample(inputs={}, targets={}, params={}),
    )


def drawn(count=500, spread=0.1, seed=3):
    random = np.random.Generator(np.random.Philox(key=seed))
    truth = 0.02 * 25 ** random.random(count)
    return truth, truth * np.exp(spread * random.standard_normal(count)), random


def row_of(comparison, method="a"):
    return next(row for row in scores(comparison) if row["method"] == method)


@pytest.mark.parametrize("quantity", [T2, CHI])
def test_scores_are_those_of_the_definitions(quantity):
    x, y, random = drawn()
    if quantity is CHI:
        x, y = x - 0.2, 0.9 * (x - 0.2) + 0.02 * random.standard_normal(len(x))
    row = row_of(comparison_of(x, {"a": y}, quantity=quantity))
    unit = 1e-3 if quantity is T2 else 1.0
    error = y - x
    line = stats.linregress(x, y)
    expected = {
        "rmse": np.sqrt(np.mean(error**2)) / unit,
        "bias": error.mean() / unit,
        "mae": np.abs(error).mean() / unit,
        "nmse": (error**2).sum() / (x**2).sum(),
        "nrmse": np.linalg.norm(error) / np.linalg.norm(x),
        "r": np.corrcoef(x, y)[0, 1],
        "slope": line.slope,
        "intercept": line.intercept / unit,
        "missing": 0.0,
    }
    if quantity is T2:
        expected["log_rmse"] = np.sqrt(np.mean(np.log(y / x) ** 2))
    else:
        assert "log_rmse" not in row
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-8, abs=1e-12), name
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_maps_count_inside_the_mask_alone_and_pool_their_values():
    random = np.random.Generator(np.random.Philox(key=1))
    truth = 0.1 + random.random((4, 6, 5))
    mask = random.random((4, 6, 5)) < 0.4
    estimate = np.where(mask, truth + 0.03, -7.0)
    background = np.where(mask, truth, 0.0)
    row = row_of(comparison_of(background, {"a": estimate}, mask=mask))
    assert row["rmse"] == pytest.approx(30)
    assert row["values"] == mask.sum()
    assert row["missing"] == 0
    log = np.log(1 + 0.03 / truth[mask])
    assert row["log_rmse"] == pytest.approx(np.sqrt(np.mean(log**2)))


def test_what_a_method_did_not_find_is_told_and_counts_nowhere():
    x, y, _ = drawn()
    lost = y.copy()
    lost[:100], lost[100:125] = np.nan, -1.0  # no T2 is negative
    row = row_of(comparison_of(x, {"a": lost}))
    rest = row_of(comparison_of(x[125:], {"a": y[125:]}))
    assert row["missing"] == pytest.approx(0.25)
    for name in ("rmse", "log_rmse", "r", "slope"):
        assert row[name] == pytest.approx(rest[name])
    nothing = row_of(comparison_of(x, {"a": np.full_like(x, np.nan)}))
    assert nothing["missing"] == 1 and nothing["rmse"] is None and nothing["rmse_low"] is None


def test_negative_values_count_on_a_linear_scale():
    x = np.array([-0.2, 0.1, 0.3])
    row = row_of(comparison_of(x, {"a": x + 0.1}, quantity=CHI))
    assert row["missing"] == 0 and row["bias"] == pytest.approx(0.1)


@pytest.mark.parametrize("quantity", [T2, CHI])
def test_an_efficient_estimate_reaches_the_bound(quantity):
    x, _, random = drawn(4000)
    sd = 0.02 + 0.05 * random.random(len(x))  # of the logarithm, or of the value
    noise = sd * random.standard_normal(len(x))
    y = x * np.exp(noise) if quantity is T2 else x + noise
    bound = sd * x if quantity is T2 else sd
    comparison = comparison_of(x, {"a": y}, quantity=quantity, bounds=bound)
    row = row_of(comparison)
    assert row["bound_ratio"] == pytest.approx(1, abs=0.04)
    width = row["bound_ratio_high"] - row["bound_ratio_low"]
    assert width == pytest.approx(2 * 1.96 / np.sqrt(2 * len(x)), rel=0.15)
    of_bound = row_of(comparison, BOUND)
    key = "log_rmse" if quantity is T2 else "rmse"
    assert of_bound[key] == pytest.approx(np.sqrt(np.mean(sd**2)))
    assert of_bound["rmse"] == pytest.approx(
        np.sqrt(np.mean(bound**2)) / (1e-3 if quantity is T2 else 1)
    )


def test_the_bound_of_voxels_of_a_map_is_met_inside_the_mask():
    random = np.random.Generator(np.random.Philox(key=2))
    truth = 1 + random.random((3, 8, 8))
    mask = random.random(truth.shape) < 0.5
    sd = 0.1 * truth
    estimate = np.where(mask, truth + sd * random.choice([-1.0, 1.0], truth.shape), 99.0)
    comparison = comparison_of(truth, {"a": estimate}, quantity=CHI, mask=mask, bounds=sd)
    assert row_of(comparison)["bound_ratio"] == pytest.approx(1)
    assert row_of(comparison, BOUND)["values"] == mask.sum()


def test_scores_of_single_samples_are_those_of_each_by_itself():
    random = np.random.Generator(np.random.Philox(key=4))
    truth = 0.1 + random.random((3, 7, 7))
    estimate = truth * (1 + 0.1 * random.standard_normal(truth.shape))
    each = of_sums(sample_sums(comparison_of(truth, {"a": estimate}), "q", "a"))
    for n in range(3):
        alone = row_of(comparison_of(truth[n : n + 1], {"a": estimate[n : n + 1]}))
        for name in ("log_rmse", "r", "slope", "nrmse"):
            assert each[name][n] == pytest.approx(alone[name])


def test_a_constant_has_no_correlation():
    x, _, _ = drawn(50)
    row = row_of(comparison_of(x, {"a": np.full_like(x, 0.1)}))
    assert row["r"] is None and row["slope"] == pytest.approx(0, abs=1e-9)
    row = row_of(comparison_of(np.full_like(x, 0.1), {"a": x}))
    assert row["r"] is None and row["slope"] is None


def test_intervals_are_as_wide_as_other_samples_spread():
    found = [row_of(comparison_of(*_pair(drawn(400, seed=seed)))) for seed in range(30)]
    spread = np.std([row["log_rmse"] for row in found])
    widths = [(row["log_rmse_high"] - row["log_rmse_low"]) / (2 * 1.96) for row in found]
    assert np.mean(widths) == pytest.approx(spread, rel=0.25)
    covered = [row["log_rmse_low"] < 0.1 < row["log_rmse_high"] for row in found]
    assert np.mean(covered) > 0.85


def _pair(of):
    return of[0], {"a": of[1]}


def test_many_samples_are_resampled_in_groups_that_hold_them_all():
    sums = np.arange(10_001.0 * 2).reshape(-1, 2)
    grouped = _blocks(sums)
    assert len(grouped) == 2000
    np.testing.assert_allclose(grouped.sum(axis=0), sums.sum(axis=0))
    x, y, _ = drawn(9000)
    many, few = (row_of(comparison_of(x[:n], {"a": y[:n]})) for n in (9000, 1000))
    width = [row["log_rmse_high"] - row["log_rmse_low"] for row in (many, few)]
    assert width[1] / width[0] == pytest.approx(3, rel=0.25)


def test_a_paired_ratio_is_of_the_values_that_both_found():
    x, y, random = drawn(600)
    other = x * np.exp(0.2 * random.standard_normal(len(x)))
    other[:50] = np.nan
    comparison = comparison_of(x, {"a": y, "b": other})
    found = paired(comparison, "q", "a", "b", score="log_rmse")
    expected = np.linalg.norm(np.log(y / x)[50:]) / np.linalg.norm(np.log(other / x)[50:])
    assert found["ratio"] == pytest.approx(expected)
    assert found["low"] < found["ratio"] < found["high"] < 0.7
    same = paired(comparison, "q", "a", "a")
    assert (same["ratio"], same["low"], same["high"]) == (1, 1, 1)


def test_a_slow_method_is_compared_on_its_samples():
    x, y, _ = drawn(100)
    comparison = comparison_of(x, {"a": y, "b": y[:30] * 1.1})
    assert [row["is_partial"] for row in scores(comparison)] == [False, True]
    found = paired(comparison, "q", "a", "b")
    assert found["samples"] == 30


def test_sums_have_a_name_each():
    x, y, _ = drawn(5)
    assert sample_sums(comparison_of(x, {"a": y}), "q", "a").shape == (5, len(SUMS))
