"""The numbers of a shift study: arms by tests, comparisons, curves, learned thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.evaluation.statistics import holm, student
from ipads_stream.shift import statistics
from ipads_stream.shift.figures import Curve, binned
from ipads_stream.shift.scoring import TaskScoring
from ipads_stream.shift.statistics import ANY_SEED, FEW, Cell, Metric, Parameter, Resamples, Scores

BINS = 8
THRESHOLDS = "thresholds"  # of a network, by phase: scores that are not of samples
Outcomes = Mapping[str, Mapping[int, Mapping[str, Scores]]]  # arm -> seed -> test -> scores
NOT_SIGNIFICANT, NO_VERDICT = "not significant", f"no verdict below {FEW} seeds"


@dataclass(frozen=True)
class Matrix:
    """Numbers of a study, plain, in the order of the configuration.

    Attributes:
        cells: one row per arm, test and metric (see ``Cell.row``).
        comparisons: of every arm with the reference, per test and metric, with "p_holm" (for
            all arms on that test by that metric) and "verdict" (better, worse, not significant,
            or none where there are too few seeds).
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
    outcomes: Outcomes,
    facts: Mapping[str, Scores],
    *,
    scoring: TaskScoring,
    metrics: Mapping[str, Metric],
    reference: str,
    level: float = 0.95,
    resamples: int = 1000,
) -> Matrix:
    """All numbers of a study."""
    rows, comparisons = [], []
    for metric, test in itertools.product(metrics, facts):
        cells, drawn = _cells(outcomes, facts[test], test, metric, metrics[metric], resamples)
        rows += [each.row(drawn, level) for each in cells.values()]
        against = cells.get(reference)
        compared = [
            statistics.compare(each, against, metrics[metric], drawn, level)
            for arm, each in cells.items()
            if against is not None and arm != reference
        ]
        adjusted = holm([row["p"] for row in compared])
        for row, p in zip(compared, adjusted, strict=True):
            verdict = _verdict(row, p, 1 - level, is_error=metrics[metric].is_error)
            comparisons.append(row | {"p_holm": p, "verdict": verdict})
    curves = {name: _curves(name, outcomes, facts, scoring) for name in scoring.parameters}
    thresholds, trends = _thresholds(outcomes, facts, level)
    drawn_curves = {name: by_test for name, by_test in curves.items() if by_test}
    return Matrix(rows, comparisons, drawn_curves, thresholds, trends)


def _verdict(row: Mapping[str, Any], p: float | None, alpha: float, *, is_error: bool) -> str:
    """A difference is significant where both the seeds and the samples show it."""
    if row["seeds"] < FEW:
        return NO_VERDICT
    low, high = row["low_bootstrap"], row["high_bootstrap"]
    is_apart = low is not None and high is not None and low * high > 0
    if p is None or p >= alpha or not is_apart:
        return NOT_SIGNIFICANT
    return "better" if (row["change"] < 0) == is_error else "worse"


def _cells(
    outcomes: Outcomes, facts: Scores, test: str, name: str, metric: Metric, resamples: int
) -> tuple[dict[str, Cell], Resamples]:
    pools: dict[str, dict[int, Any]] = {}
    num_samples = 1
    for arm, by_seed in outcomes.items():
        for seed, by_test in by_seed.items():
            scores = by_test.get(test, {})
            lengths = [len(values) for key, values in scores.items() if key != THRESHOLDS]
            num_samples = max([num_samples, *lengths[:1]])
            if scores and (pool := metric.pool(scores, facts)) is not None:
                pools.setdefault(arm, {})[seed] = pool
    num_seeds = max((len(by_seed) for by_seed in pools.values()), default=1)
    drawn = Resamples.drawn(num_seeds, num_samples, resamples=resamples)
    return {
        arm: statistics.cell(arm, test, name, of_arm, drawn) for arm, of_arm in pools.items()
    }, drawn


def _curves(
    name: str, outcomes: Outcomes, facts: Mapping[str, Scores], scoring: TaskScoring
) -> dict[str, list[Curve]]:
    """Errors against a parameter: in bins where it varies within a test, else across the tests."""
    parameter = scoring.parameters[name]
    # A measured plane, of one rate and unknown peaks, is not a point of the same curve.
    varied = {test: v for test, v in facts.items() if name in v and v[name].size > 1}
    widths = {test: np.ptp(parameter.present(values[name])) for test, values in varied.items()}
    inside = {test: v for test, v in varied.items() if widths[test] > 1.5 * parameter.step}
    if inside:
        return {test: _binned(values[name], parameter, test, outcomes)
                for test, values in inside.items()}  # fmt: skip
    levels = {t: float(np.median(parameter.present(values[name]))) for t, values in varied.items()}
    if len(set(levels.values())) < 3:
        return {}
    order = sorted(levels, key=lambda test: levels[test])

    def middle(by_test: Mapping[str, Scores], test: str) -> float:
        metric = scoring.metrics[scoring.errors]
        pool = metric.pool(by_test[test], facts[test]) if test in by_test else None
        return np.nan if pool is None else pool.point()

    curves = []
    for arm, by_seed in outcomes.items():
        values = [[middle(by_test, test) for test in order] for by_test in by_seed.values()]
        if values:
            curves.append(Curve(arm, np.array([levels[t] for t in order]), np.array(values)))
    return {"all tests": curves}


def _binned(values: np.ndarray, parameter: Parameter, test: str, outcomes: Outcomes) -> list[Curve]:
    present = parameter.present(values)
    edges = np.quantile(present, np.linspace(0, 1, BINS + 1))
    bins = [present[(present >= a) & (present <= b)] for a, b in itertools.pairwise(edges)]
    curves = []
    for arm, by_seed in outcomes.items():
        rows = []
        for by_test in by_seed.values():
            errors = by_test.get(test, {}).get(parameter.errors)
            if errors is None:
                continue
            first = values[: len(errors)]
            at = np.isfinite(errors) & ((first > 0) | (not parameter.is_positive))
            rows.append(binned(first[at], errors[at].astype(np.float64), edges))
        if rows:
            curves.append(Curve(arm, np.array([np.median(x) for x in bins]), np.array(rows)))
    return curves


def _thresholds(
    outcomes: Outcomes, facts: Mapping[str, Scores], level: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows, trends = [], []
    for arm, by_seed in outcomes.items():
        by_test: dict[str, dict[int, np.ndarray]] = {}
        for seed, tests in by_seed.items():
            for test, scores in tests.items():
                if THRESHOLDS in scores and seed != ANY_SEED:
                    by_test.setdefault(test, {})[seed] = scores[THRESHOLDS]
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
    trend: dict[str, Any] = {"seeds": len(seeds), "sparsest": order[0], "densest": order[-1]}
    for name, values in changes.items():
        trend[f"{name}_change"] = float(np.expm1(values.mean()))
        ends = student(values, level) if len(values) > 1 else ()
        low, high = [float(np.expm1(end)) for end in ends] or (None, None)
        trend |= {f"{name}_low": low, f"{name}_high": high}
    return trend
