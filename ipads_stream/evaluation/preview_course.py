"""The course of parameters over the curriculum: their quantiles, or shares, along the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions import Distribution
from ipads_stream.distributions.given import Given
from ipads_stream.evaluation.figures import BLACK, BLUE, COLOURS, GREY, drawing
from ipads_stream.evaluation.preview_histograms import plain_ticks
from ipads_stream.evaluation.preview_parameters import (
    Drawn,
    drawn_parameters,
    plain,
    present_values,
)
from ipads_stream.evaluation.preview_stages import Span, curricula, schedule_span

COLUMNS = 2
LEVELS = 0.05, 0.25, 0.5, 0.75, 0.95
POINTS = 241  # along the span where the quantiles are exact
DRAWN = 33  # where they are of draws
OUTER, INNER = 0.18, 0.5  # how dense the bands are drawn
FEW = 8  # different whole numbers that are drawn as shares

Draw = Callable[[float], Mapping[str, np.ndarray]]


def course_picture(system: Any, draw: Draw, span: Span, path: Path) -> Path:
    """Each parameter with a curriculum: its quantiles over the samples, below it the weight.

    Args:
        system: a dataclass, some of whose fields are distributions.
        draw: the same samples' parameters, SI, at a global sample index.
        span: of the system's schedules.
        path: of the PNG.
    """
    parameters = drawn_parameters(system, draw(span.first))
    shown = [one for one in parameters.values() if one.distribution and one.distribution.varies]
    low, high = span.window()
    ends = [schedule_span(c.schedule) for one in shown for c in curricula(_law(one))]
    knots = [at for one in ends for at in (one.first, one.last)]
    steps, sparse = (
        np.unique(np.rint([*np.linspace(low, high, count), *knots])) for count in (POINTS, DRAWN)
    )
    needed = any(_law(one).conditions for one in shown)
    drawn = {at: draw(at) for at in sparse} if needed else {}
    num_rows, columns = -(-len(shown) // COLUMNS), min(COLUMNS, len(shown))
    with drawing(path, 2 * num_rows, columns, height=0.7 + 3.6 * num_rows, share=(True, False)) as (
        axes
    ):
        axes[0, 0].get_gridspec().set_height_ratios([3, 1] * num_rows)
        for i in range(num_rows * columns):
            upper, lower = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
            if i >= len(shown):
                upper.set_axis_off()
                lower.set_axis_off()
                continue
            _course(upper, shown[i], steps, drawn)
            _weights(lower, shown[i], steps, span)
            lower.tick_params(labelbottom=True)
            lower.set_xlabel("global sample index")
        axes[0, 0].set_xlim(steps[0], steps[-1])
        _index_ticks(axes[0, 0])
        _legend(axes[0, 0].figure)
    return path


def _law(one: Drawn) -> Distribution:
    assert one.distribution is not None
    return one.distribution


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=BLACK, label="median"),
        Patch(facecolor=BLUE, alpha=INNER, label="25 to 75 %"),
        Patch(facecolor=BLUE, alpha=OUTER, label="5 to 95 %, exact where not said otherwise"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)


def _index_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _course(
    axis: Any, one: Drawn, steps: np.ndarray, drawn: Mapping[float, Mapping[str, np.ndarray]]
) -> None:
    distribution = _law(one)
    axis.set_title(one.title)
    low, high = distribution.support
    if distribution.is_integer and not distribution.conditions and high - low < FEW:
        _shares(axis, one, distribution, steps)
        return
    if distribution.conditions:
        steps = np.array(list(drawn))
        quantiles = np.stack(
            [np.quantile(present_values(p, p[one.name]), LEVELS) for p in drawn.values()], axis=1
        )
        axis.set_title(f"{one.title} (of draws)")
    else:
        quantiles = exact_quantiles(distribution, steps)
    lines = one.shown(quantiles)
    style = "steps-post" if distribution.is_integer else "default"
    fill = "post" if distribution.is_integer else None
    for (a, b), alpha in (((0, 4), OUTER), ((1, 3), INNER - OUTER)):
        axis.fill_between(
            steps, lines[a], lines[b], color=BLUE, alpha=alpha, linewidth=0, step=fill
        )
    axis.plot(steps, lines[2], color=BLACK, drawstyle=style)
    if one.is_logarithmic:
        axis.set_yscale("log")
        plain_ticks(axis.yaxis, lines.min(), lines.max())
    axis.set_ylabel(one.label)


def exact_quantiles(
    distribution: Distribution, steps: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "levels steps"]:
    """The 5, 25, 50, 75 and 95 % quantiles (SI) at global sample indices.

    Args:
        distribution: that depends on no other parameter.
        steps: global sample indices.
    """
    levels = np.tile(LEVELS, (steps.size, 1))
    return distribution.quantile(levels, Given(steps[:, None])).T


def exact_shares(
    distribution: Distribution,
    values: Float[np.ndarray, " values"],
    steps: Float[np.ndarray, " steps"],
) -> Float[np.ndarray, "values steps"]:
    """Probabilities of whole numbers at global sample indices.

    Args:
        distribution: of whole numbers, that depends on no other parameter.
        values: rising by ones.
        steps: global sample indices.
    """
    edges = np.append(values - 0.5, values[-1] + 0.5)
    at = np.tile(edges, (steps.size, 1))
    return np.diff(distribution.cdf(at, Given(steps[:, None])), axis=1).T


def _shares(axis: Any, one: Drawn, distribution: Distribution, steps: np.ndarray) -> None:
    import matplotlib as mpl

    low, high = distribution.support
    values = np.arange(np.rint(low), np.rint(high) + 1)
    shares = exact_shares(distribution, values, steps)
    colours = mpl.colormaps["Blues"](np.linspace(0.25, 0.95, values.size))
    axis.stackplot(
        steps, 100 * shares, colors=colours, step="post", linewidth=0,
        labels=[plain(value) for value in one.shown(values)],
    )  # fmt: skip
    axis.set_ylim(0, 100)
    axis.set_ylabel(f"share of {one.name} (%)")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), title=one.label
    )


def _weights(axis: Any, one: Drawn, steps: np.ndarray, span: Span) -> None:
    """Share of the way from start to end, of each curriculum in a parameter."""
    colours = [BLACK, *COLOURS.values()]
    for curriculum, colour in zip(curricula(_law(one)), colours, strict=False):
        share = np.broadcast_to(curriculum.schedule.share(steps), steps.shape)
        axis.plot(steps, 100 * share, color=colour)
    for at in (span.first, span.last):
        axis.axvline(at, color=GREY, linewidth=0.6, linestyle=(0, (3, 3)), zorder=0)
    axis.set_ylim(-5, 105)
    axis.set_yticks([0, 50, 100])
    axis.set_ylabel("weight of\nthe end (%)")
