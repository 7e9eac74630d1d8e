"""Whether the posteriors of a network say how far it is from the truth, and whether it is as near
as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.special import ndtr

from ipads_stream.baselines.importance import HOW, Corrected, points_for
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.statistics import plain
from ipads_stream.evaluation.tasks.quantities import scores as scoring
from ipads_stream.nets.posterior import GaussianPosterior
from ipads_stream.report import figures
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.page import Column, Section, Table
from ipads_stream.systems.base import Likely

CORRECTED = "network and likelihood"
EXACT = "posterior mean"  # among a system's baselines
LEVELS = (0.5, 0.8, 0.9, 0.95)
BINS = 20  # of ranks

DEFINITIONS = {
    "coverage": "Share of the truths inside the central interval of that probability, ± its "
    "standard error. Below: the posterior is too narrow; above: too wide.",
    "p of ranks": "Chi-square test that the posterior's share below the truth is even over 20 bins "
    "(simulation-based calibration): a small p says that the posterior is not right.",
    "over exact": "Root mean square error over that of the exact posterior mean on the same "
    "samples, with its 95 % bootstrap interval: 1 is the least that any estimate has.",
    "slope": "Of the least-squares line of the estimate over the truth, on the scale of the "
    "quantity: below 1 estimates shrink to the middle of the prior, as little as they must where "
    "that of the exact posterior mean is the same.",
}


def posterior_of(model: Any) -> Corrected | None:
    """The posterior that the likelihood corrects, where a network answers with one."""
    if not isinstance(model, Model) or not isinstance(model.net, GaussianPosterior):
        return None
    if not isinstance(model.system, Likely):
        return None
    points = points_for(len(model.system.quantities))
    return Corrected(system=model.system, proposal=model.proposal, points=points)


def section(model: Any, comparison: Comparison, output: Path) -> Section | None:
    """Coverage, ranks, slopes and what is lost against the exact posterior; None without one."""
    if (corrected := posterior_of(model)) is None:
        return None
    inputs = comparison.inputs
    found, how, effective = ranks(corrected, inputs, comparison.truths)
    rows = rows_of(comparison, found)
    counts = np.bincount(how, minlength=len(HOW)) / len(how)
    median = 100 * np.median(effective) / corrected.points
    shares = ", ".join(f"{100 * x:.3g} % by {name}" for x, name in zip(counts, HOW, strict=True))
    text = f"Median effective sample size {median:.0f} % of {corrected.points} points; {shares}."
    coverage = []
    for level in LEVELS:
        key = f"coverage_{100 * level:.0f}"
        coverage.append(Column(f"{level:.0%} interval (%)", key, ".1f", 100.0, (f"{key}_se",)))
    ends = ("over_exact_low", "over_exact_high")
    columns = (
        Column("quantity", "quantity"),
        Column("method", "method"),
        *coverage,
        Column("p of ranks", "rank_p", ".2g"),
        Column("over exact [95 %]", "over_exact", ".3f", 1.0, ends),
        Column("slope", "slope", ".4f"),
    )
    picture = draw_ranks(found, list(comparison.quantities), output / "ranks.png")
    caption = (
        "How much of each posterior lies below the truth, in 20 bins; 99 % of the bins of "
        "a right one are between the lines."
    )
    return Section(
        title="Calibration",
        paragraphs=[text],
        tables=[Table(columns=columns, rows=rows, group=("quantity",))],
        pictures=[(picture, caption)],
        definitions=DEFINITIONS,
        results={"calibration": rows, "importance": dict(zip(HOW, map(plain, counts), strict=True))
                 | {"effective_share": plain(median / 100)}},
    )  # fmt: skip


def ranks(
    corrected: Corrected, inputs: Mapping[str, np.ndarray], truths: Mapping[str, np.ndarray]
) -> tuple[dict[str, Float[np.ndarray, "B P"]], np.ndarray, np.ndarray]:
    """Share of the posteriors below the truth by method, how each was found, and its points."""
    quantities = corrected.system.quantities
    mean, root = corrected.proposal(inputs)
    share = np.stack([0.5 * (x.normalized(truths[n]) + 1) for n, x in quantities.items()], axis=1)
    true = stats.norm.ppf(np.clip(share.astype(np.float64), 1e-9, 1 - 1e-9))
    network = ndtr((true - mean) / np.sqrt(np.sum(root**2, axis=2)))
    below, how, effective = [], [], []
    for rows, part in corrected.parts(inputs):
        below.append(part.ranks({name: truths[name][rows] for name in quantities}))
        how.append(part.how)
        effective.append(part.effective)
    found = {NETWORK: network, CORRECTED: np.concatenate(below)}
    return found, np.concatenate(how), np.concatenate(effective)


def rows_of(
    comparison: Comparison, found: Mapping[str, Float[np.ndarray, "B P"]]
) -> list[dict[str, Any]]:
    """A row for each quantity and method; the exact posterior mean's has its slope alone."""
    rows = []
    for i, (name, quantity) in enumerate(comparison.quantities.items()):
        for method in (*found, EXACT):
            if method not in comparison.methods(name):
                continue
            row: dict[str, Any] = {"quantity": name, "method": method}
            estimate = comparison.estimates[method][name]
            scaled = [quantity.normalized(x) for x in (comparison.truths[name], estimate)]
            row["slope"] = plain(np.polyfit(scaled[0][: len(estimate)], scaled[1], 1)[0])
            if method in found:
                row |= calibration(found[method][:, i])
                if EXACT in comparison.methods(name):
                    key = scoring.error_key(quantity)
                    ratio = scoring.paired(comparison, name, method, EXACT, score=key)
                    row |= {"over_exact": ratio["ratio"], "over_exact_low": ratio["low"],
                            "over_exact_high": ratio["high"]}  # fmt: skip
            rows.append(row)
    return rows


def calibration(ranks: Float[np.ndarray, " B"]) -> dict[str, float | None]:
    """Coverage of central intervals with its standard error, and p of even ranks."""
    row: dict[str, float | None] = {}
    for level in LEVELS:
        share = float(np.mean(np.abs(ranks - 0.5) <= 0.5 * level))
        key = f"coverage_{100 * level:.0f}"
        row |= {key: share, f"{key}_se": float(np.sqrt(share * (1 - share) / len(ranks)))}
    counts = np.histogram(ranks, BINS, (0.0, 1.0))[0]
    return row | {"rank_p": plain(stats.chisquare(counts).pvalue)}


def draw_ranks(
    found: Mapping[str, Float[np.ndarray, "B P"]], names: Sequence[str], path: Path
) -> Path:
    """Histograms of ranks, a panel for each quantity."""
    colours = figures.colours(found)
    with figures.panels(path, len(names), 2, height=3.0, margin=0.5) as axes:
        for i, (name, axis) in enumerate(zip(names, axes, strict=True)):
            for method, values in found.items():
                share = np.histogram(values[:, i], BINS, (0.0, 1.0))[0] * BINS / len(values)
                axis.stairs(share, np.linspace(0, 1, BINS + 1), color=colours[method], label=method)
            ends = stats.binom.ppf([0.005, 0.995], len(values), 1 / BINS) * BINS / len(values)
            for end in ends:
                axis.axhline(end, color=figures.GREY, linewidth=0.8, linestyle="--")
            axis.set(title=name, xlabel="share of the posterior below the truth", ylim=(0, None))
        axes[0].set_ylabel("share of voxels over even")
        figures.legend(axes)
    return path
