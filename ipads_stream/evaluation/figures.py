"""What all pictures share: size, letters, colours that colour-blind people tell apart, saving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipads_stream.core.files import replacing
from ipads_stream.evaluation.methods import IST, LRHM, NETWORK, REFINED, ZERO_FILLING

# Okabe, Ito 2008. The reference is black wherever it is drawn.
BLACK, GREY, BLUE, GREEN, VERMILION, ORANGE = (
    "#000000", "#8c8c8c", "#0072b2", "#009e73", "#d55e00", "#e69f00",
)  # fmt: skip
COLOURS = {ZERO_FILLING: GREY, IST: BLUE, LRHM: GREEN, NETWORK: VERMILION, REFINED: ORANGE}
MARKERS = {ZERO_FILLING: "s", IST: "^", LRHM: "D", NETWORK: "o", REFINED: "v"}
WIDTH = 10.0  # inches, of a page

RC: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.3,
    "savefig.facecolor": "white",
}


@contextmanager
def drawing(
    path: Path,
    num_rows: int,
    num_columns: int,
    *,
    height: float,
    share: tuple[bool, bool] = (False, False),
) -> Iterator[Any]:
    """The axes, (num_rows, num_columns), of a figure that is saved when the block ends.

    The PNG is either complete or not there; no figure stays behind in global state.

    Args:
        path: of the PNG; its folder exists.
        num_rows, num_columns: of the axes.
        height: inches.
        share: whether all axes share (x, y).
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(
            num_rows, num_columns, squeeze=False, sharex=share[0], sharey=share[1]
        )
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=130)
