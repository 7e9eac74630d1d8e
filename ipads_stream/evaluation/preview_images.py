"""Galleries of images and maps: a row for each sample, a colour bar for each column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.figures import WIDTH, drawing
from ipads_stream.evaluation.preview_views import Column
from ipads_stream.evaluation.preview_voxels import draw_curves

FEWEST = 4  # columns of a page: with fewer some stay empty
OUTSIDE = "#e4e4e4"  # where a map has no value


def image_rows(columns: list[Column], path: Path, titles: Sequence[str]) -> Path:
    """A row of views for each sample; images of one column share their scale and colour bar.

    Args:
        columns: at least one of images.
        path: of the PNG.
        titles: one per sample.
    """
    shapes = [one.values.shape[1:] for one in columns if one.values.ndim == 3]
    tallest = max(height / width for height, width in shapes)
    num_columns = max(len(columns), FEWEST)
    width = WIDTH / num_columns
    height = 1.2 + 0.92 * len(titles) * width * min(tallest, 1.6)
    with drawing(path, len(titles), num_columns, height=height) as axes:
        for axis in axes[:, len(columns) :].flat:
            axis.set_axis_off()
        for column, one in enumerate(columns):
            if one.kind in ("image", "phase", "map"):
                _images(axes[:, column], one)
            else:
                for row, axis in enumerate(axes[:, column]):
                    _plain(axis, one, row)
            axes[0, column].set_title(one.title, fontsize=9.5 if len(columns) < 6 else 8)
        for row, title in enumerate(titles):
            axes[row, 0].set_ylabel(title.replace(" at ", "\nat "), fontsize=8.5)
    return path


def _images(axes: Any, one: Column) -> None:
    low, high, colours = _scale(one)
    for axis, values in zip(axes, one.values, strict=True):
        image = axis.imshow(
            values, cmap=colours, vmin=low, vmax=high, interpolation="nearest", aspect="equal"
        )
        axis.set_facecolor(OUTSIDE)
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    bar = axes[0].figure.colorbar(image, ax=list(axes), location="bottom", pad=0.015, aspect=14)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    if one.kind == "phase":
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
    else:
        bar.ax.xaxis.get_major_locator().set_params(nbins=3)
    bar.set_label(one.unit or "a.u." if one.kind != "map" else one.unit, fontsize=8.5)


def _scale(one: Column) -> tuple[float, float, str]:
    """Ends and colours of a column's scale: symmetric where the values are of both signs."""
    if one.kind == "phase":
        return -np.pi, np.pi, "twilight"
    values = one.values if one.whole is None else one.whole
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0, "gray"
    low, high = (float(end) for end in np.quantile(finite, [0.002, 0.998]))
    if low < 0 < high and -low > 0.05 * high:
        most = max(-low, high)
        return -most, most, "RdBu_r" if one.kind == "map" else "gray"
    if one.kind == "image":
        return min(low, 0.0), high if high > low else low + 1.0, "gray"
    if not low < high:
        return low - 0.5, high + 0.5, "viridis"
    return low, high, "viridis"


def _plain(axis: Any, one: Column, row: int) -> None:
    """A number as text, a curve as a line."""
    if one.kind == "number":
        told = f"{one.values[row]:.4g} {one.unit}".strip()
        axis.text(0.5, 0.5, told, ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    draw_curves(axis, [one], row)
