"""Pictures of undersampled signals and planes beside their reconstructions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.data.planes.plane import Plane, restrict
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks.signals.planes import MeasuredTest
from ipads_stream.evaluation.tasks.signals.scores import TARGET, peak_intensities, signal_errors
from ipads_stream.report import curves, signals
from ipads_stream.report.figures import NETWORK, colours
from ipads_stream.report.page import Picture

REFINED, LINES = "network + low rank", "network + lines"
SPARSE = "sparse Bayes"
DRAWN = 3  # methods; of others, numbers: more curves in one plot hide each other


def nearest_rate(rates: Iterable[float]) -> float:
    """The rate nearest to 25 %, which pictures are drawn at."""
    return min(rates, key=lambda rate: abs(rate - 0.25))


def plane_pictures(plane: Plane, test: MeasuredTest, output: Path) -> list[Picture]:
    """A plane and its reconstructions, and their error by rate, with captions."""
    rate, region = nearest_rate(test.estimates), test.regions[-1]  # where the signals are
    estimates = test.estimates[rate]
    drawn = {name: estimates[name][region.rows] for name in _drawn(estimates)}
    part, whole = restrict(plane, region.rows), test.regions[0].name
    lines = []
    for row in (row for row in test.rows if row["region"] == whole):
        spread = row["rlne_sd"] or 0.0
        lines.append(row | {"low": row["rlne"] - spread, "high": row["rlne"] + spread})
    points = [row for row in test.schedules if row["region"] == whole]
    contours, slices, errors = (output / f"{x}.png" for x in ("plane", "slices", "measured_error"))
    signals.plane_contours(part, drawn, test.masks[rate], contours)
    signals.plane_slice(part, drawn, slices, colour=colours(estimates))
    title = f"{plane.name}: error against the share of sampled points"
    bounds = "low", "high"
    curves.error_by_rate(lines, errors, title=title, centre="rlne", bounds=bounds, points=points)
    return [
        (
            contours,
            f"{plane.name} at {100 * rate:g} % sampling (schedule 0): full spectrum, "
            "reconstructions, and what they miss, all at the same contour levels.",
        ),
        (
            slices,
            "Slices through the strongest and a middling direct frequency, with the differences to "
            "the full spectrum below, each on its own zero line.",
        ),
        (
            errors,
            "RLNE over all rows: mean ± standard deviation over schedules; small: each schedule.",
        ),
    ]


def synthetic_pictures(
    by_rate: Mapping[float, Comparison],
    rows: Sequence[Mapping[str, Any]],
    dwell: float,
    output: Path,
) -> list[Picture]:
    """Test signals, their reconstructions and peaks, and the error by rate, with captions."""
    rate = nearest_rate(by_rate)
    comparison, percent = by_rate[rate], f"{100 * rate:g} %"
    spectra = {name: values[TARGET] for name, values in comparison.estimates.items()}
    errors = np.nan_to_num(signal_errors(comparison, NETWORK), nan=-1.0)
    order = np.argsort(errors)
    examples = {
        f"{where}: signal {row}, network RLNE {errors[row]:.3f}": int(row)
        for where, row in (("Median", order[len(order) // 2]), ("Worst", order[-1]))
    }
    intensities = {}
    for name, estimates in spectra.items():
        pairs = zip(estimates, comparison.truths[TARGET], strict=False)
        estimated, true = zip(*(peak_intensities(*pair) for pair in pairs), strict=True)
        intensities[name] = np.concatenate(estimated), np.concatenate(true)
    names = ("synthetic_error", "spectra", "intensities", "samples")
    by_rates, overlays, scatter, gallery = (output / f"{name}.png" for name in names)
    made: list[Picture] = []
    if len(by_rate) > 1:
        title = "Synthetic signals: median error against the share of sampled points"
        bounds = "rlne_low", "rlne_high"
        curves.error_by_rate(rows, by_rates, title=title, centre="rlne_median", bounds=bounds)
        made.append((by_rates, "Median RLNE per signal with 95 % bootstrap intervals."))
    drawn = {name: spectra[name] for name in _drawn(spectra)}
    colour = colours(spectra)
    signals.synthetic_spectra(
        comparison.sample, drawn, examples, overlays, colour=colour, dwell=dwell
    )
    title = f"Peak intensities at {percent} sampling: on the line is right"
    curves.intensity_scatter(intensities, scatter, title=title)
    signals.sample_gallery(comparison.sample, gallery, dwell=dwell)
    return [
        *made,
        (
            overlays,
            f"Test signals at {percent} sampling with the network's median and largest error; "
            "below, the differences to the target, each on its own zero line. Frequencies above "
            f"half the sampling rate appear folded ({0.7 / dwell:g} Hz at {-0.3 / dwell:g} Hz with "
            f"a dwell of {dwell:g} s). Curves are magnitudes; RLNE is of the complex spectrum.",
        ),
        (
            scatter,
            "Estimated over true peak magnitude, all peaks above 3 % of their signal's tallest.",
        ),
        (gallery, "Test signals: what is measured (left) and the spectrum to be found (right)."),
    ]


def _drawn(estimates: Mapping[str, Any]) -> list[str]:
    """The network, and the fastest classical methods, which the systems name first."""
    return [name for name in estimates if name not in (REFINED, LINES, SPARSE)][:DRAWN]
