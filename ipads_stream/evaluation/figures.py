"""What all pictures share: size, letters, colours that colour-blind people tell apart, saving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ipads_stream.evaluation.methods import IST, LRHM, NETWORK, ZERO_FILLING

# Okabe, Ito 2008. The reference is black wherever it is drawn.
BLACK, GREY, BLUE, GREEN, VERMILION, ORANGE = (
    "#000000", "#8c8c8c", "#0072b2", "#009e73", "#d55e00", "#e69f00",
)  # fmt: skip
COLOURS = {ZERO_FILLING: GREY, IST: BLUE, LRHM: GREEN, NETWORK: VERMILION}
MARKERS = {ZERO_FILLING: "s", IST: "^", LRHM: "D", NETWORK: "o"}
WIDTH = 10.0  # inches, of a page

RC = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.3,
    "savefig.facecolor": "white",
}


def grid(
    num_rows: int, num_columns: int, *, height: float, share: tuple[bool, bool] = (False, False)
) -> tuple[Any, Any]:
    """A figure of page width and its axes, (num_rows, num_columns), without global state.

    Args:
        num_rows, num_columns: of the grid.
        height: inches.
        share: whether all axes share (x, y).
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(
            num_rows, num_columns, squeeze=False, sharex=share[0], sharey=share[1]
        )
    return figure, axes


def save(figure: Any, path: Path) -> Path:
    """Writes a PNG that is either complete or not there, and returns its path."""
    import matplotlib as mpl

    partial = path.with_name(f".{path.name}.partial")
    with mpl.rc_context(RC):
        figure.savefig(partial, format="png", dpi=130)
    os.replace(partial, path)
    return path
