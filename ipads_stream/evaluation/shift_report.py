"""A shift study as pictures, as one page, and as text for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.files import write_text
from ipads_stream.evaluation import report
from ipads_stream.evaluation.shift_figures import Curve, error_curves, heat_map
from ipads_stream.evaluation.shift_findings import findings, interval, shown, trends
from ipads_stream.evaluation.shift_matrix import Matrix
from ipads_stream.evaluation.shift_scores import METRICS
from ipads_stream.evaluation.tables import Column, html_table, text_table

Pictures = list[tuple[Path, str]]

QUANTITIES = {
    "amplitude": ("amplitude of the peak", "error of the peak / its height", (False, True)),
    "rate": ("share of the points that is sampled", "RLNE", (False, True)),
    "snr": ("signal-to-noise ratio", "RLNE", (True, True)),
}
MATRIX_COLUMNS = (
    Column("tested on", "test"),
    Column("arm", "arm"),
    Column("mean [95 %]", "mean", ".4g", 1.0, ("low", "high")),
    Column("SD over seeds", "sd", ".2g"),
    Column("seeds", "seeds"),
    Column("behind each value", "units"),
)
COMPARISON_COLUMNS = (
    Column("tested on", "test"),
    Column("arm", "arm"),
    Column("change", "shown"),
    Column("95 % over seeds", "shown_interval"),
    Column("95 % over seeds and signals", "shown_bootstrap"),
    Column("p, paired t", "p", ".2g"),
    Column("p, adjusted", "p_holm", ".2g"),
    Column("p, sign flips", "p_signs", ".2g"),
    Column("pairs", "pairs"),
    Column("finding", "verdict"),
)
BUDGET_COLUMNS = (
    Column("arm", "arm"),
    Column("seeds", "seeds"),
    Column("steps", "steps"),
    Column("samples seen", "samples"),
    Column("seconds of training", "seconds", ".0f"),
    Column("seconds of processor", "processor_seconds", ".0f"),
    Column("changes", "changes"),
)
HOW = (
    "All arms were trained for the same number of steps, over the same seeds: with one seed, two "
    "arms saw the same samples except for what the arm changes. All were tested on the same "
    "signals. Means are over seeds; their intervals are percentile bootstraps over seeds and "
    "signals together. Changes are taken seed by seed (for errors as ratios, in per cent), with "
    "Student's interval over the seeds and with the bootstrap interval beside it; a bootstrap over "
    "few seeds is too narrow. p is of the paired t test, adjusted by Holm's method for all arms "
    "that are compared on the same test by the same metric (not for the number of tests and "
    "metrics). A difference counts as found where the adjusted p is below {alpha:.2g} and the "
    "bootstrap leaves out zero, and is called not significant otherwise, which does not show that "
    "there is none. "
    "The exact sign-flip test assumes no normal distribution; with n pairs its p cannot be below "
    "2^(1-n): {least:.3g} for {pairs}. Methods that are not trained have one value for all seeds; "
    "two of them are compared by the bootstrap over signals alone and are given no p."
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """All that the report of a study says.

    Attributes:
        title, question: of the study.
        found: its numbers.
        metrics: names, the main one first.
        reference: arm that the others are compared with.
        level: of the intervals.
        budgets: one row per arm (see ``BUDGET_COLUMNS``).
        series: line -> number -> arm: drawn as the main metric against that number.
        series_label: what the number is.
        failures: arm and seed -> what happened.
        notes: sentences that the reader must know.
        provenance: plain values: machine, version, configuration.
    """

    title: str
    question: str
    found: Matrix
    metrics: Sequence[str]
    reference: str
    level: float
    budgets: list[dict[str, Any]]
    series: Mapping[str, Mapping[float, str]] = field(default_factory=dict)
    series_label: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def present(told: Told, output: Path) -> tuple[str, Pictures]:
    """Writes pictures, report.html and results.json, and returns the text and the pictures.

    Args:
        told: of a study.
        output: folder, which exists.
    """
    text = [told.title, told.question]
    blocks = [report.paragraph(told.question)]
    for note in _warnings(told):
        text.append(note)
        blocks.append(report.paragraph(note, is_note=True))
    blocks += [report.heading("Findings"), *map(report.paragraph, findings(told.found.comparisons))]
    text.append("\n".join(findings(told.found.comparisons)))
    pictures: Pictures = []
    for name in told.metrics:
        made, markup, lines = _metric(told, name, output)
        pictures += made
        blocks += markup
        text += lines
    drawn = [*_series(told, output), *_curves(told, output)]
    if drawn:
        blocks += [report.heading("Errors against parameters"), *_embedded(drawn)]
    if told.found.thresholds:
        title = "Mean threshold of each phase"
        columns = _threshold_columns(told.found.thresholds)
        text.append(f"{title}\n{text_table(columns, told.found.thresholds)}")
        of_phases = html_table(columns, told.found.thresholds, "arm", title)
        blocks += [report.heading("Learned thresholds"), report.table(of_phases)]
        blocks += [report.paragraph(line) for line in trends(told.found.trends)]
        text += trends(told.found.trends)
    budgets = html_table(BUDGET_COLUMNS, told.budgets, caption="What each arm was given")
    text.append(text_table(BUDGET_COLUMNS, told.budgets))
    meanings = {METRICS[name].title: METRICS[name].meaning for name in told.metrics}
    least = _least_p(told)
    blocks += [
        report.heading("Budgets"),
        report.table(budgets),
        report.heading("How it was done"),
        report.paragraph(HOW.format(alpha=1 - told.level, **least)),
        report.definitions(meanings),
        report.heading("Provenance"),
        report.preformatted(json.dumps(told.provenance, indent=1, ensure_ascii=False)),
    ]
    write_text(output / "report.html", report.page(told.title, blocks))
    write_text(output / "results.json", json.dumps(results(told), indent=1, allow_nan=False) + "\n")
    return "\n\n".join(text), [*pictures, *drawn]


def results(told: Told) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    return _plain(
        {
            "title": told.title,
            "question": told.question,
            "reference": told.reference,
            "level": told.level,
            "cells": told.found.cells,
            "comparisons": told.found.comparisons,
            "thresholds": told.found.thresholds,
            "threshold_trends": told.found.trends,
            "budgets": told.budgets,
            "failures": dict(told.failures),
            "notes": list(told.notes),
            "provenance": dict(told.provenance),
        }
    )


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN: a missing number is null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _warnings(told: Told) -> list[str]:
    lost = [f"{name} failed and is missing here: {why}" for name, why in told.failures.items()]
    return [*lost, *told.notes]


def _least_p(told: Told) -> dict[str, Any]:
    pairs = max((row["pairs"] for row in told.found.comparisons), default=0)
    return {"least": 2.0 ** (1 - max(pairs, 1)), "pairs": f"{pairs} pairs"}


def _metric(told: Told, name: str, output: Path) -> tuple[Pictures, list[str], list[str]]:
    metric = METRICS[name]
    rows = [row for row in told.found.cells if row["metric"] == name]
    if not rows:
        return [], [], []
    compared = [
        row | {
            "shown": "–" if row["change"] is None else shown(row["change"], metric.is_error),
            "shown_interval": interval(row, metric.is_error),
            "shown_bootstrap": interval(row, metric.is_error, "_bootstrap"),
        }
        for row in told.found.comparisons if row["metric"] == name
    ]  # fmt: skip
    title = f"{metric.title[0].upper()}{metric.title[1:]}"
    against = f"{title}: against {told.reference}, paired by seed"
    columns = [
        Column(c.heading, c.key, c.form, c.factor, c.spread, metric.better)
        if c.key == "mean"
        else c
        for c in MATRIX_COLUMNS
    ]
    picture = _heat(told, rows, compared, name, output)
    markup = [
        report.heading(title),
        *_embedded([picture]),
        report.table(html_table(columns, rows, "test", title)),
    ]
    text = [f"{title}\n{text_table(columns, rows, 'test')}"]
    if compared:
        markup.append(report.table(html_table(COMPARISON_COLUMNS, compared, "test", against)))
        text.append(f"{against}\n{text_table(COMPARISON_COLUMNS, compared, 'test')}")
    return [picture], markup, text


def _heat(
    told: Told,
    rows: Sequence[Mapping[str, Any]],
    compared: Sequence[Mapping[str, Any]],
    name: str,
    output: Path,
) -> tuple[Path, str]:
    metric = METRICS[name]
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    tests = list(dict.fromkeys(row["test"] for row in rows))
    means = np.full((len(arms), len(tests)), np.nan)
    texts = [[""] * len(tests) for _ in arms]
    verdicts = {(row["arm"], row["test"]): row for row in compared}
    for row in rows:
        i, j = arms.index(row["arm"]), tests.index(row["test"])
        means[i, j] = row["mean"]
        told_of = verdicts.get((row["arm"], row["test"]))
        mark = "" if told_of is None or told_of["p_holm"] is None else (
            "\nn.s." if told_of["verdict"] == "not significant" else f"\n{told_of['shown']}"
        )  # fmt: skip
        texts[i][j] = f"{row['mean']:.3g}{mark}"
    path = heat_map(
        means, texts, arms, tests, output / f"matrix_{name}.png",
        title=f"{metric.title}, mean over seeds", is_error=metric.is_error,
    )  # fmt: skip
    caption = (
        f"{metric.title}: mean over seeds; below it the change against {told.reference} where it "
        "is significant, n.s. where it is not."
    )
    return path, caption


def _series(told: Told, output: Path) -> Pictures:
    pictures: Pictures = []
    for name in told.metrics if told.series else ():
        rows = {(r["arm"], r["test"]): r for r in told.found.cells if r["metric"] == name}
        curves: dict[str, list[Curve]] = {}
        for test in dict.fromkeys(test for _, test in rows):
            for line, arms in told.series.items():
                some = {n: rows[arm, test] for n, arm in arms.items() if (arm, test) in rows}
                of_each = [set(row["by_seed"]) for row in some.values()]
                seeds = set.intersection(*of_each) if of_each else set()
                values = [[row["by_seed"][seed] for row in some.values()] for seed in sorted(seeds)]
                if values:
                    x = np.array(list(some), dtype=np.float64)
                    curves.setdefault(test, []).append(Curve(line, x, np.array(values)))
        if curves:
            metric = METRICS[name]
            path = error_curves(
                curves, output / f"series_{name}.png", quantity=told.series_label,
                error=metric.title, is_log=(False, metric.is_error),
            )  # fmt: skip
            caption = f"{metric.title} against the {told.series_label}: mean and band of all seeds."
            pictures.append((path, caption))
    return pictures


def _curves(told: Told, output: Path) -> Pictures:
    pictures: Pictures = []
    for name, curves in told.found.curves.items():
        quantity, error, is_log = QUANTITIES[name]
        path = error_curves(
            curves, output / f"curve_{name}.png", quantity=quantity, error=error, is_log=is_log
        )
        caption = (
            f"Median {error} against the {quantity}: mean over the seeds, and the band that all "
            "seeds lie in."
        )
        pictures.append((path, caption))
    return pictures


def _threshold_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    phases = list(dict.fromkeys(key for row in rows for key in row if key.startswith("phase ")))
    fixed = [Column("arm", "arm"), Column("tested on", "test"), Column("rate", "rate", ".2f")]
    return [*fixed, *(Column(phase, phase, ".3g") for phase in phases)]


def _embedded(pictures: Pictures) -> list[str]:
    return [report.picture(path, caption) for path, caption in pictures]
