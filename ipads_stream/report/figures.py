"""What all pictures share: size, fonts, colours that colour-blind people distinguish, saving."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipads_stream.core.files import replacing

NETWORK = "network"  # among the methods; it has the same colour everywhere
# Okabe, Ito 2008. The reference is black wherever it is drawn.
BLACK, GREY, BLUE, GREEN, VERMILION, ORANGE, PURPLE, SKY = (
    "#000000", "#8c8c8c", "#0072b2", "#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9",
)  # fmt: skip
OTHERS = (BLUE, GREEN, ORANGE, PURPLE, SKY, GREY)
MARKS = "^Dsv<>p"
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

    The PNG is either complete or not there. ``height`` is in inches; ``share`` says whether all
    axes share (x, y).
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        sharex, sharey = share
        yield figure.subplots(num_rows, num_columns, squeeze=False, sharex=sharex, sharey=sharey)
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=130)


@contextmanager
def panels(
    path: Path, count: int, columns: int, *, height: float, margin: float
) -> Iterator[list[Any]]:
    """``count`` axes of ``height`` inches in rows of ``columns``; the last places may be empty."""
    num_rows, num_columns = max(1, -(-count // columns)), max(1, min(columns, count))
    with drawing(path, num_rows, num_columns, height=margin + height * num_rows) as axes:
        for axis in axes.flat[count:]:
            axis.set_axis_off()
        yield list(axes.flat[:count])


def labelled_handles(axes: Iterable[Any]) -> dict[str, Any]:
    """What is drawn in several axes, for one legend: label -> handle of the first."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def legend(axes: Sequence[Any], *, most: int = 5, markerscale: float = 2.5) -> None:
    """One legend above all axes of a figure, of at most ``most`` columns."""
    if handles := labelled_handles(axes):
        axes[0].figure.legend(
            handles.values(), handles.keys(), loc="outside upper left",
            ncols=min(len(handles), most), markerscale=markerscale,
        )  # fmt: skip


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for every method, the network's everywhere the same."""
    others = itertools.cycle(OTHERS)
    return {name: VERMILION if name == NETWORK else next(others) for name in methods}


def marks(methods: Iterable[str]) -> dict[str, str]:
    """A mark for every method, the network's a disc."""
    others = itertools.cycle(MARKS)
    return {name: "o" if name == NETWORK else next(others) for name in methods}


def plain_ticks(axis: Any) -> None:
    """Labels 20 50 100 200 of a drawn logarithmic x or y axis, more where the scale is short."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    bounds = ((8, (1.0, 1.5, 2, 3, 5, 7)), (100, (1.0, 2.0, 5.0)), (1000, (1.0, 3.0)))
    subs = next((subs for ratio, subs in bounds if high <= ratio * low), (1.0,))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())
