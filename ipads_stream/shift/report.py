"""A shift study as pictures, as one page, and as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.files import json_text, write_text
from ipads_stream.evaluation.evaluate import readable
from ipads_stream.report.page import Column, Picture, Section, Table, present
from ipads_stream.shift.figures import Curve, error_curves, heat_map
from ipads_stream.shift.matrix import NO_VERDICT, NOT_SIGNIFICANT, Matrix
from ipads_stream.shift.statistics import FEW, Metric
from ipads_stream.shift.study import Study

ARM, TEST = Column("arm", "arm"), Column("tested on", "test")
COMPARISON_COLUMNS = (
    TEST,
    ARM,
    Column("change", "shown"),
    Column("95 % over seeds", "shown_interval"),
    Column("95 % over seeds and signals", "shown_bootstrap"),
    Column("p, paired t", "p", ".2g"),
    Column("p, adjusted", "p_holm", ".2g"),
    Column("p, sign flips", "p_signs", ".2g"),
    Column("pairs", "pairs"),
    Column("verdict", "verdict"),
)
BUDGET_COLUMNS = (
    ARM,
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
    "metrics). A difference is significant where the adjusted p is below {alpha:.2g} and the "
    "bootstrap leaves out zero; not significant does not show that there is none. "
    f"With fewer than {FEW} seeds nothing is concluded. "
    "The exact sign-flip test assumes no normal distribution; with n pairs its p cannot be below "
    "2^(1-n): {least:.3g} for {pairs}. Methods that are not trained have one value for all seeds; "
    "two of them are compared by the bootstrap over signals alone and are given no p."
)


def write_report(
    study: Study,
    matrix: Matrix,
    output: Path,
    *,
    budgets: list[dict[str, Any]],
    tests: Mapping[str, Sequence[str]],
    failures: Mapping[str, str],
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> tuple[str, list[Picture]]:
    """Writes pictures, report.html and results.json, and returns the text and the pictures.

    Args:
        study, matrix: with its numbers.
        output: folder.
        budgets: one row per arm (see ``BUDGET_COLUMNS``).
        tests: test -> how its data differ from those that the reference was trained on.
        failures: arm and seed -> what happened.
        notes: sentences that the reader must know.
        provenance: plain values: machine, version, configuration.
    """
    lost = [f"{name} failed and is missing here: {why}" for name, why in failures.items()]
    question = [study.question] if study.question else []
    sentences = conclusions(matrix.comparisons, study.metrics)
    sections = [
        Section(paragraphs=question, notes=[*lost, *notes]),
        Section(title="Conclusions", paragraphs=sentences),
        *(_metric(study, matrix, name, output) for name in study.metrics),
    ]
    if curves := [*_series(study, matrix, output), *_curves(study, matrix, output)]:
        sections.append(Section(title="Errors against parameters", pictures=curves))
    if rows := matrix.thresholds:
        phases = dict.fromkeys(key for row in rows for key in row if key.startswith("phase "))
        columns = [ARM, TEST, Column("rate", "rate", ".2f"), *(Column(x, x, ".3g") for x in phases)]
        table = Table(columns=columns, rows=rows, group=("arm",), title="Mean of each phase")
        lines = trends(matrix.trends)
        sections.append(Section(title="Learned thresholds", paragraphs=lines, tables=[table]))
    pairs = max((row["pairs"] for row in matrix.comparisons), default=0)
    least = 2.0 ** (1 - max(pairs, 1))
    how = HOW.format(alpha=1 - study.level, least=least, pairs=f"{pairs} pairs")
    meanings = {metric.title: metric.meaning for metric in study.metrics.values()}
    differences = {test: "; ".join(lines) or "nothing differs" for test, lines in tests.items()}
    spent = Table(columns=BUDGET_COLUMNS, rows=budgets, title="What each arm was given")
    sections += [
        Section(title="Budgets", tables=[spent]),
        Section(title=f"Tests, beside the training of {study.reference}", definitions=differences),
        Section(title="How it was done", definitions={"comparison": how} | meanings),
        Section(title="Provenance", preformatted=readable(provenance)),
    ]
    results = {
        "title": study.title,
        "question": study.question,
        "reference": study.reference,
        "level": study.level,
        "cells": matrix.cells,
        "comparisons": matrix.comparisons,
        "thresholds": matrix.thresholds,
        "threshold_trends": matrix.trends,
        "budgets": budgets,
        "failures": dict(failures),
        "notes": list(notes),
        "provenance": dict(provenance),
    }
    text = present(study.title, sections, output / "report.html")
    write_text(output / "results.json", json_text(results, 1) + "\n")
    pictures = [picture for section in sections for picture in section.pictures]
    return f"{study.title}\n\n{text}", pictures


def _metric(study: Study, matrix: Matrix, name: str, output: Path) -> Section:
    """The matrix of a metric as a table and as a picture, and the comparisons by it."""
    metric = study.metrics[name]
    rows = [row for row in matrix.cells if row["metric"] == name]
    if not rows:
        return Section()
    compared = []
    for row in (row for row in matrix.comparisons if row["metric"] == name):
        words = {
            "shown": "–" if row["change"] is None else _shown(row["change"], metric.is_error),
            "shown_interval": _interval(row, metric.is_error),
            "shown_bootstrap": _interval(row, metric.is_error, "_bootstrap"),
        }
        compared.append(row | words)
    columns = (
        TEST,
        ARM,
        Column("mean [95 %]", "mean", ".4g", 1.0, ("low", "high"), metric.better),
        Column("SD over seeds", "sd", ".2g"),
        Column("seeds", "seeds"),
        Column("behind each value", "units"),
    )
    tables = [Table(columns=columns, rows=rows, group=("test",))]
    if compared:
        title = f"Against {study.reference}, paired by seed"
        against = Table(columns=COMPARISON_COLUMNS, rows=compared, group=("test",), title=title)
        tables.append(against)
    arms, tests = (list(dict.fromkeys(row[key] for row in rows)) for key in ("arm", "test"))
    marks = {(row["arm"], row["test"]): _mark(row) for row in compared}
    means = np.full((len(arms), len(tests)), np.nan)
    texts = np.full(means.shape, "", object)
    for row in rows:
        place = arms.index(row["arm"]), tests.index(row["test"])
        means[place] = row["mean"]
        texts[place] = f"{row['mean']:.3g}{marks.get((row['arm'], row['test']), '')}"
    path = output / f"matrix_{name}.png"
    title = f"{metric.title}, mean over seeds"
    heat_map(means, texts, arms, tests, path, title=title, is_error=metric.is_error)
    caption = (
        f"{metric.title}: mean over seeds; below it the change against {study.reference} "
        "where it is significant, n.s. where it is not."
    )
    title = f"{metric.title[0].upper()}{metric.title[1:]}"
    return Section(title=title, tables=tables, pictures=[(path, caption)])


def _mark(row: Mapping[str, Any]) -> str:
    if row["p_holm"] is None or row["verdict"] == NO_VERDICT:
        return ""
    return "\nn.s." if row["verdict"] == NOT_SIGNIFICANT else f"\n{row['shown']}"


def _series(study: Study, matrix: Matrix, output: Path) -> list[Picture]:
    """Errors of the arms against the number that their series gives them."""
    pictures: list[Picture] = []
    for name, metric in study.metrics.items() if study.series else ():
        rows = {(r["arm"], r["test"]): r for r in matrix.cells if r["metric"] == name}
        curves: dict[str, list[Curve]] = {}
        for test in dict.fromkeys(test for _, test in rows):
            for line, arms in study.series.items():
                points = {n: rows[arm, test] for n, arm in arms.items() if (arm, test) in rows}
                of_each = [set(row["by_seed"]) for row in points.values()]
                seeds = sorted(set.intersection(*of_each)) if of_each else []
                values = [[row["by_seed"][seed] for row in points.values()] for seed in seeds]
                if values:
                    x = np.array(list(points), dtype=np.float64)
                    curves.setdefault(test, []).append(Curve(line, x, np.array(values)))
        if curves:
            path = output / f"series_{name}.png"
            error_curves(curves, path, quantity=study.series_label, error=metric.title,
                         is_log=(False, metric.is_error))  # fmt: skip
            against = f"{metric.title} against the {study.series_label}"
            pictures.append((path, f"{against}: mean and band of all seeds."))
    return pictures


def _curves(study: Study, matrix: Matrix, output: Path) -> list[Picture]:
    """Errors against the drawn parameters of the samples."""
    pictures: list[Picture] = []
    for name, curves in matrix.curves.items():
        parameter, path = study.scoring.parameters[name], output / f"curve_{name}.png"
        error_curves(curves, path, quantity=parameter.label, error=parameter.title,
                     is_log=parameter.is_log)  # fmt: skip
        caption = f"Median {parameter.title} against the {parameter.label}: mean over the seeds, "
        pictures.append((path, f"{caption}and the band that all seeds lie in."))
    return pictures


def conclusions(
    comparisons: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]
) -> list[str]:
    """One sentence per comparison, of the trained arms and of the methods."""
    lines = []
    for row in comparisons:
        metric, verdict = metrics[row["metric"]], row["verdict"]
        if row["change"] is None:
            continue
        subject = f"{row['arm']} against {row['reference']}, {metric.title} on {row['test']}:"
        change = f"{_shown(row['change'], metric.is_error)} {_interval(row, metric.is_error)}"
        if row["p_holm"] is None:
            why = "fewer than two pairs that differ" if row["pairs"] < 2 else "not finite"
            text = f"{change} (no test: {why})"
        elif verdict == NO_VERDICT:
            text = f"{change} ({row['seeds']} seeds: {NO_VERDICT})"
        elif verdict == NOT_SIGNIFICANT:
            text = f"{verdict}, {change} (p = {row['p']:.2g}, adjusted {row['p_holm']:.2g})"
        else:
            text = f"{verdict}, {change} (adjusted p = {row['p_holm']:.2g})"
        lines.append(f"{subject} {text}.")
    return lines


def trends(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether thresholds fall from phase to phase and with the sampling rate."""
    lines = []
    for row in rows:
        for name, course in (
            ("phase", "from the first phase to the last (mean over the tests)"),
            ("rate", f"from {row['sparsest']} to {row['densest']} (mean over the phases)"),
        ):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            change = f"{100 * row[f'{name}_change']:+.1f} %"
            verdict, around = "one seed, no interval", ""
            if low is not None and high is not None:
                around = f" [{100 * low:+.1f}, {100 * high:+.1f}]"
                sign = "falls" if high < 0 else "rises"
                verdict = "no significant change" if low <= 0 <= high else sign
            lines.append(f"{row['arm']}: mean threshold {course}: {change}{around}; {verdict}.")
    return lines


def _shown(change: float, is_error: bool) -> str:
    """A change: of an error in per cent, of a correlation as it is."""
    return f"{100 * change:+.1f} %" if is_error else f"{change:+.4f}"


def _interval(row: Mapping[str, Any], is_error: bool, which: str = "") -> str:
    """The interval of a comparison: over seeds, or ("_bootstrap") over seeds and signals."""
    low, high = row[f"low{which}"], row[f"high{which}"]
    if low is None or high is None:
        return "–" if which or row["pairs"] else ""
    return f"[{_shown(low, is_error)}, {_shown(high, is_error)}]"
