"""A comparison as tables, pictures and a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.files import write_text
from ipads_stream.core.quantity import Quantity
from ipads_stream.evaluation import curve_figures, report
from ipads_stream.evaluation.quantification import figures, map_figures
from ipads_stream.evaluation.quantification.comparison import Comparison
from ipads_stream.evaluation.quantification.methods import NETWORK
from ipads_stream.evaluation.quantification.scores import BOUND, of_sums, sample_sums
from ipads_stream.evaluation.tables import Column, html_table, text_table
from ipads_stream.stream.replay import read_log

DEFINITIONS = {
    "RMSE, bias, mean |error|": "Root mean square, mean and mean magnitude of estimate − truth, "
    "over all values that count (inside the mask), in the unit of the quantity.",
    "log-RMSE": "Root mean square of ln(estimate / truth): 0.1 is 10 %. Of quantities on a "
    "logarithmic scale.",
    "NRMSE, NMSE": "‖estimate − truth‖ / ‖truth‖ over all values, and its square.",
    "r, slope, intercept": "Pearson's correlation, and the least-squares line of the estimate over "
    "the truth: slope 1 and intercept 0 are right.",
    "missing": "Share of the values where a method found none; they count in no other score.",
    "over the bound": "Root mean square of error / standard deviation of the Cramer-Rao bound, "
    "sample by sample; no unbiased estimate has less than 1. A biased one can: a "
    "network that knows the distribution of the training data is drawn to its middle.",
    "[95 %]": "Percentile bootstrap interval over samples.",
    "time": "Wall time per sample in one call on all of them, after one that compiles.",
    "*": "Best value of its column, as rounded; methods that were given fewer samples are not "
    "compared, the bound is no method.",
}


@dataclass(frozen=True, kw_only=True)
class QuantityFindings:
    """All that an evaluation found.

    Attributes:
        name: of the system.
        comparison: of all methods on the same samples.
        rows: scores of ``scores.scores``.
        pairs: quantity -> method -> error of the network over that of the method, with interval.
        notes: sentences that the reader must know.
        provenance: plain values that identify the evaluation.
        training: composed configuration of the run.
        log: metrics.jsonl of the run; need not exist.
    """

    name: str
    comparison: Comparison
    rows: list[dict[str, Any]]
    pairs: dict[str, dict[str, dict[str, Any]]]
    notes: list[str]
    provenance: dict[str, Any]
    training: dict[str, Any]
    log: Path


def columns(quantity: Quantity) -> tuple[Column, ...]:
    """Of the table of a quantity; ``scores.scores`` gives its rows."""
    unit = f" ({quantity.unit})" if quantity.unit not in ("", "1") else ""
    log = Column(
        "log-RMSE [95 %]", "log_rmse", ".3g", 1.0, ("log_rmse_low", "log_rmse_high"), "low"
    )
    return (
        Column("method", "method"),
        Column("samples", "samples"),
        Column(f"RMSE{unit} [95 %]", "rmse", ".3g", 1.0, ("rmse_low", "rmse_high"), "low"),
        *([log] if quantity.scale == "log" else []),
        Column(f"bias{unit}", "bias", "+.2g"),
        Column(f"mean |error|{unit}", "mae", ".3g", best="low"),
        Column("NRMSE", "nrmse", ".3f", best="low"),
        Column("NMSE", "nmse", ".2g", best="low"),
        Column("r", "r", ".4f", best="high"),
        Column("slope [95 %]", "slope", ".3f", 1.0, ("slope_low", "slope_high")),
        Column(f"intercept{unit}", "intercept", "+.2g"),
        Column("missing (%)", "missing", ".2g", 100.0),
        Column("over the bound", "bound_ratio", ".3f"),
        Column("time per sample (ms)", "seconds_per_sample", ".3g", 1e3),
    )


def present(findings: QuantityFindings, output: Path) -> str:
    """Writes pictures and report.html, and returns the summary.

    Args:
        findings: of an evaluation.
        output: folder, which exists.
    """
    leads = [lead(findings, name) for name in findings.comparison.quantities]
    blocks = [report.paragraph(text) for text in leads]
    blocks += [report.paragraph(note, is_note=True) for note in findings.notes]
    text = [*leads, *findings.notes]
    for name, quantity in findings.comparison.quantities.items():
        rows = [
            row | {"is_partial": row.get("is_partial") or row["method"] == BOUND}
            for row in findings.rows
            if row["quantity"] == name
        ]
        shown = columns(quantity)
        text.append(f"{name}\n{text_table(shown, rows)}")
        blocks.append(report.heading(name))
        blocks.append(report.table(html_table(shown, rows)))
        blocks += [report.picture(*one) for one in pictures(findings.comparison, name, output)]
    log = list(read_log(findings.log)) if findings.log.is_file() else []
    if log:
        path = curve_figures.training_curves(log, output / "training.png")
        caption = "Loss of every training step, and the share of the step spent waiting for data."
        blocks += [report.heading("Training"), report.picture(path, caption)]
    blocks += [
        report.heading("Scores"),
        report.definitions(DEFINITIONS),
        report.heading("Provenance"),
        report.preformatted(json.dumps(findings.provenance, indent=1, ensure_ascii=False)),
        report.heading("Configuration of the training run"),
        report.preformatted(json.dumps(findings.training, indent=1, ensure_ascii=False)),
    ]
    path = output / "report.html"
    write_text(path, report.page(f"Evaluation of {findings.name}", blocks))
    return "\n\n".join([*text, f"* best of the methods compared. Report: {path}"])


def lead(findings: QuantityFindings, name: str) -> str:
    """The answer for a quantity in one sentence: network, best classical method, bound."""
    quantity = findings.comparison.quantities[name]
    key = "log_rmse" if quantity.scale == "log" else "rmse"
    what = "log-RMSE" if key == "log_rmse" else "RMSE"
    unit = f" {quantity.unit}" if key == "rmse" and quantity.unit not in ("", "1") else ""
    found = {row["method"]: row for row in findings.rows if row["quantity"] == name}
    own, bound = found.get(NETWORK), found.get(BOUND)
    if own is None or own[key] is None:
        return f"{name}: the network's error is not defined."
    text = f"{name}: the network's {what} is {own[key]:.3g}{unit}"
    pairs = {
        method: pair
        for method, pair in findings.pairs.get(name, {}).items()
        if pair["ratio"] is not None
    }
    if pairs:
        best = max(pairs, key=lambda method: pairs[method]["ratio"])
        pair = pairs[best]
        around = "" if pair["low"] is None else f" [{pair['low']:.2f}, {pair['high']:.2f}]"
        text += (
            f"; on the same {pair['samples']} samples it is {pair['ratio']:.3f}{around} times that "
            f"of the best other method ({best}, {pair['other']:.3g}{unit})"
        )
    if bound is not None and bound.get(key) is not None:
        text += f"; the Cramer-Rao bound is {bound[key]:.3g}{unit}"
        if bound[key] > 2 * bound["median_sd"]:
            text += f", its median over samples {bound['median_sd']:.3g}{unit}"
    return text + "."


def pictures(comparison: Comparison, name: str, output: Path) -> list[tuple[Path, str]]:
    """Pictures of a quantity with their captions.

    Args:
        comparison: of methods on the same samples.
        name: of the quantity.
        output: folder, which exists.
    """
    is_map = comparison.truths[name].ndim > 2
    made = []
    if is_map:
        for where, sample in _examples(comparison, name).items():
            path = map_figures.maps(comparison, name, output / f"{name}_{where}.png", sample=sample)
            told = f"{name}, the sample with the network's {where} error: true and estimated maps, "
            made.append((path, told + "and what each misses, on one scale each."))
    made += [
        (
            figures.scatter(comparison, name, output / f"{name}_scatter.png"),
            f"Estimated over true {name}: darker where there are more; on the line is right. "
            "Estimates outside the range of the truth are drawn at its border.",
        ),
        (
            figures.bland_altman(comparison, name, output / f"{name}_differences.png"),
            f"Bland-Altman plots of {name}: difference over mean of estimate and truth, the mean "
            "difference and 1.96 standard deviations around it"
            + ("; in % of the mean." if comparison.quantities[name].scale == "log" else "."),
        ),
    ]
    if not is_map:
        path = figures.error_against(comparison, name, name, output / f"{name}_error.png")
        made.append((path, f"Error over the true {name}, in bins of equally many samples."))
    return made


def _examples(comparison: Comparison, name: str) -> dict[str, int]:
    """Samples with the median and the largest error of the network (or of the first method)."""
    methods = list(comparison.estimates)
    method = NETWORK if NETWORK in methods else methods[0]
    errors = of_sums(sample_sums(comparison, name, method))["nrmse"]
    order = np.argsort(np.nan_to_num(errors, nan=-1.0))
    return {"median": int(order[len(order) // 2]), "largest": int(order[-1])}
