"""Tables of the shift studies for README.md, from experiments/results/{fig4,fig7,transfer}.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
    mean = f"{cell['mean']:.4f}" if metric == "r" else f"{cell['mean']:.3g}"
    if compared is None or compared["change"] is None:
        return mean
    if compared["verdict"] == "not significant" and compared["p_holm"] is not None:
        return f"{mean} (n.s.)"
    change = compared["change"]
    return f"{mean} ({change:+.4f})" if metric == "r" else f"{mean} ({100 * change:+.0f} %)"


def thresholds(result: Mapping[str, Any]) -> str:
    """Mean threshold of every phase, by arm and test."""
    rows = result["thresholds"]
    if not rows:
        return ""
    phases = [key for key in rows[0] if key.startswith("phase ")]
    lines = ["| arm | sampled | " + " | ".join(phases) + " |", "|---|---|" + "---|" * len(phases)]
    for row in rows:
        values = " | ".join(f"{row[phase]:.3g}" for phase in phases)
        lines.append(f"| {row['arm']} | {row['test']} | {values} |")
    return "\n".join(lines)


def trends(result: Mapping[str, Any]) -> str:
    """How much thresholds change over phases and rates, with intervals over the seeds."""
    rows = result["threshold_trends"]
    if not rows:
        return ""
    first, last = rows[0]["sparsest"], rows[0]["densest"]
    lines = [f"| arm | from first to last phase | from {first} to {last} |", "|---|---|---|"]
    for row in rows:
        cells = " | ".join(_trend(row, name) for name in ("phase", "rate"))
        lines.append(f"| {row['arm']} | {cells} |")
    return "\n".join(lines)


def _trend(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    around = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
    return f"{100 * row[f'{name}_change']:+.0f} %{around}"


def budgets(result: Mapping[str, Any]) -> str:
    """Steps, samples and processor seconds of every trained arm."""
    rows = [row for row in result["budgets"] if "steps" in row]
    lines = ["| arm | steps | samples | processor seconds |", "|---|---|---|---|"]
    for row in rows:
        seconds = row["processor_seconds"]
        told = "–" if seconds is None else f"{seconds:.0f}"
        lines.append(f"| {row['arm']} | {row['steps']:,} | {row['samples']:,} | {told} |")
    return "\n".join(lines)
