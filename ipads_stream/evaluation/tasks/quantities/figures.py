"""Pictures of estimates: against the truth, their differences, their error, and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.units import factor, labelled
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks import pictures
from ipads_stream.evaluation.tasks.quantities.scores import BOUND, error_key, of_sums, sample_sums
from ipads_stream.evaluation.tasks.sample_means import estimates_of
from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY, VERMILION, WIDTH, drawing, plain_ticks

MOST = 20_000  # values of a scatter plot; more are thinned evenly
FEW = 1000  # values; fewer are drawn one by one
BINS = 12  # of a parameter
PER_ROW = 4  # panels
MAP_COLOURS, ERROR_COLOURS = "viridis", "RdBu_r"
TAIL = 0.005  # of the values of maps at either end that the colours do not tell apart


def pairs(
    comparison: Comparison, quantity: str, method: str, most: int | None = MOST
) -> tuple[np.ndarray, np.ndarray]:
    """True and estimated values that count, in the quantity's unit; at most ``most``, evenly."""
    estimate = comparison.estimates[method][quantity]
    truth = comparison.truths[quantity][: len(estimate)]
    counts = _counts(comparison, quantity, truth) & _counts(comparison, quantity, estimate)
    unit = factor(comparison.quantities[quantity].unit)
    x, y = (values[counts].astype(np.float64) / unit for values in (truth, estimate))
    if most is not None and len(x) > most:
        samples = np.linspace(0, len(x) - 1, most).astype(np.int64)
        x, y = x[samples], y[samples]
    return x, y


def _counts(comparison: Comparison, quantity: str, values: np.ndarray) -> np.ndarray:
    """Where values are finite, inside the mask, and on their scale."""
    counts = np.isfinite(values)
    if comparison.mask is not None:
        counts &= comparison.mask[: len(values)]
    return counts & (values > 0) if comparison.quantities[quantity].scale == "log" else counts


def scatter(comparison: Comparison, quantity: str, path: Path) -> Path:
    """Estimate over truth, one panel per method: darker where there are more; the line is right."""
    target = comparison.quantities[quantity]
    low, high = _limits(comparison, quantity)
    is_log = target.scale == "log" and low > 0
    label = labelled(quantity, target.unit)
    with _panels(comparison, quantity, path, f"estimated {label}") as by_method:
        for name, axis in by_method:
            x, y = pairs(comparison, quantity, name)
            _density(axis, x, np.clip(y, low, high), (low, high, low, high), is_log, is_log)
            axis.plot([low, high], [low, high], color=BLACK, linewidth=0.9)
            r = of_sums(sample_sums(comparison, quantity, name).sum(axis=0))["r"]
            axis.set(title=f"{name}\nr = {float(r):.4f}", xlim=(low, high), ylim=(low, high),
                     xlabel=f"true {label}")  # fmt: skip
    return path


def bland_altman(comparison: Comparison, quantity: str, path: Path) -> Path:
    """Difference over mean of estimate and truth, with the mean difference and 1.96 SD around it.

    On a logarithmic scale the difference is relative, in percent of the mean.
    Source: Bland, Altman, Lancet 327:307 (1986).
    """
    target = comparison.quantities[quantity]
    relative = target.scale == "log"
    differences = {}
    for name in comparison.methods(quantity):
        x, y = pairs(comparison, quantity, name)
        middle = 0.5 * (x + y)
        differences[name] = middle, 100 * (y - x) / middle if relative else y - x
    sizes = [np.abs(difference) for _, difference in differences.values() if difference.size]
    spread = max((float(np.quantile(size, 0.995)) for size in sizes), default=1.0)
    low, high = _limits(comparison, quantity)
    reach, unit = 1.1 * spread or 1.0, "%" if relative else target.unit
    label = "estimate − truth" + (f" ({unit})" if unit else "")
    with _panels(comparison, quantity, path, label) as by_method:
        for name, axis in by_method:
            middle, difference = differences[name]
            clipped = np.clip(difference, -reach, reach)
            _density(axis, middle, clipped, (low, high, -reach, reach), relative, False)
            mean, sd = (difference.mean(), difference.std()) if difference.size else (0.0, 0.0)
            axis.axhline(0.0, color=GREY, linewidth=0.8)
            for place, style in ((mean, "-"), (mean - 1.96 * sd, "--"), (mean + 1.96 * sd, "--")):
                axis.axhline(place, color=VERMILION, linewidth=1.0, linestyle=style)
            title = f"{name}\n{mean:+.2g} ± {1.96 * sd:.2g} {unit}".rstrip()
            axis.set(title=title, xlabel=f"mean of both, {labelled(quantity, target.unit)}",
                     xlim=(low, high), ylim=(-reach, reach))  # fmt: skip
    return path


def error_against(
    comparison: Comparison, quantity: str, by: str, path: Path, *, bins: int = BINS
) -> Path:
    """Root mean square error of every method in bins of a parameter, and the bound's.

    ``by`` is a parameter of one number a sample, or the quantity itself; bins hold equally many.
    """
    target = comparison.quantities[quantity]
    score, unit = error_key(target), factor(target.unit)
    if by in comparison.quantities:
        by_unit = comparison.quantities[by].unit
        values = comparison.truths[by].astype(np.float64) / factor(by_unit)
        name_of_axis = labelled(by, by_unit)
    else:
        values, name_of_axis = np.asarray(comparison.sample.params[by], dtype=np.float64), by
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    chosen = [place == n for n in np.unique(place)]
    centres = np.array([np.median(values[samples]) for samples in chosen])
    with figures.drawing(path, 1, 1, height=4.0) as axes:
        axis = axes[0, 0]
        largest = 0.0
        for name, colour in figures.colours(comparison.methods(quantity)).items():
            sums = sample_sums(comparison, quantity, name)
            binned = np.stack([sums[samples[: len(sums)]].sum(axis=0) for samples in chosen])
            y = of_sums(binned)[score] / (1.0 if score == "log_rmse" else unit)
            axis.plot(centres, y, "o-", color=colour, markersize=4, label=name)
            largest = max(largest, float(np.nanmax(y, initial=0.0)))
        if quantity in comparison.bounds and comparison.bounds[quantity].ndim == 1:
            over = comparison.truths[quantity] if score == "log_rmse" else unit
            sd = comparison.bounds[quantity] / over
            y = np.sqrt([np.mean(sd[samples] ** 2) for samples in chosen])
            axis.plot(centres, y, "k--", label=BOUND)
        axis.set_yscale("log")
        if axis.get_ylim()[1] > 2 * largest > 0:  # a bound far above all errors says no more
            axis.set_ylim(top=2 * largest)
        plain_ticks(axis.yaxis)
        if values.min() > 0 and values.max() > 10 * values.min():
            axis.set_xscale("log")
            plain_ticks(axis.xaxis)
        error = f"error of {labelled(quantity, target.unit)}"
        error = f"of ln(estimate / truth), {quantity}" if score == "log_rmse" else error
        axis.set(xlabel=name_of_axis, ylabel=f"root mean square {error}")
        axis.grid(axis="y", which="both", color="#e4e4e4", linewidth=0.6)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _limits(comparison: Comparison, quantity: str) -> tuple[float, float]:
    """The range of the true values that count, in the quantity's unit."""
    truth = comparison.truths[quantity]
    counts = _counts(comparison, quantity, truth)
    return _range(truth[counts] / factor(comparison.quantities[quantity].unit))


def _density(
    axis: Any, x: np.ndarray, y: np.ndarray, extent: Sequence[float], log_x: bool, log_y: bool
) -> None:
    """Hexagons, darker by the logarithm of their count, on the axes' scales."""
    logs = (log_x, log_x, log_y, log_y)
    ends = [np.log10(end) if log else end for end, log in zip(extent, logs, strict=True)]
    scales = {"xscale": "log" if log_x else "linear", "yscale": "log" if log_y else "linear"}
    if len(x) <= FEW:  # single values would be drawn in the faintest colour
        axis.plot(x, y, "o", color=BLUE, markersize=2.5, alpha=0.5, markeredgewidth=0)
    else:
        axis.hexbin(x, y, gridsize=45, extent=ends, bins="log", cmap="Blues", mincnt=1,
                    linewidths=0.1, **scales)  # fmt: skip
    axis.set(**scales)
    for scale, is_log in ((axis.xaxis, log_x), (axis.yaxis, log_y)):
        if is_log:
            plain_ticks(scale)


@contextmanager
def _panels(comparison: Comparison, quantity: str, path: Path, label: str) -> Iterator[Any]:
    """Axes by method, ``PER_ROW`` to a row, of which the first says what y is."""
    methods = comparison.methods(quantity)
    with figures.panels(path, len(methods), PER_ROW, height=3.3, margin=0.2) as axes:
        for axis in axes[::PER_ROW]:
            axis.set_ylabel(label)
        yield zip(methods, axes, strict=True)


def maps(
    comparison: Comparison,
    quantity: str,
    path: Path,
    *,
    sample: int = 0,
    spacing: Sequence[float] | None = None,
) -> Path:
    """Maps of one sample above their errors, truth first; of a volume its fullest plane.

    Methods that were not given the sample are left out. Voxels are ``spacing`` mm apart; without it
    the axes are not drawn.
    """
    target = comparison.quantities[quantity]
    unit = factor(target.unit)
    truth = comparison.truths[quantity][sample] / unit
    inside, weight = np.ones(truth.shape, bool), np.abs(np.nan_to_num(truth))
    if comparison.mask is not None:
        inside = weight = comparison.mask[sample]
    plane: Any = ...
    if truth.ndim > 2:
        plane = (..., int(weight.sum(axis=(0, 1)).argmax()))
    estimates = estimates_of(comparison, quantity, sample)
    shown = {name: values[plane] / unit for name, values in estimates.items()}
    title = labelled(quantity, target.unit)
    return draw_maps(path, truth[plane], shown, inside[plane], title, spacing)


def draw_maps(
    path: Path,
    truth: np.ndarray,
    estimates: Mapping[str, np.ndarray],
    inside: np.ndarray,
    title: str,
    spacing: Sequence[float] | None = None,
) -> Path:
    """The true map and estimates on one scale, below each the error, on one scale for all errors.

    Maps are (X, Y), x to the right and y upwards, in the unit of ``title``; outside of ``inside``
    they are left white. Voxels are ``spacing`` mm apart; without it the axes are not drawn.
    """
    shown = np.where(inside, truth, np.nan)
    errors = {name: np.where(inside, values - truth, np.nan) for name, values in estimates.items()}
    reach = pictures.highest([np.abs(error) for error in errors.values()], 0.98) or 1.0
    columns = 1 + len(estimates)
    side = WIDTH / columns * truth.shape[1] / truth.shape[0]
    with drawing(path, 2, columns, height=min(2 * side + 1.0, 12.0)) as axes:
        scale = (*_range(shown, TAIL), MAP_COLOURS)
        top = _image(axes[0, 0], shown, spacing, scale)
        axes[0, 0].set_title("truth")
        axes[1, 0].set_axis_off()
        for column, (name, values) in enumerate(estimates.items(), start=1):
            _image(axes[0, column], np.where(inside, values, np.nan), spacing, scale)
            axes[0, column].set_title(name)
            below = _image(axes[1, column], errors[name], spacing, (-reach, reach, ERROR_COLOURS))
            finite = errors[name][np.isfinite(errors[name])]
            rmse = float(np.sqrt(np.mean(finite**2))) if finite.size else float("nan")
            axes[1, column].set_title(f"error, RMS {rmse:.3g}")
        figure = axes[0, 0].figure
        figure.colorbar(top, ax=list(axes[0]), label=title, shrink=0.85, extend="both")
        if estimates:
            figure.colorbar(below, ax=list(axes[1]), label=f"estimate − truth, {title}",
                            shrink=0.85, extend="both")  # fmt: skip
    return path


def draw_measured(
    path: Path, maps: Mapping[str, np.ndarray], title: str, spacing: Sequence[float] | None
) -> Path:
    """Estimated maps of measured images side by side on one scale; of volumes the middle plane.

    Maps are (X, Y) or (X, Y, Z), in the unit of ``title``; NaN is left white. ``spacing`` in mm.
    """
    planes = {name: pictures.plane(values) for name, values in maps.items()}
    sides = next(iter(planes.values())).shape
    height = min(WIDTH / max(2, len(planes)) * sides[1] / sides[0] + 0.8, 9.0)
    scale = (*_range(np.stack(list(planes.values())), TAIL), MAP_COLOURS)
    with drawing(path, 1, len(planes), height=height) as axes:
        for axis, (name, values) in zip(axes[0], planes.items(), strict=True):
            image = _image(axis, values, spacing, scale)
            axis.set_title(name)
        axes[0, 0].figure.colorbar(image, ax=list(axes[0]), label=title, extend="both")
    return path


def _image(
    axis: Any, values: np.ndarray, spacing: Sequence[float] | None, scale: tuple[float, float, str]
) -> Any:
    """A map with x to the right and y upwards, in mm where the voxels have a size."""
    sides = np.array(values.shape) * (1.0 if spacing is None else np.asarray(spacing)[:2])
    axis.spines[:].set_visible(False)
    if spacing is None:
        axis.set(xticks=[], yticks=[])
    else:
        axis.set_xlabel("x (mm)")
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel("y (mm)")
    extent = (0.0, float(sides[0]), 0.0, float(sides[1]))
    vmin, vmax, cmap = scale
    return axis.imshow(values.T, origin="lower", extent=extent, vmin=vmin, vmax=vmax, cmap=cmap)


def _range(values: np.ndarray, tail: float = 0.0) -> tuple[float, float]:
    """Ends of the finite values without a share at either end."""
    finite = values[np.isfinite(values)]
    low, high = map(float, np.quantile(finite, [tail, 1 - tail])) if finite.size else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1))
