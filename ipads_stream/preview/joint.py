"""Pairs of drawn parameters: those where one depends on the other, and all against all."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from ipads_stream.core.units import plain
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.univariate import aligned
from ipads_stream.preview.histograms import bin_edges
from ipads_stream.preview.parameters import Drawn, present
from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY, VERMILION, plain_ticks

COLUMNS = 3
DOTS = 3000
LEVELS = 0.05, 0.5, 0.95
LETTERS = 42  # of a title's line
MOST = 6  # parameters of which all pairs are drawn
TITLE = "Above the diagonal: rank correlation (grey: within chance)"


def pairs_of(parameters: Mapping[str, Drawn]) -> list[tuple[Drawn, Drawn]]:
    """Each parameter that depends on another, and that other one."""
    return [
        (parameter, parameters[other])
        for parameter in parameters.values()
        for other in parameter.others
        if other in parameters
    ]


def pairs_picture(parameters: Mapping[str, Drawn], path: Path) -> Path | None:
    """Draws of the parameters that depend on another one, against it; none without such."""
    pairs = pairs_of(parameters)
    if not pairs:
        return None
    with figures.panels(path, len(pairs), COLUMNS, height=3.3, margin=0.7) as axes:
        for axis, (parameter, other) in zip(axes, pairs, strict=True):
            _pair(axis, parameter, other)
        figures.legend(axes)
    return path


def together(
    parameter: Drawn, other: Drawn
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Draws of two parameters, draw by draw; of a parameter of the sample one for each peak."""
    shape = max(parameter.values.shape, other.values.shape, key=len)
    shown = present(parameter.params, shape)
    each = (aligned(drawn.values, shape[1:]) for drawn in (parameter, other))
    first, second = (np.broadcast_to(values, shape)[shown] for values in each)
    return first, second


def _pair(axis: Any, parameter: Drawn, other: Drawn) -> None:
    y, x = together(parameter, other)
    step = -(-x.size // DOTS)
    axis.plot(
        other.shown(_apart(other, x[::step])), parameter.shown(_apart(parameter, y[::step])), ".",
        markersize=4.0 if x.size // step < 800 else 2.5, color=BLUE, alpha=0.35, label="drawn",
        markeredgewidth=0,
    )  # fmt: skip
    _quantile_lines(axis, parameter, other, x)
    if other.is_logarithmic:
        axis.set_xscale("log")
        plain_ticks(axis.xaxis)
    if parameter.is_logarithmic:
        axis.set_yscale("log")
        plain_ticks(axis.yaxis)
    assert parameter.distribution is not None
    ranks = f"rank correlation {_hundredths(rank_correlation(x, y))}"
    rho = parameter.distribution.correlations.get(other.name)
    if rho is not None:  # of a copula
        asked = 6.0 / np.pi * np.arcsin(rho / 2.0)
        ranks += f", asked for {_hundredths(asked)} (ρ = {plain(rho)})"
    words = f"{parameter.name}: {parameter.title.partition(':')[0]}"
    title = "\n".join([*textwrap.wrap(words, LETTERS), ranks])
    axis.set(title=title, xlabel=other.label, ylabel=parameter.label)


def rank_correlation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Spearman's; 0 where one of them never changes."""
    a, b = rankdata(x), rankdata(y)
    return 0.0 if a.std() == 0 or b.std() == 0 else float(np.corrcoef(a, b)[0, 1])


def _hundredths(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _apart(parameter: Drawn, values: np.ndarray) -> np.ndarray:
    """Whole numbers a little off their places, so that dots do not hide one another."""
    if not parameter.is_integer:
        return values
    return values + 0.6 * ((np.arange(values.size) * 0.6180339887) % 1.0 - 0.5)


def _quantile_lines(axis: Any, parameter: Drawn, other: Drawn, x: np.ndarray) -> None:
    """Quantiles of a parameter given the other, where it depends on nothing else."""
    low, high = np.quantile(x, [0.002, 0.998])
    if not low < high:
        return
    space = np.geomspace if other.is_logarithmic else np.linspace
    at = np.unique(x) if np.unique(x).size <= 40 else space(low, high, 200)
    lines = conditional_quantiles(parameter, other, at)
    for level, line in zip(LEVELS, () if lines is None else lines, strict=lines is not None):
        style, label = ("-", "median, given the value below") if level == 0.5 else (
            (0, (4, 2)), "5 % and 95 %")  # fmt: skip
        axis.plot(other.shown(at), parameter.shown(line), color=BLACK, linewidth=1.1,
                  linestyle=style, label=f"exact {label}")  # fmt: skip


def conditional_quantiles(
    parameter: Drawn, other: Drawn, at: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "levels n"] | None:
    """The 5, 50 and 95 % quantiles (SI) of a parameter at values of the one it depends on.

    Of a copula ``F^-1(Phi(rho g + (1 - rho^2)^(1/2) Phi^-1(u)))``, g the normal score of the value.

    Returns:
        None where it depends on a third parameter, or the other one's law is not known alone.
    """
    distribution, law = parameter.distribution, other.distribution
    assert distribution is not None
    if set(parameter.others) != {other.name}:
        return None
    levels = np.tile(LEVELS, (at.size, 1))
    progress = np.full((at.size, 1), parameter.progress)
    if distribution.correlations:
        if distribution.conditions or law is None:
            return None
        if law.conditions or law.atoms.size or law.is_integer:
            return None
        rho = distribution.correlations[other.name]
        rank = np.clip(law.cdf(at[:, None], Given(progress)), 1e-12, 1 - 1e-12)
        levels = ndtr(rho * ndtri(rank) + np.sqrt(1 - rho**2) * ndtri(levels))
    return distribution.quantile(levels, Given(progress, {other.name: at[:, None]})).T


def corner_picture(parameters: Mapping[str, Drawn], path: Path) -> Path | None:
    """Histograms, densities of pairs and rank correlations of the parameters with one changing
    value per sample; none where they are fewer than two.
    """
    from matplotlib.colors import PowerNorm

    shown = _corner_parameters(parameters)
    if len(shown) < 2:
        return None
    n, draws = len(shown), shown[0].values.size
    most = int(np.clip(np.sqrt(draws / 5), 8, 20))
    edges = [bin_edges(parameter, [parameter.values], most) for parameter in shown]
    with figures.drawing(path, n, n, height=0.6 + min(2.3, 9.4 / n) * n) as axes:
        for (i, j), axis in np.ndenumerate(axes):
            upward, across = shown[i], shown[j]
            x, y = across.shown(edges[j]), upward.shown(edges[i])
            if i < j:
                correlation = rank_correlation(upward.values, across.values)
                colour = GREY if abs(correlation) < 3.0 / np.sqrt(draws) else VERMILION
                axis.text(0.5, 0.5, _hundredths(correlation), ha="center", va="center", fontsize=11,
                          color=colour, transform=axis.transAxes)  # fmt: skip
                axis.set_axis_off()
                continue
            if i == j:
                counts = np.histogram(upward.values, bins=edges[i])[0]
                axis.stairs(counts, x, fill=True, color=BLUE, alpha=0.5)
                axis.set(ylim=(0, 1.1 * max(counts.max(), 1)), yticks=[])
                axis.spines["left"].set_visible(False)
            else:
                bins = edges[j], edges[i]
                counts = np.histogram2d(across.values, upward.values, bins=bins)[0].T
                density = np.where(counts > 0, counts, np.nan)
                axis.pcolormesh(x, y, density, cmap="Blues", norm=PowerNorm(0.5, vmin=0))
                if upward.is_logarithmic:
                    axis.set_yscale("log")
                    plain_ticks(axis.yaxis)
                if j == 0:
                    axis.set_ylabel(upward.label)
            axis.set_xlim(x[0], x[-1])
            if across.is_logarithmic:
                axis.set_xscale("log")
                plain_ticks(axis.xaxis)
            if i == n - 1:
                axis.set_xlabel(across.label)
            axis.tick_params(labelbottom=i == n - 1, labelleft=j == 0)
        axes[0, 0].figure.suptitle(TITLE, x=0.01, ha="left", fontsize=10.5)
    return path


def _corner_parameters(parameters: Mapping[str, Drawn]) -> list[Drawn]:
    """Those with one changing value per sample: linked ones first, then in order."""
    scalar = {
        name: drawn
        for name, drawn in parameters.items()
        if drawn.values.ndim == 1 and np.isfinite(drawn.values).all() and np.ptp(drawn.values) > 0
    }
    linked = [each.name for pair in pairs_of(parameters) for each in reversed(pair)]
    known = [name for name, drawn in scalar.items() if drawn.distribution is not None]
    order = dict.fromkeys([*(name for name in linked if name in scalar), *known, *scalar])
    return [scalar[name] for name in [*order][:MOST]]
