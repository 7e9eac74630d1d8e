"""Pictures of a shift study: the matrix, and errors against the parameters of the signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREEN, GREY, VERMILION, drawing

LINES = (BLACK, BLUE, VERMILION, GREEN, figures.ORANGE, figures.PURPLE, figures.SKY, GREY)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Curve:
    """An arm's error against a parameter.

    Attributes:
        arm: name.
        x: middle of each bin, unit of the parameter, (bins,).
        by_seed: (seeds, bins); NaN where a bin is empty.
    """

    arm: str
    x: Float[np.ndarray, " bins"]
    by_seed: Float[np.ndarray, "seeds bins"]


def binned(
    values: Float[np.ndarray, " units"],
    errors: Float[np.ndarray, " units"],
    edges: Float[np.ndarray, " edges"],
    *,
    fewest: int = 5,
) -> Float[np.ndarray, " bins"]:
    """Median error in each bin; NaN where fewer than ``fewest`` fall."""
    place = np.minimum(np.searchsorted(edges, values, side="right") - 1, len(edges) - 2)
    groups = [errors[place == k] for k in range(len(edges) - 1)]
    return np.array([np.median(x) if len(x) >= fewest else np.nan for x in groups])


def heat_map(
    means: Float[np.ndarray, "arms tests"],
    texts: np.ndarray,
    arms: Sequence[str],
    tests: Sequence[str],
    path: Path,
    *,
    title: str,
    is_error: bool,
) -> Path:
    """The matrix of one metric: a row per arm, a column per test; dark is bad."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    finite = means[np.isfinite(means)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.1, 1.0)
    norm: Any = Normalize(low, max(high, low + 1e-9))
    if is_error and low > 0:
        # One method that is exact, or diverges, would leave the others no difference in colour.
        middle = float(np.median(finite))
        low, high = max(low, 0.05 * middle), min(high, 5 * middle)
        norm = LogNorm(low, max(high, 1.001 * low))
    with drawing(path, 1, 1, height=1.6 + 0.52 * len(arms)) as axes:
        axis = axes[0, 0]
        shown = np.clip(means, norm.vmin, norm.vmax)
        map_name = "cividis_r" if is_error else "cividis"
        image = axis.imshow(shown, norm=norm, cmap=map_name, aspect="auto")
        for i, j in np.ndindex(means.shape):
            share = norm(shown[i, j]) if np.isfinite(means[i, j]) else 0.5
            colour = "white" if (share > 0.55 if is_error else share < 0.45) else BLACK
            axis.text(j, i, texts[i, j], ha="center", va="center", fontsize=8.5, color=colour)
        axis.set_xticks(range(len(tests)), tests, rotation=20 if len(tests) > 5 else 0)
        axis.set_yticks(range(len(arms)), arms)
        axis.set(title=title, xlabel="tested on", ylabel="trained as")
        scale = axis.figure.colorbar(image, ax=axis, pad=0.01, format="%g").ax.yaxis
        scale.set_minor_formatter(FormatStrFormatter("%g") if high < 10 * low else NullFormatter())
    return path


def error_curves(
    curves: Mapping[str, Sequence[Curve]],
    path: Path,
    *,
    quantity: str,
    error: str,
    is_log: tuple[bool, bool] = (False, True),
) -> Path:
    """Errors against a parameter: one panel per test, one line per arm, the band is all seeds."""
    names = list(dict.fromkeys(curve.arm for of_test in curves.values() for curve in of_test))
    with drawing(path, 1, len(curves), height=4.4, share=(False, True)) as axes:
        for axis, (test, of_test) in zip(axes[0], curves.items(), strict=True):
            for curve in of_test:
                place = names.index(curve.arm)
                colour = LINES[place % len(LINES)]
                style = "-" if place < len(LINES) else "--"
                counts = np.isfinite(curve.by_seed).sum(axis=0)
                total = np.where(counts > 0, np.nansum(curve.by_seed, axis=0), np.nan)
                mean = total / np.maximum(counts, 1)  # without a warning where there is no value
                axis.plot(curve.x, mean, style, color=colour, markersize=4.5,
                          marker=MARKS[place % len(MARKS)], label=curve.arm)  # fmt: skip
                if len(curve.by_seed) > 1:
                    ends = curve.by_seed.min(axis=0), curve.by_seed.max(axis=0)
                    axis.fill_between(curve.x, *ends, color=colour, alpha=0.15, linewidth=0)
            if is_log[0]:
                axis.set_xscale("log")
            if is_log[1] and any((curve.by_seed > 0).any() for curve in of_test):
                axis.set_yscale("log")
            axis.set(title=test, xlabel=quantity, axisbelow=True)
            axis.grid(axis="y", which="both", color="#e4e4e4", linewidth=0.6)
        axes[0, 0].set_ylabel(error)
        handles = figures.labelled_handles(axes[0])
        axes[0, -1].legend(handles.values(), handles.keys(), loc="center left",
                           bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    return path
