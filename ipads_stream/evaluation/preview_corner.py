"""All drawn parameters against all: histograms, densities of pairs, rank correlations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.figures import BLUE, GREY, VERMILION, drawing
from ipads_stream.evaluation.preview_histograms import bin_edges, plain_ticks
from ipads_stream.evaluation.preview_joint import hundredths, pairs_of, rank_correlation
from ipads_stream.evaluation.preview_parameters import Drawn, drawn_parameters

MOST = 6  # parameters


def corner_picture(system: Any, params: Mapping[str, np.ndarray], path: Path) -> Path | None:
    """The parameters that have one changing value per sample; none where they are fewer than two.

    Args:
        system: a dataclass, some of whose fields are distributions.
        params: drawn parameters, SI, (B, ...).
        path: of the PNG.
    """
    from matplotlib.colors import PowerNorm

    shown = corner_parameters(drawn_parameters(system, params))
    if len(shown) < 2:
        return None
    n = len(shown)
    height = 0.6 + min(2.3, 9.4 / n) * n
    with drawing(path, n, n, height=height) as axes:
        most = int(np.clip(np.sqrt(shown[0].values.size / 5), 8, 20))
        edges = [bin_edges(one, [one.values], most) for one in shown]
        for i, one in enumerate(shown):
            for j, other in enumerate(shown):
                axis = axes[i, j]
                if i == j:
                    shares = np.histogram(one.values, bins=edges[i])[0]
                    axis.stairs(shares, one.shown(edges[i]), fill=True, color=BLUE, alpha=0.5)
                    axis.set_ylim(0, 1.1 * max(shares.max(), 1))
                elif i > j:
                    counts = np.histogram2d(other.values, one.values, bins=(edges[j], edges[i]))[0]
                    axis.pcolormesh(
                        other.shown(edges[j]), one.shown(edges[i]),
                        np.where(counts.T > 0, counts.T, np.nan), cmap="Blues",
                        norm=PowerNorm(0.5, vmin=0),
                    )  # fmt: skip
                else:
                    _number(axis, rank_correlation(one.values, other.values), one.values.size)
                    continue
                _scales(axis, one, other, edges[i], edges[j], is_diagonal=i == j)
                _labels(axis, one, other, is_left=j == 0, is_last=i == n - 1, is_diagonal=i == j)
        axes[0, 0].figure.suptitle(
            "Drawn parameters, pair by pair; above the diagonal: rank correlation "
            "(grey: within chance)",
            x=0.01, ha="left", fontsize=10.5,
        )  # fmt: skip
    return path


def _number(axis: Any, correlation: float, count: int) -> None:
    is_chance = abs(correlation) < 3.0 / np.sqrt(count)
    axis.text(
        0.5, 0.5, hundredths(correlation), ha="center", va="center",
        fontsize=11, color=GREY if is_chance else VERMILION, transform=axis.transAxes,
    )  # fmt: skip
    axis.set_axis_off()


def _scales(
    axis: Any, one: Drawn, other: Drawn, rows: Any, columns: Any, *, is_diagonal: bool
) -> None:
    if other.is_logarithmic:
        axis.set_xscale("log")
        plain_ticks(axis.xaxis, other.shown(columns[0]), other.shown(columns[-1]))
    if one.is_logarithmic and not is_diagonal:
        axis.set_yscale("log")
        plain_ticks(axis.yaxis, one.shown(rows[0]), one.shown(rows[-1]))
    axis.set_xlim(other.shown(columns[0]), other.shown(columns[-1]))


def _labels(
    axis: Any, one: Drawn, other: Drawn, *, is_left: bool, is_last: bool, is_diagonal: bool
) -> None:
    if is_diagonal:
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
    if is_last:
        axis.set_xlabel(other.label)
    else:
        axis.tick_params(labelbottom=False)
    if is_left and not is_diagonal:
        axis.set_ylabel(one.label)
    elif not is_diagonal:
        axis.tick_params(labelleft=False)


def corner_parameters(parameters: Mapping[str, Drawn]) -> list[Drawn]:
    """Those with one changing value per sample: linked ones first, then in order.

    Args:
        parameters: by name.
    """
    scalar = {
        name: one
        for name, one in parameters.items()
        if one.values.ndim == 1 and np.isfinite(one.values).all() and np.ptp(one.values) > 0
    }
    pairs = pairs_of(parameters)
    linked = dict.fromkeys(some.name for one, other in pairs for some in (other, one))
    known = [name for name, one in scalar.items() if one.distribution is not None]
    order = dict.fromkeys([*(name for name in linked if name in scalar), *known, *scalar])
    return [scalar[name] for name in [*order][:MOST]]
