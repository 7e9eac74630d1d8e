"""Shares of the regions of parameters that are drawn more often where it matters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.units import factor
from ipads_stream.distributions import Adaptive, Correlated, Emphasized
from ipads_stream.distributions.regions import Reshared
from ipads_stream.evaluation.figures import BLACK, BLUE, GREY, VERMILION, drawing
from ipads_stream.evaluation.preview_parameters import (
    Drawn,
    drawn_parameters,
    kind_of,
    nested,
    present_values,
)

COLUMNS = 2
ORDER = "by nature", "here", "drawn", "at least", "at most"  # of the legend


def region_shares(system: Any, params: Mapping[str, np.ndarray], path: Path) -> Path | None:
    """Bars for each region: its natural share, its share here, and the least and most it may have.

    Args:
        system: a dataclass, some of whose fields are distributions.
        params: drawn parameters, SI, (B, ...).
        path: of the PNG; nothing is drawn where nothing is emphasised and nothing adapts.
    """
    found = [
        (one, part)
        for one in drawn_parameters(system, params).values()
        if one.distribution is not None
        for part in nested(one.distribution)
        if isinstance(part, Reshared)
    ]
    if not found:
        return None
    num_rows, columns = -(-len(found) // COLUMNS), min(COLUMNS, len(found))
    with drawing(path, num_rows, columns, height=0.7 + 3.2 * num_rows) as axes:
        for axis, (one, part) in zip(axes.flat, found, strict=False):
            _bars(axis, one, part, params)
        for axis in axes.flat[len(found) :]:
            axis.set_axis_off()
        for row in axes:
            row[0].set_ylabel("share of draws (%)")
        handles: dict[str, Any] = {}
        for axis in axes.flat:
            handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
        axes[0, 0].figure.legend(
            [handles[name] for name in ORDER if name in handles],
            [name for name in ORDER if name in handles],
            loc="outside upper left",
            ncols=len(handles),
        )
    return path


def bounds(
    part: Reshared,
) -> tuple[Float[np.ndarray, " regions"], Float[np.ndarray, " regions"] | None]:
    """The least share of each region, and the most; None: no bound."""
    match part:
        case Adaptive():
            return part.floor * part.natural, np.minimum(part.limit * part.natural, 1.0)
        case Emphasized():
            return np.array(part.shares), None
    return np.zeros(part.natural.size), None


def _bars(axis: Any, one: Drawn, part: Reshared, params: Mapping[str, Any]) -> None:
    at = np.arange(part.natural.size)
    axis.bar(at - 0.2, 100 * part.natural, 0.36, color=GREY, alpha=0.6, label="by nature")
    axis.bar(at + 0.2, 100 * part.sampled, 0.36, color=BLUE, alpha=0.6, label="here")
    for shares, middle in ((part.natural, at - 0.2), (part.sampled, at + 0.2)):
        for x, share in zip(middle, shares, strict=True):
            axis.annotate(
                f"{100 * share:.3g}", (x, 0), (0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=8.5,
            )  # fmt: skip
    tops = [part.natural.max(), part.sampled.max()]
    outer = one.distribution
    if part is (outer.distribution if isinstance(outer, Correlated) else outer):
        region = part.region(present_values(params, params[one.name]))
        found = np.bincount(region[region >= 0], minlength=at.size) / max(region.size, 1)
        axis.plot(at + 0.2, 100 * found, "o", color=BLACK, markersize=3.5, label="drawn")
        tops.append(found.max())
    least, most = bounds(part)
    is_bound = least > 0
    axis.hlines(
        100 * least[is_bound], at[is_bound] - 0.02, at[is_bound] + 0.42, color=VERMILION,
        label="at least",
    )  # fmt: skip
    if most is not None:
        axis.hlines(
            100 * most, at - 0.02, at + 0.42, color=VERMILION, linestyle=(0, (4, 2)),
            label="at most",
        )  # fmt: skip
        tops.append(min(most.max(), 2 * max(tops)))
    axis.set_ylim(0, 115 * max(tops))
    axis.set_xticks(at, _regions(part))
    unit = f" ({part.unit})" if part.unit not in ("", "1") else ""
    axis.set_xlabel(f"region of {one.name}{unit}")
    axis.set_title(f"{one.name}: {kind_of(part)}")


def _regions(part: Reshared) -> list[str]:
    """The regions in words, in the unit of the configuration."""
    low, high = (end / factor(part.unit) for end in part.support)
    edges = [low, *part.edges, high]
    named = [f"{a:.3g} to {b:.3g}" for a, b in itertools.pairwise(edges)]
    if not np.isfinite(low):
        named[0] = f"below {part.edges[0]:.3g}"
    if not np.isfinite(high):
        named[-1] = f"{part.edges[-1]:.3g} and more"
    return named
