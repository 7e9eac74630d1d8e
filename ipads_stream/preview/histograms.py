"""Histograms of drawn parameters beside the exact law of each, and shares of their regions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.units import factor, interval, labelled, plain
from ipads_stream.distributions.emphasized import Reshared
from ipads_stream.distributions.law import DISTINCT, Law
from ipads_stream.preview.parameters import Drawn
from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY, VERMILION

COLUMNS = 3
LETTERS = 38  # of a title's line
FINE = 12  # cells of the exact density in each bin of the histogram
PALE = 0.4
COLOURS = BLUE, VERMILION
ENDS = "drawn (where it changes: at the start)", "drawn at the end"


def parameter_histograms(moments: Sequence[Mapping[str, Drawn]], path: Path) -> Path:
    """A histogram of every drawn parameter, in the unit of the configuration, and its exact law.

    What a curriculum changes is drawn at its start (blue) and at its end (vermilion).
    """
    constants = [drawn for drawn in moments[0].values() if drawn.is_constant]
    shown = [drawn for drawn in moments[0].values() if not drawn.is_constant]
    labels = ENDS if any(drawn.varies for drawn in shown) else ("drawn",)
    count = max(len(shown) + bool(constants), 1)
    with figures.panels(path, count, COLUMNS, height=2.5, margin=0.7) as axes:
        for axis, drawn in zip(axes, shown, strict=False):
            _panel(axis, [each[drawn.name] for each in moments[: 1 + drawn.varies]], labels)
        if constants:
            ends = [(c, c.shown(c.support[0])) for c in constants]
            text = "\n".join(f"{c.name} = {interval(end, end, c.unit)}" for c, end in ends)
            last = axes[-1]
            last.set_axis_off()
            last.set_title("Constant")
            last.text(0.0, 0.97, text, va="top", linespacing=1.5, transform=last.transAxes)
        for axis in axes[::COLUMNS]:
            axis.set_ylabel("share of draws (%)")
        figures.legend(axes)
    return path


def _panel(axis: Any, moments: list[Drawn], labels: Sequence[str]) -> None:
    """One parameter, at one or two sample indices."""
    drawn = moments[0]
    axis.set_title(drawn.title if len(drawn.title) <= LETTERS else drawn.title.replace(": ", ":\n"))
    axis.set_xlabel(drawn.label)
    draws = [each.present[np.isfinite(each.present)] for each in moments]
    if not all(values.size for values in draws):
        axis.text(0.5, 0.5, "no finite value", ha="center", transform=axis.transAxes)
        return
    laws = [each.law for each in moments]
    distinct = _distinct(draws, laws)
    drawing, places = (_bars, distinct) if distinct.size else (_bins, bin_edges(drawn, draws))
    tallest = 0.0
    for values, law, colour, label in zip(draws, laws, COLOURS, labels, strict=False):
        shares, exact = drawing(axis, drawn, values, law, places, colour, label)
        if law is not None:
            style = "-" if law.is_exact else (0, (4, 2))
            text = "exact" if law.is_exact else "exact, given what it depends on"
            exact.set(color=BLACK if len(moments) == 1 else colour, linestyle=style, label=text)
        tallest = max(tallest, shares)
    axis.set_ylim(0, 1.12 * tallest)


def _distinct(draws: list[np.ndarray], laws: list[Law | None]) -> Float[np.ndarray, " n"]:
    """The few values that are drawn; none of a continuum."""
    every = []
    for drawn, law in zip(draws, laws, strict=True):
        values = np.unique(drawn) if law is None else law.values()
        if not values.size or (law is None and values.size > min(DISTINCT, drawn.size // 2)):
            return np.zeros(0)
        every.append(values)
    return np.unique(np.concatenate(every))


def _bars(
    axis: Any, drawn: Drawn, values: np.ndarray, law: Law | None, distinct: np.ndarray,
    colour: str, label: str,
) -> tuple[float, Any]:  # fmt: skip
    """Shares of single values: the tallest, in %, and the lines of the exact ones."""
    at = drawn.shown(distinct)
    gap = np.diff(at).min() if at.size > 1 else max(abs(at[0]), 1.0)
    nearest = np.abs(values[:, None] - distinct).argmin(axis=1)
    shares = 100 * np.bincount(nearest, minlength=distinct.size) / values.size
    axis.bar(at, shares, width=0.8 * gap, color=colour, alpha=PALE, linewidth=0, label=label)
    if at.size <= 12:
        axis.set_xticks(at, [plain(value) for value in at])
    if law is None:
        return float(shares.max()), None
    exact = 100 * law.shares(distinct)
    at, exact = at[exact > 1e-6], exact[exact > 1e-6]
    lines = axis.hlines(exact, at - 0.4 * gap, at + 0.4 * gap)
    return float(max(shares.max(), exact.max())), lines


def _bins(
    axis: Any, drawn: Drawn, values: np.ndarray, law: Law | None, edges: np.ndarray,
    colour: str, label: str,
) -> tuple[float, Any]:  # fmt: skip
    """Shares of bins: the tallest, in %, and the steps of the exact ones."""
    shares = 100 * np.histogram(values, bins=edges)[0] / values.size
    axis.stairs(shares, drawn.shown(edges), fill=True, color=colour, alpha=PALE, lw=0, label=label)
    if drawn.is_logarithmic:
        axis.set_xscale("log")
        figures.plain_ticks(axis.xaxis)
    if law is None:
        return float(shares.max()), None
    exact = 100 * law.between(edges)
    fine, height = edges, exact
    has_jumps = any(part.atoms.size for part in law.distribution.nested())
    if not has_jumps and not law.distribution.is_integer:
        # Every bin split, and each cell as tall as a bin that were filled like it.
        parts, low, high = np.arange(FINE) / FINE, edges[:-1, None], edges[1:, None]
        cells = low * (high / low) ** parts if drawn.is_logarithmic else low + (high - low) * parts
        fine = np.append(cells.ravel(), edges[-1])
        height = 100 * FINE * law.between(fine)
    return float(max(shares.max(), exact.max())), axis.stairs(height, drawn.shown(fine))


def bin_edges(
    drawn: Drawn, values: list[np.ndarray], most_bins: int = 36
) -> Float[np.ndarray, " n"]:
    """Edges of a histogram (SI), from end to end of the support where the draws come near it."""
    low, high = min(group.min() for group in values), max(group.max() for group in values)
    count = int(np.clip(np.sqrt(min(group.size for group in values)), 8, most_bins))
    if drawn.distribution is not None:
        near = 0.05 * (high - low)
        least, most = drawn.support
        low = least if low - least <= near else low
        high = most if most - high <= near else high
        if drawn.is_integer:
            least_step = max(int(np.ceil((high - low + 1) / count)), 1)
            steps = range(least_step, 2 * least_step)  # better one that divides the range
            step = next((s for s in steps if not (high - low + 1) % s), least_step)
            return np.arange(low - 0.5, high + step, step)
    if low == high:
        width = max(abs(low), 1.0)
        return np.linspace(low - 0.5 * width, high + 0.5 * width, count + 1)
    return (np.geomspace if drawn.is_logarithmic else np.linspace)(low, high, count + 1)


def region_shares(parameters: Mapping[str, Drawn], path: Path) -> Path | None:
    """Bars for each region of parameters that are drawn more often where it matters: its natural
    share, its share here, and the bounds of that.
    """
    shown = [
        (parameter, part)
        for parameter in parameters.values()
        if parameter.distribution is not None
        for part in parameter.distribution.nested()
        if isinstance(part, Reshared)
    ]
    if not shown:
        return None
    with figures.panels(path, len(shown), 2, height=3.2, margin=0.7) as axes:
        for axis, (parameter, part) in zip(axes, shown, strict=True):
            _region_bars(axis, parameter, part)
        for axis in axes[::2]:
            axis.set_ylabel("share of draws (%)")
        figures.legend(axes)
    return path


def _region_bars(axis: Any, parameter: Drawn, part: Reshared) -> None:
    at = np.arange(part.natural.size)
    tops = [part.natural.max(), part.sampled.max()]
    for shares, shift, colour, label in (
        (part.natural, -0.2, GREY, "by nature"), (part.sampled, 0.2, BLUE, "here")
    ):  # fmt: skip
        bars = axis.bar(at + shift, 100 * shares, 0.36, color=colour, alpha=0.6, label=label)
        axis.bar_label(bars, fmt="%.3g", fontsize=8.5, padding=3)
    law = parameter.distribution
    assert law is not None
    if part is (law.parts["distribution"] if law.correlations else law):  # its values are the draws
        region = part.region(parameter.present)
        drawn = np.bincount(region[region >= 0], minlength=at.size) / max(region.size, 1)
        axis.plot(at + 0.2, 100 * drawn, "o", color=BLACK, markersize=3.5, label="drawn")
        tops.append(drawn.max())
    for shares, style, label in ((part.least, "-", "at least"), (part.most, "--", "at most")):
        bound = np.flatnonzero((shares > 0) & (shares < 1))
        if bound.size:
            axis.hlines(100 * shares[bound], at[bound] - 0.02, at[bound] + 0.42, color=VERMILION,
                        linestyle=style, label=label)  # fmt: skip
            tops.append(min(shares[bound].max(), 2 * max(tops)))
    low, high = (end / factor(part.unit) for end in part.support)
    pairs = itertools.pairwise([low, *part.edges, high])
    axis.set_xticks(at, [interval(a, b, "") for a, b in pairs])
    axis.set(title=f"{parameter.name}: {part.label}", ylim=(0, 115 * max(tops)),
             xlabel=labelled(f"region of {parameter.name}", part.unit))  # fmt: skip
