"""Tables of the shift studies for README.md, from experiments/results/{fig4,fig7,transfer}.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DIVERGED = 2.0  # a relative error that no estimate has: an estimate of zero has 1


def matrix(result: Mapping[str, Any], metric: str, tests: Sequence[str] | None = None) -> str:
    """A metric by arm and test: the mean over the seeds and the change against the reference.

    Args:
        result: results.json of a study.
        metric: e.g. "rlne".
        tests: columns; all where they are not named.
    """
    cells = {(c["arm"], c["test"]): c for c in result["cells"] if c["metric"] == metric}
    shown = list(dict.fromkeys(test for _, test in cells)) if tests is None else list(tests)
    against = {
        (row["arm"], row["test"]): row for row in result["comparisons"] if row["metric"] == metric
    }
    lines = ["| arm | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for arm in dict.fromkeys(arm for arm, _ in cells):
        row = [_cell(cells.get((arm, test)), against.get((arm, test)), metric) for test in shown]
        lines.append(f"| {arm} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _cell(cell: Mapping[str, Any] | None, compared: Mapping[str, Any] | None, metric: str) -> str:
    if cell is None:
        return "–"
    if metric != "r" and cell["mean"] > DIVERGED:
        return "diverged"
    mean = f"{cell['mean']:.4f}" if metric == "r" else f"{cell['mean']:.3g}"
    if compared is None or compared["change"] is None:
        return mean
    if compared["verdict"] == "not significant" and compared["p_holm"] is not None:
        return f"{mean} (n.s.)"
    change = compared["change"]
    return f"{mean} ({change:+.4f})" if metric == "r" else f"{mean} ({100 * change:+.0f} %)"


def trends(result: Mapping[str, Any]) -> str:
    """How much thresholds change over phases and rates, with intervals over the seeds."""
    rows = result["threshold_trends"]
    if not rows:
        return ""
    first, last = rows[0]["sparsest"], rows[0]["densest"]
    lines = [f"| arm | from first to last phase | from {first} to {last} |", "|---|---|---|"]
    for row in rows:
        if row["phase_change"] is None or row["rate_change"] is None:
            continue  # diverged: no thresholds
        cells = " | ".join(_trend(row, name) for name in ("phase", "rate"))
        lines.append(f"| {row['arm']} | {cells} |")
    return "\n".join(lines)


def _trend(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    around = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
    return f"{100 * row[f'{name}_change']:+.0f} %{around}"


def budget(result: Mapping[str, Any]) -> str:
    """One sentence on what every trained arm was given, and where it ran."""
    rows = [row for row in result["budgets"] if "steps" in row]
    steps = sorted({row["steps"] for row in rows})
    seconds = [row["processor_seconds"] for row in rows if row["processor_seconds"] is not None]
    given = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    batch = rows[0]["samples"] // rows[0]["steps"]
    machine = result["provenance"]["machine"]
    spent = f", {min(seconds):.0f} to {max(seconds):.0f} s of processor" if seconds else ""
    return f"Budget of an arm and seed: {given} steps of {batch} samples{spent} ({machine})."
