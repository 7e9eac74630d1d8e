"""Pairs of drawn parameters of which one depends on the other."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from ipads_stream.distributions import Correlated
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.univariate import aligned
from ipads_stream.evaluation.figures import BLACK, BLUE, drawing
from ipads_stream.evaluation.preview_histograms import plain_ticks
from ipads_stream.evaluation.preview_parameters import (
    Drawn,
    drawn_parameters,
    others_of,
    plain,
    present,
)

COLUMNS = 3
DOTS = 3000
LEVELS = 0.05, 0.5, 0.95
LETTERS = 42  # of a title's line


def pairs_of(parameters: Mapping[str, Drawn]) -> list[tuple[Drawn, Drawn]]:
    """Each parameter that depends on another, and that other one.

    Args:
        parameters: by name.
    """
    return [
        (one, parameters[other])
        for one in parameters.values()
        if one.distribution is not None
        for other in others_of(one.distribution)
        if other in parameters
    ]


def pairs_picture(
    system: Any, params: Mapping[str, np.ndarray], progress: float, path: Path
) -> Path | None:
    """Draws of the parameters that depend on another one, against it; none without such.

    Args:
        system: a dataclass, some of whose fields are distributions.
        params: drawn parameters, SI, (B, ...).
        progress: global sample index at which they were drawn.
        path: of the PNG.
    """
    pairs = pairs_of(drawn_parameters(system, params))
    if not pairs:
        return None
    num_rows, columns = -(-len(pairs) // COLUMNS), min(COLUMNS, len(pairs))
    with drawing(path, num_rows, columns, height=0.7 + 3.3 * num_rows) as axes:
        for axis, (one, other) in zip(axes.flat, pairs, strict=False):
            _pair(axis, one, other, params, progress)
        for axis in axes.flat[len(pairs) :]:
            axis.set_axis_off()
        _legend(axes[0, 0].figure)
    return path


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=3, linewidth=0, label="drawn"),
        Line2D([], [], color=BLACK, label="exact median, given the value below"),
        Line2D([], [], color=BLACK, linestyle=(0, (4, 2)), label="exact 5 % and 95 %"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)


def together(
    one: Drawn, other: Drawn, params: Mapping[str, Any]
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Draws of two parameters, draw by draw; of a parameter of the sample one for each peak.

    Args:
        one, other: whose axes begin alike.
        params: all parameters of the samples.
    """
    shape = max(one.values.shape, other.values.shape, key=len)
    shown = present(params, shape)
    first, second = (
        np.broadcast_to(aligned(some.values, shape[1:]), shape)[shown] for some in (one, other)
    )
    return first, second


def _pair(axis: Any, one: Drawn, other: Drawn, params: Mapping[str, Any], progress: float) -> None:
    y, x = together(one, other, params)
    step = -(-x.size // DOTS)
    size = 5.0 if x.size // step < 800 else 2.5
    axis.scatter(
        other.shown(_apart(other, x[::step])), one.shown(_apart(one, y[::step])),
        s=size, color=BLUE, alpha=0.3, linewidths=0,
    )  # fmt: skip
    _lines(axis, one, other, x, progress)
    for some, scale, ticks in ((other, "xscale", axis.xaxis), (one, "yscale", axis.yaxis)):
        if some.is_logarithmic:
            axis.set(**{scale: "log"})
            drawn = some.shown(some.values[np.isfinite(some.values) & (some.values > 0)])
            plain_ticks(ticks, drawn.min(), drawn.max())
    axis.set_xlabel(other.label)
    axis.set_ylabel(one.label)
    axis.set_title("\n".join([*textwrap.wrap(_told(one), LETTERS), _ranks(one, other, x, y)]))


def _told(one: Drawn) -> str:
    return f"{one.name}: {one.title.partition(':')[0]}"


def _ranks(one: Drawn, other: Drawn, x: np.ndarray, y: np.ndarray) -> str:
    """Rank correlation of the draws, beside that of the copula where there is one."""
    found = f"rank correlation {hundredths(rank_correlation(x, y))}"
    if not isinstance(one.distribution, Correlated):
        return found
    rho = one.distribution.correlation.get(other.name)
    if rho is None:
        return found
    asked = 6.0 / np.pi * np.arcsin(rho / 2.0)
    return f"{found}, asked for {hundredths(asked)} (ρ = {plain(rho)})"


def rank_correlation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Spearman's; 0 where one of them never changes.

    Args:
        x, y: any unit.
    """
    a, b = rankdata(x), rankdata(y)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def hundredths(value: float) -> str:
    """A correlation in two digits."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _apart(one: Drawn, values: np.ndarray) -> np.ndarray:
    """Whole numbers a little off their places, so that dots do not hide one another."""
    if one.distribution is None or not one.distribution.is_integer:
        return values
    return values + 0.6 * ((np.arange(values.size) * 0.6180339887) % 1.0 - 0.5)


def _lines(axis: Any, one: Drawn, other: Drawn, x: np.ndarray, progress: float) -> None:
    """Quantiles of a parameter given the other, where it depends on nothing else."""
    low, high = np.quantile(x, [0.002, 0.998])
    if not low < high:
        return
    space = np.geomspace if other.is_logarithmic else np.linspace
    at = np.unique(x) if np.unique(x).size <= 40 else space(low, high, 200)
    found = conditional_quantiles(one, other, at, progress)
    if found is None:
        return
    for level, line in zip(LEVELS, found, strict=True):
        is_median = level == 0.5
        style: Any = "-" if is_median else (0, (4, 2))
        axis.plot(other.shown(at), one.shown(line), color=BLACK, linestyle=style, linewidth=1.1)


def conditional_quantiles(
    one: Drawn, other: Drawn, at: Float[np.ndarray, " n"], progress: float
) -> Float[np.ndarray, "levels n"] | None:
    """The 5, 50 and 95 % quantiles (SI) of a parameter at values of the one it depends on.

    Of a copula ``F^-1(Phi(rho g + (1 - rho^2)^(1/2) Phi^-1(u)))``, g the normal score of the value.

    Args:
        one: the parameter.
        other: that it depends on.
        at: values of the other, SI, rising.
        progress: global sample index.

    Returns:
        None where it depends on a third parameter, or the other one's law is not known alone.
    """
    distribution = one.distribution
    assert distribution is not None
    if set(others_of(distribution)) != {other.name}:
        return None
    levels = np.tile(LEVELS, (at.size, 1))
    progresses = np.full((at.size, 1), progress)
    if other.name not in distribution.conditions.values():
        law = other.distribution
        if law is None or law.conditions or law.atoms.size or law.is_integer:
            return None
        assert isinstance(distribution, Correlated)
        rho = distribution.correlation[other.name]
        rank = np.clip(law.cdf(at[:, None], Given(progresses)), 1e-12, 1 - 1e-12)
        levels = ndtr(rho * ndtri(rank) + np.sqrt(1 - rho**2) * ndtri(levels))
    elif isinstance(distribution, Correlated):
        return None
    return distribution.quantile(levels, Given(progresses, {other.name: at[:, None]})).T
