"""Galleries of voxels: their curves, and their numbers in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.figures import BLACK, BLUE, GREY, VERMILION, drawing
from ipads_stream.evaluation.preview_views import Column

PANELS = 3  # voxels in a row
ROWS = 6  # voxels, where each has a row of panels
LETTERS = 40  # of a panel's title
NO_BREAK = "\N{NO-BREAK SPACE}"


def voxel_panels(columns: list[Column], given: set[str], path: Path, titles: Sequence[str]) -> Path:
    """The curves of each voxel, in one panel where they are as long, and its numbers in words.

    Args:
        columns: curves and numbers.
        given: titles of those that are inputs; other numbers are to be found.
        path: of the PNG.
        titles: one per sample.
    """
    curves = [one for one in columns if one.kind == "curve"]
    numbers = [one for one in columns if one.kind == "number"]
    found = [one for one in numbers if one.title not in given]
    groups = list({one.values.shape[1]: None for one in curves})
    panels = [[one for one in curves if one.values.shape[1] == points] for points in groups]
    panels = panels or [[]]
    num_columns = PANELS if len(panels) == 1 else len(panels)
    letters = LETTERS if len(panels) == 1 else PANELS * LETTERS
    titles = titles if len(panels) == 1 else titles[:ROWS]
    num_rows = -(-len(titles) * len(panels) // num_columns)
    told = [_wrapped([_told(one, row) for one in found], letters) for row in range(len(titles))]
    lines = 1 + max(len(text) for text in told)
    with drawing(path, num_rows, num_columns, height=0.6 + (1.7 + 0.2 * lines) * num_rows) as axes:
        for place, axis in enumerate(axes.flat):
            row, panel = divmod(place, len(panels))
            if row >= len(titles):
                axis.set_axis_off()
                continue
            if panel == 0:
                axis.set_title("\n".join([titles[row], *told[row]]), fontsize=9.5)
                beside = [_told(one, row) for one in numbers if one not in found]
                axis.text(
                    0.98, 0.97, "\n".join(beside), ha="right", va="top", color=GREY, fontsize=8,
                    transform=axis.transAxes,
                )  # fmt: skip
            draw_curves(axis, panels[panel], row)
            if place + num_columns >= axes.size:
                axis.set_xlabel("point")
            is_first = place % num_columns == 0
            if len(panels) > 1 or is_first:
                names = [one.title for one in panels[panel]]
                axis.set_ylabel(f"{names[0] if len(names) == 1 else 'signal'} (a.u.)")
        _curve_legend(axes[0, : len(panels)])
    return path


def _told(one: Column, row: int) -> str:
    """Name, value and unit, which stay on one line."""
    return f"{one.title} {one.values[row]:.4g} {one.unit}".strip().replace(" ", NO_BREAK)


def _wrapped(words: list[str], letters: int) -> list[str]:
    return textwrap.wrap(", ".join(words), letters, break_long_words=False)


def _curve_legend(axes: Any) -> None:
    """One legend of the page, where some panel has several lines."""
    each = [axis.get_legend_handles_labels() for axis in axes]
    if any(len(labels) > 1 for _, labels in each):
        handles = [handle for some, _ in each for handle in some]
        labels = [label for _, some in each for label in some]
        axes[0].figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 6))


def draw_curves(axis: Any, curves: list[Column], row: int) -> None:
    """Curves of one sample, complex ones by their parts.

    Args:
        axis: to draw on.
        curves: columns of curves.
        row: of the sample.
    """
    colours = [BLACK, BLUE, VERMILION, GREY]
    axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    for k, one in enumerate(curves):
        values = one.values[row]
        marker = "." if values.size <= 40 else ""
        if np.iscomplexobj(values):
            for part, colour in (("real", BLUE), ("imaginary", VERMILION)):
                shown = values.real if part == "real" else values.imag
                style = "-" if k == 0 else "--"
                axis.plot(
                    shown, color=colour, linestyle=style, marker=marker,
                    label=f"{one.title}, {part}",
                )  # fmt: skip
        else:
            colour = colours[k % len(colours)]
            axis.plot(values, color=colour, marker=marker, label=one.title)
    axis.margins(x=0.02)
