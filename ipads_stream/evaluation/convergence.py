"""How the solver that follows the network converges, on signals whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.evaluation.methods import Method
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.planes import Plane, restrict, spectrum
from ipads_stream.evaluation.refinement import LowRank, Smooth

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
        found: dict[str, Any] = {"signals": self.errors.shape[1], "passes": list(self.passes)}
        for name, values in parts.items():
            low, middle, high = quartiles(values)
            found |= {
                f"{name}_median": _plain(middle),
                f"{name}_lower": _plain(low),
                f"{name}_upper": _plain(high),
            }
        return found

    def told(self) -> str:
        """The finding in one sentence."""
        first, last = (float(quartiles(self.errors)[1][at]) for at in (0, -1))
        change = float(quartiles(self.changes)[1][-1])
        verdict = "falls" if last < first else "does not fall"
        return (
            f"over {self.passes[-1]} passes the median RLNE {verdict}, from {first:.3f} of the "
            f"network to {last:.3f}; the last pass changes a signal by {100 * change:.2g} %"
        )


def course(
    model: Method,
    fid: Complex[np.ndarray, "rows points"],
    mask: Bool[np.ndarray, "..."],
    reference: Complex[np.ndarray, "rows points"],
    *,
    window: Float[np.ndarray, " points"] | None = None,
    solver: LowRank | Smooth | None = None,
) -> Course:
    """Follows a solver from the network's estimates to its last pass.

    A solver's passes do not depend on how many there will be, so it is run anew up to each stop.

    Args:
        model: the network, ``(fid, mask) -> fid``.
        fid: sampled signals, any unit.
        mask: True where sampled, (points,) or (rows, points).
        reference: the true, or fully sampled, signals in the unit of `fid`.
        window: of the spectra that are compared; None: none.
        solver: None: LowRank().
    """
    solver = LowRank() if solver is None else solver
    start = model(fid, mask)
    stops = sorted({round(stop) for stop in np.geomspace(1, solver.passes, 7)})
    found = [replace(solver, passes=stop)(fid, mask, start) for stop in stops]
    shape = np.ones(fid.shape[1]) if window is None else window
    errors = [
        rlne(shape * estimate, shape * reference, axis=-1)
        for estimate in (start, *(refined.estimate for refined in found))
    ]
    return Course((0, *stops), np.array(errors), found[-1].changes, found[-1].residuals)


def on_plane(model: Method, plane: Plane, rows: slice, mask: Bool[np.ndarray, " points"]) -> Course:
    """The course on the strongest rows of a plane.

    Args:
        model: the network, ``(fid, mask) -> fid``.
        plane: fully sampled.
        rows: of the direct dimension, to choose from.
        mask: sampling schedule.
    """
    plane = restrict(plane, rows)
    heights = np.abs(spectrum(plane)).max(axis=1)
    strongest = np.sort(np.argsort(-heights)[:MOST])
    full = plane.fid[strongest]
    return course(model, np.where(mask, full, 0), mask, full, window=plane.window)


def quartiles(values: Float[np.ndarray, "stops rows"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower quartile, median and upper quartile over the finite values of each row, (stops,)."""
    known = [row[np.isfinite(row)] for row in values]
    found = [np.quantile(row, (0.25, 0.5, 0.75)) if row.size else [np.nan] * 3 for row in known]
    low, middle, high = np.array(found).reshape(-1, 3).T
    return low, middle, high


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
