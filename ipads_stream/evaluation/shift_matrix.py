"""What a shift study found: the matrix of arms and tests, comparisons, curves, thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.evaluation.shift_figures import Curve, binned
from ipads_stream.evaluation.shift_scores import METRICS, Scores
from ipads_stream.evaluation.shift_statistics import (
    ANY_SEED,
    Cell,
    Resamples,
    cell,
    compare,
    holm,
    student,
)

BINS = 8
Found = Mapping[str, Mapping[int, Mapping[str, Scores]]]  # arm -> seed -> test -> scores


@dataclass(frozen=True)
class Matrix:
    """Numbers of a study, plain, in the order of the configuration.

    Attributes:
        cells: one row per arm, test and metric (see ``Cell.row``).
        comparisons: of every arm with the reference, per test and metric, with "p_holm" (for
            all arms on that test by that metric) and "verdict" (better, worse, not significant).
        curves: parameter -> test -> curve of every arm.
        thresholds: one row per arm and test: mean threshold of each phase; empty without any.
        trends: per arm with thresholds: how they change from the first phase to the last, and from
            the sparsest test to the densest.
    """

    cells: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    curves: dict[str, dict[str, list[Curve]]]
    thresholds: list[dict[str, Any]]
    trends: list[dict[str, Any]]


def matrix(
    found: Found,
    facts: Mapping[str, Scores],
    *,
    metrics: Sequence[str],
    reference: str,
    level: float = 0.95,
    resamples: int = 1000,
) -> Matrix:
    """All numbers of a study.

    Args:
        found: arm -> seed -> test -> scores; of a method that is not trained, under ``ANY_SEED``.
        facts: test -> drawn parameters, equal for all arms.
        metrics: names of ``METRICS``.
        reference: arm that the others are compared with.
        level: of intervals; 1 - level is that of the tests.
        resamples: of the bootstrap.
    """
    rows, comparisons = [], []
    for metric, test in itertools.product(metrics, facts):
        cells, drawn = _cells(found, facts, test, metric, resamples)
        rows += [one.row(drawn, level) for one in cells.values()]
        against = cells.get(reference)
        compared = [
            compare(one, against, METRICS[metric], drawn, level)
            for arm, one in cells.items()
            if against is not None and arm != reference
        ]
        adjusted = holm([row["p"] for row in compared])
        for row, p in zip(compared, adjusted, strict=True):
            verdict = _verdict(row, p, 1 - level, is_error=METRICS[metric].is_error)
            comparisons.append(row | {"p_holm": p, "verdict": verdict})
    curves = {name: _curves(name, found, facts) for name in ("amplitude", "rate", "snr")}
    thresholds, trends = _thresholds(found, facts, level)
    kept = {name: some for name, some in curves.items() if some}
    return Matrix(rows, comparisons, kept, thresholds, trends)


def _verdict(row: Mapping[str, Any], p: float | None, alpha: float, *, is_error: bool) -> str:
    """A difference is found where both the seeds and the signals tell it."""
    low, high = row["low_bootstrap"], row["high_bootstrap"]
    is_told = low is not None and high is not None and low * high > 0
    if p is None or p >= alpha or not is_told:
        return "not significant"
    return "better" if (row["change"] < 0) == is_error else "worse"


def _cells(
    found: Found, facts: Mapping[str, Scores], test: str, metric: str, resamples: int
) -> tuple[dict[str, Cell], Resamples]:
    pools: dict[str, dict[int, Any]] = {}
    num_signals = 1
    for arm, by_seed in found.items():
        for seed, by_test in by_seed.items():
            if test not in by_test:
                continue
            num_signals = max(num_signals, len(by_test[test]["rlne"]))
            pool = METRICS[metric].pool(by_test[test], facts[test])
            if pool is not None:
                pools.setdefault(arm, {})[seed] = pool
    num_seeds = max((len(by_seed) for by_seed in pools.values()), default=1)
    drawn = Resamples.drawn(num_seeds, num_signals, resamples=resamples)
    return {arm: cell(arm, test, metric, some, drawn) for arm, some in pools.items()}, drawn


# Curves


def _curves(name: str, found: Found, facts: Mapping[str, Scores]) -> dict[str, list[Curve]]:
    """Errors against a parameter: in bins where it varies within a test, else across the tests."""
    # A measured plane, of one rate and unknown peaks, is not a point of the same curve.
    varied = {test: v for test, v in facts.items() if name in v and v[name].size > 1}
    inside = {
        test: values
        for test, values in varied.items()
        if np.ptp(_present(values[name])) > 1.5 * _step(name)
    }
    if inside:
        return {test: _binned(name, test, found, facts) for test in inside}
    levels = {test: float(np.median(_present(values[name]))) for test, values in varied.items()}
    if len(set(levels.values())) < 3:
        return {}
    order = sorted(levels, key=lambda test: levels[test])
    curves = []
    for arm, by_seed in found.items():
        values = [
            [_middle(by_test[test], facts[test]) if test in by_test else np.nan for test in order]
            for by_test in by_seed.values()
        ]
        if values:
            curves.append(Curve(arm, np.array([levels[t] for t in order]), np.array(values)))
    return {"all tests": curves}


def _step(name: str) -> float:
    """Rates of a fixed number of points differ by rounding only."""
    return 0.01 if name == "rate" else 0.0


def _present(values: np.ndarray) -> np.ndarray:
    return values[values > 0] if (values > 0).any() else np.ones(1)


def _middle(scores: Scores, facts: Scores) -> float:
    pool = METRICS["rlne"].pool(scores, facts)
    return np.nan if pool is None else pool.point()


def _binned(name: str, test: str, found: Found, facts: Mapping[str, Scores]) -> list[Curve]:
    values = facts[test][name]
    present = _present(values)
    edges = np.quantile(present, np.linspace(0, 1, BINS + 1))
    x = np.array(
        [np.median(present[(present >= a) & (present <= b)])
         for a, b in itertools.pairwise(edges)]
    )  # fmt: skip
    curves = []
    for arm, by_seed in found.items():
        rows = []
        for by_test in by_seed.values():
            errors = by_test.get(test, {}).get("peaks" if name == "amplitude" else "rlne")
            if errors is None:
                continue
            mine = values[: len(errors)]
            at = np.isfinite(errors) & (mine > 0)
            rows.append(binned(mine[at], errors[at].astype(np.float64), edges))
        if rows:
            curves.append(Curve(arm, x, np.array(rows)))
    return curves


# Thresholds


def _thresholds(
    found: Found, facts: Mapping[str, Scores], level: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows, trends = [], []
    for arm, by_seed in found.items():
        by_test: dict[str, dict[int, np.ndarray]] = {}
        for seed, tests in by_seed.items():
            for test, scores in tests.items():
                if "thresholds" in scores and seed != ANY_SEED:
                    by_test.setdefault(test, {})[seed] = scores["thresholds"]
        for test, values in by_test.items():
            of_seeds = np.stack(list(values.values()))
            rows.append(
                {"arm": arm, "test": test, "rate": float(np.median(facts[test]["rate"]))}
                | {f"phase {k + 1}": float(mean) for k, mean in enumerate(of_seeds.mean(axis=0))}
            )
        if by_test:
            trends.append({"arm": arm, **_trend(by_test, facts, level)})
    return rows, trends


def _trend(
    by_test: Mapping[str, Mapping[int, np.ndarray]], facts: Mapping[str, Scores], level: float
) -> dict[str, Any]:
    """Relative change over the phases (mean of tests) and over the rates (mean of phases)."""
    order = sorted(by_test, key=lambda test: float(np.median(facts[test]["rate"])))
    seeds = [seed for seed in by_test[order[0]] if all(seed in by_test[test] for test in order)]
    logs = np.log(np.array([[by_test[test][seed] for test in order] for seed in seeds]))
    changes = {
        "phase": logs[:, :, -1].mean(axis=1) - logs[:, :, 0].mean(axis=1),
        "rate": logs[:, -1].mean(axis=1) - logs[:, 0].mean(axis=1),
    }
    told: dict[str, Any] = {"seeds": len(seeds), "sparsest": order[0], "densest": order[-1]}
    for name, values in changes.items():
        told[f"{name}_change"] = float(np.expm1(values.mean()))
        ends: tuple[float | None, float | None] = (None, None)
        if len(values) > 1:
            low, high = student(values, level)
            ends = float(np.expm1(low)), float(np.expm1(high))
        told[f"{name}_low"], told[f"{name}_high"] = ends
    return told
