"""Pictures of maps beside their errors, as one looks at them: truth, network, other methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.units import factor
from ipads_stream.evaluation.figures import WIDTH, drawing
from ipads_stream.evaluation.quantification.comparison import Comparison
from ipads_stream.evaluation.quantification.figures import estimated, label

MAP_COLOURS, ERROR_COLOURS = "viridis", "RdBu_r"


def maps(comparison: Comparison, quantity: str, path: Path, *, sample: int = 0) -> Path:
    """Maps of one sample above their errors, truth first; of a volume the plane with most in it.

    Args:
        comparison: of methods on the same samples.
        quantity: name.
        path: of the PNG.
        sample: number of the sample; methods that were not given it are left out.
    """
    of = comparison.quantities[quantity]
    unit = factor(of.unit)
    truth = comparison.truths[quantity][sample] / unit
    mask = None if comparison.mask is None else comparison.mask[sample]
    plane = _plane(truth, mask)
    inside = np.ones(truth.shape, bool) if mask is None else mask
    estimates = {
        name: comparison.estimates[name][quantity][sample] / unit
        for name in estimated(comparison, quantity)
        if comparison.counted(name) > sample
    }
    draw_maps(
        path,
        truth[plane],
        {name: values[plane] for name, values in estimates.items()},
        inside[plane],
        label(quantity, of),
    )
    return path


def draw_maps(
    path: Path,
    truth: np.ndarray,
    estimates: Mapping[str, np.ndarray],
    inside: np.ndarray,
    told: str,
) -> None:
    """The true map and estimates on one scale, below each the error, on one scale of its own.

    Args:
        path: of the PNG.
        truth: (X, Y), in the unit of ``told``; x runs to the right, y upwards.
        estimates: method -> map, the same unit.
        inside: (X, Y), True where a map counts; elsewhere it is left white.
        told: quantity with its unit.
    """
    shown = np.where(inside, truth, np.nan)
    low, high = (
        (float(x) for x in np.nanquantile(shown, [0.005, 0.995])) if inside.any() else (0, 1)
    )
    if not low < high:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    errors = {name: np.where(inside, values - truth, np.nan) for name, values in estimates.items()}
    sizes = [np.abs(e[np.isfinite(e)]) for e in errors.values()]
    reach = max((float(np.quantile(size, 0.98)) for size in sizes if size.size), default=1.0) or 1.0
    columns = 1 + len(estimates)
    side = WIDTH / columns * truth.shape[1] / truth.shape[0]
    with drawing(path, 2, columns, height=min(2 * side + 1.0, 12.0)) as axes:
        top = [axes[0, 0].imshow(shown.T, origin="lower", vmin=low, vmax=high, cmap=MAP_COLOURS)]
        axes[0, 0].set_title(f"truth: {told}")
        axes[1, 0].set_axis_off()
        for column, (name, values) in enumerate(estimates.items(), start=1):
            top.append(axes[0, column].imshow(
                np.where(inside, values, np.nan).T, origin="lower", vmin=low, vmax=high,
                cmap=MAP_COLOURS,
            ))  # fmt: skip
            below = axes[1, column].imshow(
                errors[name].T, origin="lower", vmin=-reach, vmax=reach, cmap=ERROR_COLOURS
            )
            finite = errors[name][np.isfinite(errors[name])]
            rmse = float(np.sqrt(np.mean(finite**2))) if finite.size else float("nan")
            axes[0, column].set_title(name)
            axes[1, column].set_title(f"error, RMS {rmse:.3g}")
        for axis in axes.ravel():
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        figure = axes[0, 0].figure
        figure.colorbar(top[0], ax=list(axes[0]), label=told, shrink=0.85, extend="both")
        if estimates:
            figure.colorbar(below, ax=list(axes[1]), label="estimate − truth", shrink=0.85,
                            extend="both")  # fmt: skip


def _plane(truth: np.ndarray, mask: np.ndarray | None) -> Any:
    """Index of the plane that is drawn: of a volume the one along its last axis with most in it."""
    if truth.ndim == 2:
        return ...
    weight = np.abs(np.nan_to_num(truth)) if mask is None else mask
    return (..., int(weight.sum(axis=(0, 1)).argmax()))
