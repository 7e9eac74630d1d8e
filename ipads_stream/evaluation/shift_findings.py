"""What a shift study found, in sentences; what is not significant is called so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipads_stream.evaluation.shift_scores import METRICS


def findings(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence per comparison, of the trained arms and of the methods."""
    lines = []
    for row in comparisons:
        metric = METRICS[row["metric"]]
        if row["change"] is None:
            continue
        kept = f"{row['arm']} against {row['reference']}, {metric.title} on {row['test']}:"
        change = f"{shown(row['change'], metric.is_error)} {interval(row, metric.is_error)}"
        if row["p_holm"] is None:
            lines.append(f"{kept} {change} (no test: {_why_untested(row)}).")
        elif row["verdict"] == "not significant":
            p = f"p = {row['p']:.2g}, adjusted {row['p_holm']:.2g}"
            lines.append(f"{kept} not significant, {change} ({p}).")
        else:
            lines.append(f"{kept} {row['verdict']}, {change} (adjusted p = {row['p_holm']:.2g}).")
    return lines


def _why_untested(row: Mapping[str, Any]) -> str:
    return "fewer than two pairs that differ" if row["pairs"] < 2 else "not finite"


def trends(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether thresholds fall from phase to phase and with the sampling rate."""
    lines = []
    for row in rows:
        for name, of in (
            ("phase", "from the first phase to the last (mean over the tests)"),
            ("rate", f"from {row['sparsest']} to {row['densest']} (mean over the phases)"),
        ):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            change = f"{100 * row[f'{name}_change']:+.1f} %"
            if low is None or high is None:
                finding, around = "one seed, no interval", ""
            else:
                around = f" [{100 * low:+.1f}, {100 * high:+.1f}]"
                falls, rises = high < 0, low > 0
                finding = "falls" if falls else "rises" if rises else "no significant change"
            lines.append(f"{row['arm']}: mean threshold {of}: {change}{around}; {finding}.")
    return lines


def shown(change: float, is_error: bool) -> str:
    """A change: of an error in per cent, of a correlation as it is."""
    return f"{100 * change:+.1f} %" if is_error else f"{change:+.4f}"


def interval(row: Mapping[str, Any], is_error: bool, which: str = "") -> str:
    """The interval of a comparison: over seeds, or ("_bootstrap") over seeds and signals."""
    low, high = row[f"low{which}"], row[f"high{which}"]
    if low is None or high is None:
        return "–" if which or row["pairs"] else ""
    return f"[{shown(low, is_error)}, {shown(high, is_error)}]"
