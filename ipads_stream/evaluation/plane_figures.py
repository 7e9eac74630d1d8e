"""Pictures of planes: contours as spectroscopists draw them, and slices through them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.evaluation.figures import BLACK, VERMILION, drawing
from ipads_stream.evaluation.measured import intensities
from ipads_stream.evaluation.planes import Axis, Plane, spectrum
from ipads_stream.evaluation.signal_figures import spectra_overlay


def plane_contours(
    plane: Plane,
    estimates: Mapping[str, Complex[np.ndarray, "rows points"]],
    mask: Bool[np.ndarray, " points"],
    path: Path,
) -> Path:
    """The full plane and the reconstructions, below them their differences at the same levels.

    Both axes decrease away from the origin of the page (to the right and upwards), the direct
    dimension lies along x. Positive contours are black, negative ones vermilion.

    Args:
        plane: fully sampled.
        estimates: method -> t1 rows.
        mask: of the schedule, for the title.
        path: of the PNG.
    """
    full = intensities(plane, spectrum(plane))
    levels = contour_levels(full)
    panels = {name: intensities(plane, spectrum(plane, fid)) for name, fid in estimates.items()}
    columns = 1 + len(panels)
    height = 0.9 + 23.0 / columns
    with drawing(path, 2, columns, height=height, share=(True, True)) as axes:
        x = plane_axis(plane.direct, full.shape[0])
        y = plane_axis(plane.indirect, full.shape[1])
        _contours(axes[0, 0], x, y, full, levels)
        axes[0, 0].set_title("fully sampled")
        axes[1, 0].set_axis_off()
        told = (
            f"{mask.sum()} of {mask.size} points sampled.\n"
            f"Contours start at {100 * levels[0] / np.abs(full).max():.2g} %\n"
            f"of the tallest point and\nrise by a factor {levels[1] / levels[0]:.2g}."
        )
        for place, text, colour in (
            (0.95, told, BLACK),
            (0.60, "Black: positive.", BLACK),
            (0.52, "Vermilion: negative.", VERMILION),
        ):
            axes[1, 0].text(
                0.0, place, text, color=colour, va="top", transform=axes[1, 0].transAxes
            )
        for column, (name, values) in enumerate(panels.items(), start=1):
            _contours(axes[0, column], x, y, values, levels)
            axes[0, column].set_title(name)
            _contours(axes[1, column], x, y, values - full, levels)
            axes[1, column].set_title(f"{name} − full")
        for axis in (axes[0, 0], *axes[1, 1:]):
            axis.set_xlabel(axis_label(plane.direct))
            axis.tick_params(labelbottom=True)
        for axis in (axes[0, 0], axes[1, 1]):
            axis.set_ylabel(axis_label(plane.indirect))
            axis.tick_params(labelleft=True)
        axes[0, 0].set_xlim(x.max(), x.min())
        axes[0, 0].set_ylim(y.max(), y.min())
    return path


def _contours(
    axis: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray
) -> None:
    for sign, colour in ((1, BLACK), (-1, VERMILION)):
        drawn = levels[levels < (sign * values).max()]
        if drawn.size:
            axis.contour(x, y, sign * values.T, levels=drawn, colors=colour, linewidths=0.55)
    if np.abs(values).max() <= levels[0]:
        axis.text(
            0.5, 0.5, "nothing above the\nlowest contour", ha="center", transform=axis.transAxes
        )
    for spine in axis.spines.values():
        spine.set_visible(True)


def contour_levels(
    values: Float[np.ndarray, "rows points"], *, count: int = 12
) -> Float[np.ndarray, " levels"]:
    """Rising levels: from 4 noise standard deviations, or 3 % of the tallest point if that is more.

    Args:
        values: drawn spectrum, any unit; mostly noise, whose spread is taken from the median.
        count: number of levels.
    """
    tallest = float(np.abs(values).max())
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    lowest = min(max(4 * spread, 0.03 * tallest), 0.3 * tallest)
    return np.geomspace(lowest, 0.95 * tallest, count)


def plane_slice(
    plane: Plane,
    estimates: Mapping[str, Complex[np.ndarray, "rows points"]],
    path: Path,
    *,
    count: int = 2,
) -> Path:
    """Slices along the indirect dimension: at the strongest direct frequency, and at a weaker one.

    Args:
        plane: fully sampled.
        estimates: method -> t1 rows.
        path: of the PNG.
        count: slices.
    """
    full = intensities(plane, spectrum(plane))
    heights = full.max(axis=1)
    tops = np.flatnonzero(
        (heights >= np.roll(heights, 1)) & (heights >= np.roll(heights, -1))
        & (heights > 0.1 * heights.max())
    )  # fmt: skip
    order = tops[np.argsort(-heights[tops])]
    rows = [int(order[place]) for place in np.linspace(0, (len(order) - 1) / 2, count).astype(int)]
    with drawing(path, 1, count, height=4.8) as axes:
        y = plane_axis(plane.indirect, full.shape[1])
        shifts = plane_axis(plane.direct, full.shape[0])
        for axis, row in zip(axes[0], rows, strict=True):
            drawn = {
                name: intensities(plane, spectrum(plane, fid))[row]
                for name, fid in estimates.items()
            }
            scale = float(np.abs(full[row]).max()) or 1.0
            spectra_overlay(
                axis,
                y,
                full[row] / scale,
                {n: v / scale for n, v in drawn.items()},
                "fully sampled",
            )
            axis.set_xlim(y.max(), y.min())
            axis.set_xlabel(axis_label(plane.indirect))
            nucleus = "" if plane.direct.nucleus == "?" else f" ({plane.direct.nucleus})"
            where = f"{shifts[row]:.2f} {axis_unit(plane.direct)}"
            axis.set_title(f"Slice at {where}{nucleus}")
        axes[0, 0].set_ylabel("intensity (of the slice's tallest point);\nbelow: estimate − full")
        axes[0, 0].figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=len(estimates) + 1,
        )
    return path


def plane_axis(axis: Axis, points: int) -> Float[np.ndarray, " points"]:
    """ppm where the Larmor frequency is known, else Hz from the centre; increasing.

    Args:
        axis: of the plane.
        points: of the spectrum.
    """
    return axis.ppm(points) if np.isfinite(axis.frequency) else axis.hertz(points)


def axis_unit(axis: Axis) -> str:
    """Unit of :func:`plane_axis`."""
    if np.isfinite(axis.frequency):
        return "ppm"
    return "Hz" if axis.width != 1.0 else "cycles per point"


def axis_label(axis: Axis) -> str:
    """Nucleus and unit, such as "15N (ppm)"."""
    nucleus = "frequency" if axis.nucleus == "?" else axis.nucleus
    return f"{nucleus} ({axis_unit(axis)})"
