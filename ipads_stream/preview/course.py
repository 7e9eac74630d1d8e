"""A system along its curriculum: its span, samples at points of it, quantiles of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.description import describe
from ipads_stream.core.fields import Number, Numbers
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.core.units import plain
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.given import Given
from ipads_stream.preview.parameters import Drawn, nested_distributions
from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY
from ipads_stream.systems import System

PERCENT = Numbers(each=Number(low=0, high=100))
COLUMNS = 2
LEVELS = 0.05, 0.25, 0.5, 0.75, 0.95
POINTS = 241  # along the span where the quantiles are exact
DRAWN = 33  # where they are of draws
OUTER, INNER = 0.18, 0.5  # how dense the bands are drawn
FEW = 8  # different whole numbers that are drawn as shares
COLOURS = (
    BLACK,
    BLUE,
    figures.VERMILION,
    figures.GREEN,
    figures.ORANGE,
)  # of the weights of several curricula

Draw = Callable[[float], Mapping[str, Drawn]]


@dataclass(frozen=True)
class Span:
    """The global sample indices from which and up to which something changes."""

    first: float
    last: float

    def index(self, percent: float) -> float:
        """Sample index at a share of the span, in whole samples."""
        return float(np.floor(self.first + (self.last - self.first) * percent / 100.0))

    def window(self) -> tuple[float, float]:
        """From where to where a picture of the span reaches, a little beyond it."""
        pad = 0.12 * (self.last - self.first)
        if self.last - self.first <= 1:  # a step
            pad = max(self.last, 1.0)
        return max(self.first - pad, 0.0), self.last + pad


@dataclass(frozen=True)
class AtProgress:
    """A system with all samples at one point of the curriculum.

    The keys stay those of the samples, so a sample keeps all its random numbers along the way.
    """

    system: System
    progress: float

    @property
    def name(self) -> str:
        return self.system.name

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self.system.draw(keys, np.full(progress.shape, self.progress))

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, keys, xp)

    def describe(self) -> Any:
        return describe(self.system)


def stages(span: Span | None, percents: Any) -> dict[str, float]:
    """Points of the curriculum that are shown: " at 50 %" -> sample index; one without a span.

    Raises:
        ConfigError: no list of numbers from 0 to 100.
    """
    percents = PERCENT("progress", percents)
    if span is None:
        return {"": 0.0}
    return {f" at {value:g} %": span.index(float(value)) for value in percents}


def span_of(system: System) -> Span | None:
    """From the beginning of the system's first schedule to the end of its last; None without."""
    paces = [pace for each in nested_distributions(system).values() for pace in each.paces]
    if not paces:
        return None
    firsts, lasts = zip(*(pace.span for pace in paces), strict=True)
    return Span(min(firsts), max(lasts))


def course_picture(draw: Draw, span: Span, path: Path) -> Path:
    """Each parameter with a curriculum: its quantiles over the samples, below it the weight."""
    from matplotlib.ticker import MaxNLocator

    shown = [parameter for parameter in draw(span.first).values() if parameter.varies]
    low, high = span.window()
    knots = [at for parameter in shown for pace in _law(parameter).paces for at in pace.span]
    steps, sparse = (
        np.unique(np.rint([*np.linspace(low, high, count), *knots])) for count in (POINTS, DRAWN)
    )
    is_drawn = any(_law(parameter).conditions for parameter in shown)
    drawn = {at: draw(at) for at in sparse} if is_drawn else {}
    num_rows, columns = -(-len(shown) // COLUMNS), min(COLUMNS, len(shown))
    height = 0.7 + 3.6 * num_rows
    with figures.drawing(path, 2 * num_rows, columns, height=height, share=(True, False)) as axes:
        axes[0, 0].get_gridspec().set_height_ratios([3, 1] * num_rows)
        pairs = list(zip(axes[::2].flat, axes[1::2].flat, strict=True))
        for upper, lower in pairs[len(shown) :]:
            upper.set_axis_off()
            lower.set_axis_off()
        for (upper, lower), parameter in zip(pairs, shown, strict=False):
            _course(upper, parameter, steps, drawn)
            _weights(lower, parameter, steps, span)
            lower.tick_params(labelbottom=True)
            lower.set_xlabel("global sample index")
        axes[0, 0].set_xlim(steps[0], steps[-1])
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        figures.legend(list(axes.flat))
    return path


def _law(parameter: Drawn) -> Distribution:
    assert parameter.distribution is not None
    return parameter.distribution


def _course(
    axis: Any, parameter: Drawn, steps: np.ndarray, drawn: Mapping[float, Mapping[str, Drawn]]
) -> None:
    distribution = _law(parameter)
    axis.set_title(parameter.title)
    low, high = distribution.support
    if distribution.is_integer and not distribution.conditions and high - low < FEW:
        _shares(axis, parameter, distribution, steps)
        return
    if distribution.conditions:
        steps = np.array(list(drawn))
        draws = (parameters[parameter.name].present for parameters in drawn.values())
        quantiles = np.stack([np.quantile(values, LEVELS) for values in draws], axis=1)
        axis.set_title(f"{parameter.title} (of draws)")
    else:
        quantiles = exact_quantiles(distribution, steps)
    lines = parameter.shown(quantiles)
    style, fill = ("steps-post", "post") if distribution.is_integer else ("default", None)
    axis.plot(steps, lines[2], color=BLACK, drawstyle=style, label="median")
    for (a, b), alpha, label in (
        ((1, 3), INNER - OUTER, "25 to 75 %"),
        ((0, 4), OUTER, "5 to 95 %, exact where not said otherwise"),
    ):
        axis.fill_between(
            steps, lines[a], lines[b], color=BLUE, alpha=alpha, linewidth=0, step=fill, label=label
        )
    if parameter.is_logarithmic:
        axis.set_yscale("log")
        figures.plain_ticks(axis.yaxis)
    axis.set_ylabel(parameter.label)


def exact_quantiles(
    distribution: Distribution, steps: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "levels steps"]:
    """The 5, 25, 50, 75 and 95 % quantiles (SI) at global sample indices."""
    levels = np.tile(LEVELS, (steps.size, 1))
    return distribution.quantile(levels, Given(steps[:, None])).T


def exact_shares(
    distribution: Distribution,
    values: Float[np.ndarray, " values"],
    steps: Float[np.ndarray, " steps"],
) -> Float[np.ndarray, "values steps"]:
    """Probabilities of whole numbers at global sample indices."""
    edges = np.append(values - 0.5, values[-1] + 0.5)
    at = np.tile(edges, (steps.size, 1))
    return np.diff(distribution.cdf(at, Given(steps[:, None])), axis=1).T


def _shares(axis: Any, parameter: Drawn, distribution: Distribution, steps: np.ndarray) -> None:
    import matplotlib as mpl

    low, high = distribution.support
    values = np.arange(np.rint(low), np.rint(high) + 1)
    shares = 100 * exact_shares(distribution, values, steps)
    colours = mpl.colormaps["Blues"](np.linspace(0.25, 0.95, values.size))
    areas = axis.stackplot(steps, shares, colors=colours, step="post", linewidth=0)
    axis.set(ylim=(0, 100), ylabel=f"share of {parameter.name} (%)")
    axis.legend(
        areas[::-1], [plain(value) for value in parameter.shown(values)[::-1]],
        loc="center left", bbox_to_anchor=(1.0, 0.5), title=parameter.label,
    )  # fmt: skip


def _weights(axis: Any, parameter: Drawn, steps: np.ndarray, span: Span) -> None:
    """Share of the way from start to end, of each curriculum in a parameter."""
    for pace, colour in zip(_law(parameter).paces, COLOURS, strict=False):
        axis.plot(steps, 100 * np.broadcast_to(pace.share(steps), steps.shape), color=colour)
    for at in (span.first, span.last):
        axis.axvline(at, color=GREY, linewidth=0.6, linestyle=(0, (3, 3)), zorder=0)
    axis.set(ylim=(-5, 105), yticks=[0, 50, 100], ylabel="weight of\nthe end (%)")
