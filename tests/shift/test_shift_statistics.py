"""The statistics of the shift laboratory against definitions, other implementations, and truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ipads_stream import load_system
from ipads_stream.evaluation.statistics import holm, percentiles, sign_flip, student
from ipads_stream.evaluation.tasks.signals.scores import correlation_sums
from ipads_stream.shift.matrix import matrix
from ipads_stream.shift.report import conclusions
from ipads_stream.shift.scoring import METRICS, scoring_of
from ipads_stream.shift.statistics import ANY_SEED, Correlation, Median, Resamples, cell, compare

SCORING = scoring_of(load_system("dlnmr"))


def random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


@pytest.mark.parametrize("units", [1, 2, 7, 60])
def test_a_resampled_median_is_the_median_of_the_repeated_values(units):
    source = random(units)
    signals = np.sort(source.integers(5, size=units))
    pool = Median(source.normal(size=units), signals)
    counts = source.multinomial(5, [0.2] * 5, size=40)
    found = pool.resampled(counts)
    for row, value in zip(counts, found, strict=True):
        repeated = np.repeat(pool.values, row[signals])
        if repeated.size:
            assert value == np.median(repeated)
        else:
            assert np.isnan(value)


def test_a_resampled_correlation_is_that_of_the_repeated_pairs():
    source = random(1)
    pairs = [(source.normal(size=4), source.normal(size=4)) for _ in range(6)]
    pool = Correlation(np.array([correlation_sums(x, y) for x, y in pairs]))
    every = [np.concatenate(part) for part in zip(*pairs, strict=True)]
    assert pool.point() == pytest.approx(np.corrcoef(*every)[0, 1])
    counts = source.multinomial(6, [1 / 6] * 6, size=20)
    for row, value in zip(counts, pool.resampled(counts), strict=True):
        x, y = (np.concatenate([pair[k] for pair, n in zip(pairs, row, strict=True)
                                for _ in range(n)]) for k in (0, 1))  # fmt: skip
        assert value == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_the_sign_flip_test_is_that_of_another_implementation():
    values = random(2).normal(0.4, 1.0, size=7)
    other = stats.permutation_test(
        (values, np.zeros(7)), lambda a, b: np.mean(a - b), permutation_type="samples",
        n_resamples=np.inf,
    )  # fmt: skip
    assert sign_flip(values) == pytest.approx(other.pvalue)
    assert sign_flip(np.ones(5)) == 2 / 32  # the least that five pairs can give
    assert sign_flip(np.array([1.0, -1.0])) == 1.0
    assert sign_flip(random(3).normal(3.0, 1.0, size=40)) < 1e-3


def test_holm_is_that_of_its_definition():
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_students_interval():
    values = random(4).normal(size=9)
    other = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert student(values, 0.95) == pytest.approx((other.low, other.high))


def test_percentiles_leave_out_what_is_not_finite():
    assert percentiles(np.array([1.0, 2.0, 3.0, np.nan]), 0.5) == (1.5, 2.5)
    assert np.isnan(percentiles(np.array([np.inf]), 0.9)).all()


def pools(ratio: float, *, seeds: int, signals: int, key: int, noise: float) -> dict:
    """Errors with a part of each signal, one of each seed, and one of both."""
    common = random(0).lognormal(0.0, 0.3, size=signals)
    own = random(key)
    return {
        seed: Median(
            ratio * common * np.exp(0.05 * random(100 + seed).normal())
            * own.lognormal(0.0, noise, size=signals),
            np.arange(signals),
        )
        for seed in range(seeds)
    }  # fmt: skip


def compared(ratio: float, key: int, seeds: int = 5) -> dict:
    drawn = Resamples.drawn(seeds, 200, resamples=400, key=key)
    first = pools(ratio, seeds=seeds, signals=200, key=key, noise=0.05)
    second = pools(1.0, seeds=seeds, signals=200, key=key + 1, noise=0.05)
    one, two = (cell("", "I", "rlne", some, drawn) for some in (first, second))
    return compare(one, two, METRICS["rlne"], drawn, 0.95)


def test_a_paired_difference_is_found_though_seeds_differ_more():
    found = compared(0.93, key=10)  # seeds differ by 5 %, the arms by 7 %
    assert found["change"] == pytest.approx(-0.07, abs=0.02)
    assert found["low"] < -0.07 < found["high"] < 0
    assert found["low_bootstrap"] < -0.07 < found["high_bootstrap"] < 0
    assert found["p"] < 0.01 and found["p_signs"] == 0.0625 and found["pairs"] == 5


@pytest.mark.slow
def test_no_difference_is_found_where_there_is_none():
    p = np.array([compared(1.0, key=20 + 2 * k)["p"] for k in range(60)])
    covered = [compared(1.0, key=20 + 2 * k) for k in range(60)]
    assert (p < 0.05).mean() < 0.15  # 3 of 60 are to be expected, 9 happen once in a thousand
    assert np.mean([row["low"] < 0 < row["high"] for row in covered]) > 0.85


def test_a_method_that_is_not_trained_is_compared_with_every_seed():
    drawn = Resamples.drawn(3, 100, resamples=100)
    trained = cell("a", "I", "rlne", pools(1, seeds=3, signals=100, key=5, noise=0.1), drawn)
    fixed = pools(2.0, seeds=1, signals=100, key=6, noise=0.1)
    method = cell("IST", "I", "rlne", {ANY_SEED: fixed[0]}, drawn)
    found = compare(method, trained, METRICS["rlne"], drawn, 0.95)
    assert found["pairs"] == 3 and found["change"] == pytest.approx(1.0, abs=0.2)
    assert method.row(drawn, 0.95)["seeds"] == 0
    alone = compare(method, method, METRICS["rlne"], drawn, 0.95)
    assert alone["pairs"] == 0 and alone["p"] is None and alone["change"] == 0.0


def test_only_seeds_that_both_have_are_compared():
    drawn = Resamples.drawn(5, 50, resamples=50)
    every = pools(1.0, seeds=5, signals=50, key=7, noise=0.1)
    one = cell("a", "I", "rlne", {seed: every[seed] for seed in (0, 2, 3)}, drawn)
    two = cell("b", "I", "rlne", {seed: every[seed] for seed in (1, 2, 3, 4)}, drawn)
    found = compare(one, two, METRICS["rlne"], drawn, 0.95)
    assert found["change"] == 0.0  # the same networks
    assert len(one.by_seed) == 3 and one.sd == pytest.approx(np.std(
        [every[s].point() for s in (0, 2, 3)], ddof=1))  # fmt: skip


def scores(level: float, seed: int, signals: int = 60) -> dict:
    source = random(1000 * seed + int(100 * level))
    x = source.uniform(1, 2, size=(signals, 5))
    return {
        "rlne": level * source.lognormal(0, 0.1, size=signals),
        "peaks": level * source.lognormal(0, 0.1, size=(signals, 4)),
        "sums": np.array([correlation_sums(row, row + level) for row in x]),
        "thresholds": np.exp(-np.arange(1, 4) * level),
    }


def test_the_matrix_says_what_is_significant_and_what_is_not():
    amplitude = np.tile([0.1, 0.3, 0.9, 0.0], (60, 1))
    facts = {name: {"amplitude": amplitude, "rate": np.full(60, rate)}
             for name, rate in (("10 %", 0.1), ("20 %", 0.2), ("40 %", 0.4))}  # fmt: skip
    found = {
        "plain": {s: {t: scores(0.5, s) for t in facts} for s in range(6)},
        "better": {s: {t: scores(0.4, s) for t in facts} for s in range(6)},
        "IST": {ANY_SEED: {t: {k: v for k, v in scores(0.8, 9).items() if k != "thresholds"}
                           for t in facts}},
    }  # fmt: skip
    metrics = {name: METRICS[name] for name in ("low", "rlne", "r")}
    told = matrix(found, facts, scoring=SCORING, metrics=metrics, reference="plain",
                  resamples=200)  # fmt: skip
    verdicts = {(row["arm"], row["test"], row["metric"]): row["verdict"]
                for row in told.comparisons}  # fmt: skip
    assert verdicts["better", "10 %", "low"] == "better"
    assert verdicts["better", "10 %", "rlne"] == "better"
    assert verdicts["IST", "10 %", "rlne"] == "worse"
    assert verdicts["better", "10 %", "r"] == "not significant"  # shifted pairs correlate as well
    assert len(told.cells) == 3 * 3 * 3
    units = {(row["metric"], row["arm"]): row["units"] for row in told.cells}
    assert units["low", "plain"] == 60 and units["rlne", "plain"] == 60
    # Amplitudes vary within a test, rates only between the tests.
    assert set(told.curves["amplitude"]) == set(facts)
    assert list(told.curves["rate"]) == ["all tests"]
    assert told.curves["rate"]["all tests"][0].x.tolist() == [0.1, 0.2, 0.4]
    assert "snr" not in told.curves
    trends = {row["arm"]: row for row in told.trends}
    assert trends["plain"]["phase_change"] == pytest.approx(np.exp(-1.0) - 1)
    assert trends["plain"]["rate_change"] == pytest.approx(0.0)
    assert "IST" not in trends


@pytest.mark.parametrize("seeds", [2, 4, 5])
def test_few_seeds_give_no_verdict(seeds):
    """Two pairs can have p = .002 by the t test, where their signs tell nothing (p = .5)."""
    facts = {"I": {"amplitude": np.tile([0.1, 0.3, 0.9, 0.0], (60, 1)), "rate": np.full(60, 0.25)}}
    outcomes = {
        "plain": {s: {"I": scores(0.5, s)} for s in range(seeds)},
        "better": {s: {"I": scores(0.4, s)} for s in range(seeds)},
    }
    metrics = {"rlne": METRICS["rlne"]}
    (row,) = matrix(outcomes, facts, scoring=SCORING, metrics=metrics, reference="plain",
                    resamples=200).comparisons  # fmt: skip
    (sentence,) = conclusions([row], metrics)
    assert row["change"] < -0.1
    if seeds < 5:
        assert row["p_signs"] > 0.05
        assert row["verdict"] == "no verdict below 5 seeds"
        assert "better" not in sentence.partition(":")[2]
        assert sentence.endswith(f"({seeds} seeds: no verdict below 5 seeds).")
    else:
        assert row["verdict"] == "better" and "RLNE on I: better, -" in sentence
