"""Pictures of estimates: against the truth, their differences, their error along a parameter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import factor
from ipads_stream.evaluation.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    drawing,
)
from ipads_stream.evaluation.quantification.comparison import Comparison
from ipads_stream.evaluation.quantification.methods import NETWORK
from ipads_stream.evaluation.quantification.scores import BOUND, of_sums, sample_sums

PURPLE, SKY = "#cc79a7", "#56b4e9"  # of the same palette
OTHERS = (BLUE, GREEN, ORANGE, PURPLE, SKY, GREY)
MOST = 20_000  # values of a scatter plot; more are thinned evenly
BINS = 12  # of a parameter
PER_ROW = 4  # panels


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for every method, the network's everywhere the same."""
    rest = itertools.cycle(OTHERS)
    return {name: VERMILION if name == NETWORK else next(rest) for name in methods}


def label(name: str, quantity: Quantity) -> str:
    """Name and unit, such as "T2 (ms)"."""
    return f"{name} ({quantity.unit})" if quantity.unit not in ("", "1") else name


def pairs(
    comparison: Comparison, quantity: str, method: str, most: int | None = MOST
) -> tuple[np.ndarray, np.ndarray]:
    """True and estimated values that count, in the quantity's unit, at most ``most`` of them.

    Args:
        comparison: of methods on the same samples.
        quantity, method: names.
        most: values, taken evenly; None: all.
    """
    estimate = comparison.estimates[method][quantity]
    truth = comparison.truths[quantity][: len(estimate)]
    counts = np.isfinite(estimate) & np.isfinite(truth)
    if comparison.mask is not None:
        counts &= comparison.mask[: len(estimate)]
    if comparison.quantities[quantity].scale == "log":
        counts &= (estimate > 0) & (truth > 0)
    unit = factor(comparison.quantities[quantity].unit)
    x, y = truth[counts].astype(np.float64) / unit, estimate[counts].astype(np.float64) / unit
    if most is not None and len(x) > most:
        some = np.linspace(0, len(x) - 1, most).astype(np.int64)
        x, y = x[some], y[some]
    return x, y


def scatter(comparison: Comparison, quantity: str, path: Path) -> Path:
    """Estimate over truth, one panel per method: darker where there are more; the line is right.

    Args:
        comparison: of methods on the same samples.
        quantity: name.
        path: of the PNG.
    """
    of = comparison.quantities[quantity]
    low, high = _limits(comparison, quantity)
    is_log = of.scale == "log" and low > 0
    with _panels(comparison, quantity, path) as panels:
        for name, axis in panels.items():
            x, y = pairs(comparison, quantity, name)
            _density(axis, x, np.clip(y, low, high), (low, high, low, high), is_log, is_log)
            axis.plot([low, high], [low, high], color=BLACK, linewidth=0.9)
            r = of_sums(sample_sums(comparison, quantity, name).sum(axis=0))["r"]
            axis.set_title(f"{name}\nr = {float(r):.4f}")
            axis.set_xlabel(f"true {label(quantity, of)}")
            _label_first(axis, "estimated")
            axis.set_xlim(low, high)
            axis.set_ylim(low, high)
    return path


def bland_altman(comparison: Comparison, quantity: str, path: Path) -> Path:
    """Difference over mean of estimate and truth, with the mean difference and 1.96 SD around it.

    On a logarithmic scale the difference is relative, in percent of the mean.
    Source: Bland, Altman, Lancet 327:307 (1986).

    Args:
        comparison: of methods on the same samples.
        quantity: name.
        path: of the PNG.
    """
    of = comparison.quantities[quantity]
    relative = of.scale == "log"
    found = {}
    for name in estimated(comparison, quantity):
        x, y = pairs(comparison, quantity, name)
        middle = 0.5 * (x + y)
        found[name] = middle, 100 * (y - x) / middle if relative else y - x
    spread = max(
        (float(np.quantile(np.abs(d), 0.995)) for _, d in found.values() if d.size), default=1.0
    )
    low, high = _limits(comparison, quantity)
    with _panels(comparison, quantity, path) as panels:
        for name, axis in panels.items():
            middle, difference = found[name]
            reach = 1.1 * spread or 1.0
            clipped = np.clip(difference, -reach, reach)
            _density(axis, middle, clipped, (low, high, -reach, reach), relative, False)
            mean, sd = (difference.mean(), difference.std()) if difference.size else (0.0, 0.0)
            axis.axhline(0.0, color=GREY, linewidth=0.8)
            for place, style in ((mean, "-"), (mean - 1.96 * sd, "--"), (mean + 1.96 * sd, "--")):
                axis.axhline(place, color=VERMILION, linewidth=1.0, linestyle=style)
            unit = "%" if relative else of.unit
            axis.set_title(f"{name}\n{mean:+.2g} ± {1.96 * sd:.2g} {unit}".rstrip())
            axis.set_xlabel(f"mean of both, {label(quantity, of)}")
            _label_first(axis, "estimate − truth" + (f" ({unit})" if unit else ""))
            axis.set_xlim(low, high)
            axis.set_ylim(-reach, reach)
    return path


def error_against(
    comparison: Comparison, quantity: str, by: str, path: Path, *, bins: int = BINS
) -> Path:
    """Root mean square error of every method in bins of a parameter, and the bound's.

    Args:
        comparison: of methods on the same samples.
        quantity: name.
        by: parameter of the samples, one number each, or the quantity itself (one value each).
        path: of the PNG.
        bins: of equally many samples.
    """
    of = comparison.quantities[quantity]
    score = "log_rmse" if of.scale == "log" else "rmse"
    values, axis_name = _parameter(comparison, by)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    chosen = [place == n for n in np.unique(place)]
    centres = np.array([np.median(values[some]) for some in chosen])
    with drawing(path, 1, 1, height=4.0) as axes:
        axis = axes[0, 0]
        largest = 0.0
        for name, colour in colours(estimated(comparison, quantity)).items():
            sums = sample_sums(comparison, quantity, name)
            binned = np.stack([sums[some[: len(sums)]].sum(axis=0) for some in chosen])
            y = of_sums(binned)[score] / (1.0 if score == "log_rmse" else factor(of.unit))
            axis.plot(centres, y, "o-", color=colour, markersize=4, label=name)
            largest = max(largest, float(np.nanmax(y, initial=0.0)))
        if quantity in comparison.bounds and comparison.bounds[quantity].ndim == 1:
            over = comparison.truths[quantity] if score == "log_rmse" else factor(of.unit)
            sd = comparison.bounds[quantity] / over
            y = np.sqrt([np.mean(sd[some] ** 2) for some in chosen])
            axis.plot(centres, y, "k--", label=BOUND)
        axis.set_yscale("log")
        if axis.get_ylim()[1] > 2 * largest > 0:  # a bound far above all errors says no more
            axis.set_ylim(top=2 * largest)
        _plain_ticks(axis.yaxis)
        if values.min() > 0 and values.max() > 10 * values.min():
            axis.set_xscale("log")
            _plain_ticks(axis.xaxis)
        axis.set_xlabel(axis_name)
        axis.set_ylabel(
            f"root mean square of ln(estimate / truth), {quantity}"
            if score == "log_rmse"
            else f"root mean square error of {label(quantity, of)}"
        )
        axis.grid(axis="y", which="both", color="#e4e4e4", linewidth=0.6)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _parameter(comparison: Comparison, by: str) -> tuple[np.ndarray, str]:
    """Values of a quantity, in its unit, or of a parameter, one per sample, and what they are."""
    if by in comparison.quantities:
        quantity = comparison.quantities[by]
        return comparison.truths[by].astype(np.float64) / factor(quantity.unit), label(by, quantity)
    return np.asarray(comparison.params[by], dtype=np.float64), by


def estimated(comparison: Comparison, quantity: str) -> list[str]:
    """Methods that estimate a quantity."""
    return [name for name, found in comparison.estimates.items() if quantity in found]


def _limits(comparison: Comparison, quantity: str) -> tuple[float, float]:
    """The range of the true values that count, in the quantity's unit."""
    truth = comparison.truths[quantity]
    counts = np.isfinite(truth)
    if comparison.mask is not None:
        counts &= comparison.mask
    if comparison.quantities[quantity].scale == "log":
        counts &= truth > 0
    values = truth[counts] / factor(comparison.quantities[quantity].unit)
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1))


def _density(
    axis: Any,
    x: np.ndarray,
    y: np.ndarray,
    extent: tuple[float, float, float, float],
    log_x: bool,
    log_y: bool,
) -> None:
    """Hexagons, darker by the logarithm of their count, on the axes' scales."""
    ends = list(extent)
    for first, is_log in ((0, log_x), (2, log_y)):
        if is_log:
            ends[first : first + 2] = [float(np.log10(end)) for end in ends[first : first + 2]]
    scales = {"xscale": "log" if log_x else "linear", "yscale": "log" if log_y else "linear"}
    if len(x):
        axis.hexbin(x, y, gridsize=45, extent=ends, bins="log", cmap="Blues", mincnt=1,
                    linewidths=0.1, **scales)  # fmt: skip
    axis.set(**scales)
    for of, is_log in ((axis.xaxis, log_x), (axis.yaxis, log_y)):
        if is_log:
            _plain_ticks(of)


def _label_first(axis: Any, text: str) -> None:
    """The label of the y axis, where a row of panels begins."""
    if axis.get_subplotspec().is_first_col():
        axis.set_ylabel(text)


def _plain_ticks(axis: Any) -> None:
    """Labels 20 50 100 200 in place of powers of ten, and more of them on a short scale."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    is_long = high > 8 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if is_long else (1.0, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def _panels(comparison: Comparison, quantity: str, path: Path) -> Iterator[dict[str, Any]]:
    """Axes by method, ``PER_ROW`` to a row; those left over are empty."""
    methods = estimated(comparison, quantity)
    columns = min(PER_ROW, max(1, len(methods)))
    rows = -(-max(1, len(methods)) // columns)
    with drawing(path, rows, columns, height=3.3 * rows + 0.2) as axes:
        for axis in axes.ravel()[len(methods) :]:
            axis.set_axis_off()
        yield dict(zip(methods, axes.ravel(), strict=False))
