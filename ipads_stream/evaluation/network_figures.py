"""Pictures of what a network and the solver behind it do: convergence, learned thresholds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.convergence import Course, quartiles
from ipads_stream.evaluation.figures import BLUE, COLOURS, GREEN, GREY, drawing
from ipads_stream.evaluation.methods import NETWORK, REFINED
from ipads_stream.evaluation.thresholds import QUANTITIES, table_of

FLOOR = 1e-8  # smaller values are drawn here: rounding noise


def convergence_curves(courses: Mapping[str, Course], path: Path) -> Path:
    """Error against passes of the solver, and what it can see of its own convergence.

    Args:
        courses: where -> course; a row of panels each.
        path: of the PNG.
    """
    with drawing(path, len(courses), 2, height=0.4 + 3.0 * len(courses)) as axes:
        for (error, seen), (where, course) in zip(axes, courses.items(), strict=True):
            _band(error, course.passes, course.errors, COLOURS[REFINED], REFINED)
            start = float(quartiles(course.errors)[1][0])
            error.axhline(start, color=COLOURS[NETWORK], linestyle="--", label=NETWORK)
            error.set_title(textwrap.fill(f"Error: {where}", 52))
            error.set_ylabel("RLNE (dimensionless)")
            every = range(1, len(course.changes) + 1)
            _band(seen, every, course.changes, BLUE, "change ‖xₖ − xₖ₋₁‖ / ‖xₖ‖")
            _band(seen, every, course.residuals, GREEN, "residual ‖l − y‖ / ‖y‖")
            seen.set_title("What the solver sees itself")
            for axis in (error, seen):
                axis.set_xlabel("passes of the low-rank solver")
                axis.set_yscale("log")
                axis.grid(axis="y", color="#e4e4e4", linewidth=0.6)
                axis.set_axisbelow(True)
                axis.margins(x=0.02)
            error.legend(loc="lower left")
            seen.legend(loc="lower left")
    return path


def _band(axis: Any, x: Sequence[int], values: np.ndarray, colour: str, label: str) -> None:
    """Median and quartiles over the signals."""
    low, middle, high = (np.maximum(part, FLOOR) for part in quartiles(values))
    axis.plot(x, middle, "o-", color=colour, markersize=3.2, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def threshold_curves(
    rows: Sequence[Mapping[str, Any]], trained: tuple[float, float], path: Path
) -> Path:
    """Learned thresholds against the sampling rate, one line per phase, first dark, last light.

    Args:
        rows: of ``thresholds_by_rate``.
        trained: lowest and highest rate of the training.
        path: of the PNG.
    """
    import matplotlib as mpl

    keys = [key for key in QUANTITIES if key in rows[0]]
    rates = sorted({row["rate"] for row in rows})
    with drawing(path, 1, len(keys), height=3.8) as axes:
        for axis, key in zip(axes[0], keys, strict=True):
            table = table_of([dict(row) for row in rows], key)
            shades = mpl.colormaps["cividis"](np.linspace(0, 0.9, table.shape[1]))
            for phase, (values, shade) in enumerate(zip(table.T, shades, strict=True), start=1):
                axis.plot(
                    [100 * rate for rate in rates], values, "o-", color=shade, markersize=3.5,
                    label=f"phase {phase}",
                )  # fmt: skip
            shown = trained if trained[1] > trained[0] else (trained[0] - 0.004, trained[0] + 0.004)
            axis.axvspan(
                100 * shown[0], 100 * shown[1], color=GREY, alpha=0.12, linewidth=0, zorder=0,
                label="rates of the training",
            )  # fmt: skip
            axis.set_xlim(100 * rates[0] - 1, 100 * rates[-1] + 1)
            if (table > 0).all() and table.max() > 5 * table.min():
                axis.set_yscale("log")
            axis.set_xlabel("sampled points (%)")
            axis.set_ylabel(QUANTITIES[key])
        axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path
