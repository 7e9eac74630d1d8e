"""The page on posteriors beside exact ones, and what the README says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from result_files import load, table

from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED, EXACT
from ipads_stream.report.figures import NETWORK

METHODS = (
    "log-linear fit",
    "mono-exponential fit",
    "dictionary",
    "maximum likelihood",
    NETWORK,
    CORRECTED,
    EXACT,
)
LOW, HIGH, MOST = 0.88, 0.92, 1.02  # asked of 90 % intervals, and of errors over the exact mean's


def errors(method: str) -> tuple[float, ...]:
    """log-RMSE of T2, T2* and T1, %, mean over the trainings."""
    names = ("t2_map", "t2star_map", "t1_map")
    return tuple(100 * float(np.mean(_values(name, method, "log_rmse"))) for name in names)


def _values(name: str, method: str, key: str) -> list[float]:
    """A score of the relaxation time: one number of each training, or of a method without any."""
    result = load("posteriors")
    kind = "calibration" if key.startswith(("over", "coverage")) else "scores"
    parts = [row[kind] for row in result["rows"] if row["system"] == name]
    if method not in (NETWORK, CORRECTED):
        parts = [result["classical"][name]]
    quantity = parts[0][0]["quantity"]
    found = [row for part in parts for row in part
             if (row["quantity"], row["method"]) == (quantity, method)]  # fmt: skip
    return [row[key] for row in found if row.get(key) is not None]


def _cell(values: Sequence[float], form: str, scale: float = 1.0) -> str:
    """The mean, and the least and largest of several."""
    if not values:
        return "–"
    shown = [f"{scale * x:{form}}" for x in (np.mean(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _rows(name: str) -> list[list[str]]:
    exact, rows = _values(name, EXACT, "log_rmse")[0], []
    for method in METHODS:
        if not (found := _values(name, method, "log_rmse")):
            continue
        over = _values(name, method, "over_exact") or [x / exact for x in found]
        coverage = [_cell(_values(name, method, f"coverage_{level}"), ".1f", 100.0)
                    for level in (50, 80, 90, 95)]  # fmt: skip
        rows.append([f"`{name}`", method, _cell(found, ".2f", 100.0), _cell(over, ".3f"),
                     _cell(_values(name, method, "bound_ratio"), ".3f"), *coverage,
                     _cell(_values(name, method, "slope"), ".4f"),
                     _cell(_values(name, method, "us"), ".3g")])  # fmt: skip
    return rows


def _verdict(rows: Sequence[dict[str, Any]]) -> str:
    """How many trainings met what was asked, of every quantity."""
    met, missed = 0, []
    for row in rows:
        for line in row["calibration"]:
            if line["method"] != CORRECTED:
                continue
            is_met = line["over_exact"] <= MOST and LOW <= line["coverage_90"] <= HIGH
            met += is_met
            if not is_met:
                values = f"{line['over_exact']:.3f}, {100 * line['coverage_90']:.1f} %"
                missed.append(
                    f"{line['quantity']} of `{row['system']}`, seed {row['seed']}: {values}"
                )
    text = f"Met by {met} of {met + len(missed)} (quantity, system, seed)"
    return f"{text}; missed by {'; '.join(missed)}." if missed else f"{text}."


def posteriors() -> str:
    """Errors and calibration of posteriors under protocols that training has not seen."""
    rows = load("posteriors").get("rows", [])
    if not rows:
        return ""
    names = list(dict.fromkeys(row["system"] for row in rows))
    lines = [line for name in names for line in _rows(name)]
    head = ["system", "method", "log-RMSE (%)", "over exact", "over bound",
            "50 %", "80 %", "90 %", "95 %", "slope", "µs a voxel"]  # fmt: skip
    columns = zip(*(row["effective"] for row in rows), strict=True)
    effective = " and ".join(f"{100 * np.mean(column):.0f} %" for column in columns)
    seconds = [row["processor_seconds"] for row in rows if row["processor_seconds"] is not None]
    spent = f"{min(seconds):.0f} to {max(seconds):.0f} s" if seconds else "not measured"
    seeds = {name: sum(row["system"] == name for row in rows) for name in names}
    trainings = ", ".join(f"{count} of `{name}`" for name, count in seeds.items())
    return f"""# Posteriors beside exact ones

`python experiments/posteriors.py`. Relaxation times under 20 protocols that training has not seen,
{rows[0]["voxels"]} voxels. Trainings: {trainings}, {rows[0]["steps"]:,} steps each, which took
{spent} of the processor, beside other work. The network proposes a normal posterior; 64 points of
it, 256 where there are three quantities, are weighted with the likelihood. The exact posterior mean
is by a grid, and no estimate has a smaller error, but by up to 1 % where a grid of three quantities
is coarse. Coverage: share of the truths inside the central
interval (± 0.7 % at 90 %, by chance).
Slope: of the estimate over the truth. In brackets the least and the largest of the trainings.

{table(head, lines)}

Effective sample sizes over the points: {effective} in the worst twentieth and in the median.

Asked was an error of at most {MOST} times that of the exact posterior mean, and that 90 % intervals
hold {100 * LOW:.0f} to {100 * HIGH:.0f} % of the truths, of the weighted posterior.
{_verdict(rows)}
"""
