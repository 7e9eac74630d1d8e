"""Histograms of drawn parameters, and the exact law of each laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.evaluation.figures import BLACK, BLUE, VERMILION, drawing
from ipads_stream.evaluation.preview_exact import Law, law_of
from ipads_stream.evaluation.preview_parameters import (
    Drawn,
    drawn_parameters,
    nested,
    plain,
    present_values,
)

COLUMNS = 3
LETTERS = 38  # of a title's line
FINE = 12  # cells of the exact density in each bin of the histogram
PALE = 0.4


def parameter_histograms(
    system: Any, draws: Mapping[float, Mapping[str, np.ndarray]], path: Path
) -> Path:
    """A histogram of every drawn parameter, in the unit of the configuration, and its exact law.

    What a curriculum changes is drawn at its start (blue) and at its end (vermilion).

    Args:
        system: a dataclass, some of whose fields are distributions.
        draws: global sample index -> drawn parameters there, SI, (B, ...): one, or start and end.
        path: of the PNG.
    """
    first, *rest = draws
    parameters = drawn_parameters(system, draws[first])
    constants = [one for one in parameters.values() if one.is_constant]
    shown = [one for one in parameters.values() if not one.is_constant]
    num_panels = len(shown) + bool(constants)
    num_rows = max(-(-num_panels // COLUMNS), 1)
    with drawing(path, num_rows, COLUMNS, height=0.7 + 2.5 * num_rows) as axes:
        for axis, one in zip(axes.flat, shown, strict=False):
            varies = one.distribution is not None and one.distribution.varies
            _panel(axis, one, {at: draws[at] for at in (first, *rest)[: 1 + varies]})
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        if constants:
            _constants(axes.flat[len(shown)], constants)
        for row in axes:
            row[0].set_ylabel("share of draws (%)")
        _legend(axes[0, 0].figure, has_end=any(_varies(one) for one in shown))
    return path


def _varies(one: Drawn) -> bool:
    return one.distribution is not None and one.distribution.varies


def _legend(figure: Any, has_end: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=BLUE, alpha=PALE, label="drawn"),
        Line2D([], [], color=BLACK, label="exact"),
        Line2D([], [], color=BLACK, linestyle=(0, (4, 2)), label="exact, given what it depends on"),
    ]
    if has_end:
        handles[:1] = [
            Patch(facecolor=BLUE, alpha=PALE, label="drawn (where it changes: at the start)"),
            Patch(facecolor=VERMILION, alpha=PALE, label="drawn at the end"),
        ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def _constants(axis: Any, constants: list[Drawn]) -> None:
    lines = []
    for one in constants:
        unit = f" {one.unit}" if one.unit not in ("", "1") else ""
        lines.append(f"{one.name} = {one.shown(one.support[0]):.6g}{unit}")
    axis.set_title("Constant")
    axis.text(0.0, 0.97, "\n".join(lines), va="top", linespacing=1.5, transform=axis.transAxes)


def _panel(axis: Any, one: Drawn, draws: Mapping[float, Mapping[str, np.ndarray]]) -> None:
    """One parameter, at one or two sample indices."""
    axis.set_title(one.title if len(one.title) <= LETTERS else one.title.replace(": ", ":\n"))
    axis.set_xlabel(one.label)
    values = [present_values(params, params[one.name]) for params in draws.values()]
    values = [some[np.isfinite(some)] for some in values]
    if not all(some.size for some in values):
        axis.text(0.5, 0.5, "no finite value", ha="center", transform=axis.transAxes)
        return
    laws = [law_of(one, params, at) for at, params in draws.items()]
    colours = [BLUE, VERMILION]
    distinct = _distinct(values, laws)
    tallest = 0.0
    for some, law, colour in zip(values, laws, colours, strict=False):
        line = BLACK if len(draws) == 1 else colour
        if distinct.size:
            tallest = max(tallest, _bars(axis, one, some, law, distinct, colour, line))
        else:
            edges = bin_edges(one, values)
            tallest = max(tallest, _bins(axis, one, some, law, edges, colour, line))
    axis.set_ylim(0, 1.12 * tallest)


def _distinct(values: list[np.ndarray], laws: list[Law | None]) -> Float[np.ndarray, " n"]:
    """The few values that are drawn; none of a continuum."""
    if all(law is not None for law in laws):
        each = [law.values() for law in laws if law is not None]
        is_few = all(some.size for some in each)
    else:
        each = [np.unique(some) for some in values]
        is_few = all(
            e.size <= 40 and v.size > 2 * e.size for e, v in zip(each, values, strict=True)
        )
    return np.unique(np.concatenate(each)) if is_few else np.zeros(0)


def _bars(
    axis: Any,
    one: Drawn,
    values: np.ndarray,
    law: Law | None,
    distinct: np.ndarray,
    colour: str,
    line: str,
) -> float:
    """Shares of single values; the tallest, in %."""
    at = one.shown(distinct)
    gap = np.diff(at).min() if at.size > 1 else max(abs(at[0]), 1.0)
    nearest = np.abs(values[:, None] - distinct).argmin(axis=1)
    shares = 100 * np.bincount(nearest, minlength=distinct.size) / values.size
    axis.bar(at, shares, width=0.8 * gap, color=colour, alpha=PALE, linewidth=0)
    if at.size <= 12:
        axis.set_xticks(at, [plain(value) for value in at])
    if law is None:
        return float(shares.max())
    exact = 100 * law.shares(distinct)
    some = exact > 1e-6
    ends = at[some] - 0.4 * gap, at[some] + 0.4 * gap
    axis.hlines(exact[some], *ends, color=line, linestyle=_style(law))
    return float(max(shares.max(), exact.max()))


def _bins(
    axis: Any,
    one: Drawn,
    values: np.ndarray,
    law: Law | None,
    edges: np.ndarray,
    colour: str,
    line: str,
) -> float:
    """Shares of bins; the tallest, in %."""
    shares = 100 * np.histogram(values, bins=edges)[0] / values.size
    if one.is_logarithmic:
        axis.set_xscale("log")
        plain_ticks(axis.xaxis, one.shown(edges[0]), one.shown(edges[-1]))
    axis.stairs(shares, one.shown(edges), fill=True, color=colour, alpha=PALE, linewidth=0)
    if law is None:
        return float(shares.max())
    exact = 100 * law.between(edges)
    fine, height = edges, exact
    has_jumps = any(part.atoms.size for part in nested(law.distribution))
    if not has_jumps and not law.distribution.is_integer:
        # Every bin split, and each cell as tall as a bin that were filled like it.
        parts = np.arange(FINE) / FINE
        if one.is_logarithmic:
            fine = edges[:-1, None] * (edges[1:] / edges[:-1])[:, None] ** parts
        else:
            fine = edges[:-1, None] + np.diff(edges)[:, None] * parts
        fine = np.append(fine.ravel(), edges[-1])
        height = 100 * FINE * law.between(fine)
    axis.stairs(height, one.shown(fine), color=line, linestyle=_style(law))
    return float(max(shares.max(), exact.max()))


def _style(law: Law) -> Any:
    return "-" if law.is_exact else (0, (4, 2))


def bin_edges(one: Drawn, values: list[np.ndarray], most_bins: int = 36) -> Float[np.ndarray, " n"]:
    """Edges of a histogram (SI), from end to end of the support where the draws come near it.

    Args:
        one: the parameter.
        values: some of its draws, SI, in one or more groups.
        most_bins: at most so many, unless they are single numbers.
    """
    low, high = min(some.min() for some in values), max(some.max() for some in values)
    count = int(np.clip(np.sqrt(min(some.size for some in values)), 8, most_bins))
    if one.distribution is not None:
        near = 0.05 * (high - low)
        least, most = one.support
        low = least if low - least <= near else low
        high = most if most - high <= near else high
        if one.distribution.is_integer:
            least_step = max(int(np.ceil((high - low + 1) / count)), 1)
            steps = range(least_step, 2 * least_step)  # better one that leaves no rest
            step = next((s for s in steps if not (high - low + 1) % s), least_step)
            return np.arange(low - 0.5, high + step, step)
    if low == high:
        width = max(abs(low), 1.0)
        return np.linspace(low - 0.5 * width, high + 0.5 * width, count + 1)
    if one.is_logarithmic:
        return np.geomspace(low, high, count + 1)
    return np.linspace(low, high, count + 1)


def plain_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis as plain numbers; at 1, 2 and 5 where it spans little.

    Args:
        axis: x or y axis.
        low, high: its ends.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(high / low)
    if decades < 3:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3)))
        axis.set_minor_formatter(NullFormatter())
    if high < 1e5 and low > 1e-4:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
