"""How the solver that follows the network converges, on signals whose truth is known."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.baselines.signals.refinement import LowRank
from ipads_stream.data.planes.plane import Plane, restrict, spectrum
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.statistics import plain
from ipads_stream.report.figures import BLUE, GREEN, NETWORK, ORANGE, VERMILION, drawing

Reconstruct = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (fid, mask) -> fid
FLOOR = 1e-8  # smaller values are drawn here: rounding noise
MOST = 48  # signals that are followed


@dataclass(frozen=True)
class Course:
    """Error and objective of a refinement, pass by pass.

    Attributes:
        passes: after which the error was taken, rising from 0, the network's estimate, (stops,).
        errors: RLNE of each signal there, NaN of one that is zero, (stops, rows).
        changes, residuals: of :class:`Refinement`, of every pass, (passes, rows).
    """

    passes: tuple[int, ...]
    errors: Float[np.ndarray, "stops rows"]
    changes: Float[np.ndarray, "passes rows"]
    residuals: Float[np.ndarray, "passes rows"]

    def summary(self) -> dict[str, Any]:
        """Plain numbers: quartiles over the signals."""
        parts = {"rlne": self.errors, "change": self.changes, "residual": self.residuals}
        results: dict[str, Any] = {"signals": self.errors.shape[1], "passes": list(self.passes)}
        for name, values in parts.items():
            low, middle, high = ([plain(x) for x in part] for part in quartiles(values))
            results |= {f"{name}_median": middle, f"{name}_lower": low, f"{name}_upper": high}
        return results

    def sentence(self) -> str:
        """How far the error falls."""
        first, last = (float(quartiles(self.errors)[1][at]) for at in (0, -1))
        change = float(quartiles(self.changes)[1][-1])
        verdict = "falls" if last < first else "does not fall"
        return (
            f"over {self.passes[-1]} passes the median RLNE {verdict}, from {first:.3f} of the "
            f"network to {last:.3f}; the last pass changes a signal by {100 * change:.2g} %"
        )


def course(
    model: Reconstruct,
    fid: Complex[np.ndarray, "rows points"],
    mask: Bool[np.ndarray, "..."],
    reference: Complex[np.ndarray, "rows points"],
    *,
    window: Float[np.ndarray, " points"] | None = None,
    solver: Any = None,
) -> Course:
    """Follows a solver (None: LowRank()) from the network's estimates to its last pass.

    A solver's passes do not depend on how many there will be, so it is run anew up to each stop.
    ``reference`` holds the true, or fully sampled, signals; spectra are compared after ``window``.
    """
    solver = LowRank() if solver is None else solver
    start = model(fid, mask)
    stops = sorted({round(stop) for stop in np.geomspace(1, solver.passes, 7)})
    results = [replace(solver, passes=stop)(fid, mask, start) for stop in stops]
    shape = np.ones(fid.shape[1]) if window is None else window
    estimates = [start, *(refined.estimate for refined in results)]
    errors = [rlne(shape * estimate, shape * reference, axis=-1) for estimate in estimates]
    return Course((0, *stops), np.array(errors), results[-1].changes, results[-1].residuals)


def on_plane(
    model: Reconstruct, plane: Plane, rows: slice, mask: Bool[np.ndarray, " points"]
) -> Course:
    """The course on the strongest of some rows of a fully sampled plane."""
    plane = restrict(plane, rows)
    heights = np.abs(spectrum(plane)).max(axis=1)
    strongest = np.sort(np.argsort(-heights)[:MOST])
    full = plane.fid[strongest]
    return course(model, np.where(mask, full, 0), mask, full, window=plane.window)


def quartiles(values: Float[np.ndarray, "stops rows"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower quartile, median and upper quartile over the finite values of each row, (stops,)."""
    known = [row[np.isfinite(row)] for row in values]
    results = [np.quantile(row, (0.25, 0.5, 0.75)) if row.size else [np.nan] * 3 for row in known]
    low, middle, high = np.array(results).reshape(-1, 3).T
    return low, middle, high


def convergence_curves(courses: Mapping[str, Course], path: Path, *, name: str) -> Path:
    """Error against passes of the solver, and what it can see of its own convergence.

    ``name`` is that of the network with the solver after it.
    """
    with drawing(path, len(courses), 2, height=0.4 + 3.0 * len(courses)) as axes:
        for (error, seen), (where, course) in zip(axes, courses.items(), strict=True):
            _band(error, course.passes, course.errors, ORANGE, name)
            start = float(quartiles(course.errors)[1][0])
            error.axhline(start, color=VERMILION, linestyle="--", label=NETWORK)
            error.set(title=textwrap.fill(f"Error: {where}", 52), ylabel="RLNE (dimensionless)")
            every = range(1, len(course.changes) + 1)
            _band(seen, every, course.changes, BLUE, "change ‖xₖ − xₖ₋₁‖ / ‖xₖ‖")
            _band(seen, every, course.residuals, GREEN, "residual ‖l − y‖ / ‖y‖")
            seen.set_title("What the solver sees itself")
            for axis in (error, seen):
                axis.set(xlabel="passes of the low-rank solver", yscale="log", axisbelow=True)
                axis.grid(axis="y", color="#e4e4e4", linewidth=0.6)
                axis.margins(x=0.02)
                axis.legend(loc="lower left")
    return path


def _band(axis: Any, x: Sequence[int], values: np.ndarray, colour: str, label: str) -> None:
    """Median and quartiles over the signals."""
    low, middle, high = (np.maximum(part, FLOOR) for part in quartiles(values))
    axis.plot(x, middle, "o-", color=colour, markersize=3.2, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
