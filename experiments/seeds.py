"""Scores over training seeds: means, Student's intervals, tables of several trainings as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipads_stream.evaluation.statistics import plain, student
from ipads_stream.evaluation.tasks.quantities.scores import SCORES


def over_seeds(values: Sequence[float], *, level: float = 0.95) -> dict[str, Any]:
    """Mean and Student's interval of a score over training seeds.

    Args:
        values: one per seed, any unit.
        level: of the interval.

    Returns:
        "mean", "sd", "low", "high" (None with one seed), "seeds" and "by_seed".
    """
    array = np.array(values, dtype=np.float64)
    several = len(array) > 1
    low, high = student(array, level) if several else (np.nan, np.nan)
    return {
        "mean": plain(array.mean()),
        "sd": plain(array.std(ddof=1)) if several else None,
        "low": plain(low),
        "high": plain(high),
        "seeds": len(array),
        "by_seed": [plain(value) for value in array],
    }


def pooled(
    rows_by_seed: Sequence[Sequence[Mapping[str, Any]]], *, level: float = 0.95
) -> list[dict[str, Any]]:
    """Rows of :func:`scores` of several trainings as one table.

    A method that has rows of the first training alone, or the same scores in all, was not trained:
    it keeps its row, with the interval over samples. Of the others every score becomes the mean,
    with Student's interval over seeds as ``<score>_low`` and ``<score>_high``, and with
    ``<score>_sd`` and ``<score>_by_seed``.

    Args:
        rows_by_seed: the rows of each training.
        level: of the intervals.

    Raises:
        ValueError: a quantity and method that the first training does not have.
    """
    tables = [{(row["quantity"], row["method"]): row for row in rows} for rows in rows_by_seed]
    new = {place for table in tables for place in table} - set(tables[0])
    if new:
        raise ValueError(f"rows of {sorted(new)}, which the first seed does not have")
    merged = []
    for place, row in tables[0].items():
        of_all = [table[place] for table in tables if place in table]
        trained = any(other.get("rmse") != row.get("rmse") for other in of_all)
        merged.append(_mean_row(of_all, level) if trained else dict(row))
    return merged


def _mean_row(rows: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any]:
    mean = dict(rows[0]) | {"seeds": len(rows)}
    for score in SCORES:
        values = [row[score] for row in rows if row.get(score) is not None]
        if len(values) < len(rows):
            continue
        found = over_seeds(values, level=level)
        mean[score] = found["mean"]
        mean |= {f"{score}_{key}": found[key] for key in ("low", "high", "sd", "by_seed")}
    mean["seconds_per_sample"] = float(np.median([row["seconds_per_sample"] for row in rows]))
    return mean
