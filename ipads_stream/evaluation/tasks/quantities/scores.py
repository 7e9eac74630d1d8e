"""How far estimates are from the truth, with intervals over samples and over training seeds.

Every score follows from sums over the values of a sample, so that the pooled score, that of a
single sample and that of a bootstrap resample are one formula of other sums. Values count inside
the mask; of a quantity on a logarithmic scale, estimates at or below 0 are none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import factor
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.statistics import percentiles, plain

SUMS = (
    "asked", "n", "x", "y", "xx", "yy", "xy", "e", "a", "ee", "n_log", "ll", "n_bound", "bb"
)  # fmt: skip
SCORES = (
    "rmse", "log_rmse", "bias", "mae", "nmse", "nrmse", "r", "slope", "intercept", "missing",
    "bound_ratio",
)  # fmt: skip
WITH_UNIT = ("rmse", "bias", "mae", "intercept")  # in that of the quantity; the others in none
RESAMPLES, BLOCKS = 1000, 2000
BOUND = "Cramer-Rao bound"


def scores(comparison: Comparison, *, level: float = 0.95, key: int = 0) -> list[dict[str, Any]]:
    """One row per quantity and method, the bound's among them; numbers, or None where not defined.

    A row has the scores of :func:`of_sums`, those of ``WITH_UNIT`` in the quantity's ``unit``, and
    of each a percentile bootstrap interval over samples (``rmse_low``, ``rmse_high`` ...), the same
    resamples (of ``key``) for all methods that were given the same samples.
    """
    rows = []
    for name, quantity in comparison.quantities.items():
        for method in comparison.methods(name):
            sums = sample_sums(comparison, name, method)
            points = of_sums(sums.sum(axis=0))
            resampled = of_sums(_resamples(sums, key))
            row: dict[str, Any] = {
                "quantity": name,
                "method": method,
                "unit": quantity.unit,
                "scale": quantity.scale,
                "samples": len(sums),
                "values": int(sums[:, SUMS.index("asked")].sum()),
                "is_partial": len(sums) < len(comparison),
                "seconds_per_sample": comparison.seconds[method],
            }
            for score in SCORES:
                if score == "log_rmse" and quantity.scale != "log":
                    continue
                divisor = factor(quantity.unit) if score in WITH_UNIT else 1.0
                low, high = percentiles(resampled[score] / divisor, level)
                row[score] = plain(points[score] / divisor)
                row[f"{score}_low"], row[f"{score}_high"] = plain(low), plain(high)
            rows.append(row)
        if name in comparison.bounds:
            rows.append(_bound_row(comparison, name, quantity))
    return rows


def sample_sums(
    comparison: Comparison, quantity: str, method: str
) -> Float[np.ndarray, "samples sums"]:
    """The sums ``SUMS`` of every sample that a method was given, in SI.

    x is the truth, y the estimate, e = y - x, a = |e|, l = ln(y / x); b is e over the bound's
    standard deviation, of a quantity on a logarithmic scale l over that relative to the truth.
    """
    estimate = comparison.estimates[method][quantity]
    count = len(estimate)
    truth = comparison.truths[quantity][:count]
    scale = comparison.quantities[quantity].scale
    flat = (count, -1)
    x = truth.reshape(flat).astype(np.float64)
    y = estimate.reshape(flat).astype(np.float64)
    asked = np.isfinite(x)
    if comparison.mask is not None:
        asked = asked & np.broadcast_to(comparison.mask[:count], truth.shape).reshape(flat)
    estimated = asked & np.isfinite(y)
    if scale == "log":
        estimated &= y > 0
    x, y = np.where(estimated, x, 0.0), np.where(estimated, y, 0.0)
    error = y - x
    is_log = estimated & (x > 0) & (scale == "log")
    ratio = np.log(np.where(is_log, y, 1.0) / np.where(is_log, x, 1.0))
    has_bound, spread = np.zeros_like(estimated), np.ones_like(x)
    if quantity in comparison.bounds:
        sd = comparison.bounds[quantity][:count].astype(np.float64).reshape(flat)
        sd = np.broadcast_to(sd, x.shape)
        has_bound = (is_log if scale == "log" else estimated) & np.isfinite(sd) & (sd > 0)
        spread = np.where(has_bound, sd / np.where(is_log, x, 1.0), 1.0)
    over = np.where(has_bound, (ratio if scale == "log" else error) / spread, 0.0)
    parts = (
        asked, estimated, x, y, x * x, y * y, x * y, error, np.abs(error), error**2, is_log,
        ratio**2, has_bound, over**2,
    )  # fmt: skip
    return np.stack([part.sum(axis=1, dtype=np.float64) for part in parts], axis=1)


def sample_scores(comparison: Comparison, quantity: str, method: str) -> dict[str, np.ndarray]:
    """The scores of :func:`of_sums` of every sample that a method was given, (samples,) each."""
    return of_sums(sample_sums(comparison, quantity, method))


def of_sums(sums: Float[np.ndarray, "*any sums"]) -> dict[str, np.ndarray]:
    """The scores in SI; NaN where one is not defined.

    rmse = sqrt(mean e^2), log_rmse = sqrt(mean l^2), bias = mean e, mae = mean |e|, nmse =
    sum e^2 / sum x^2, nrmse its root, r Pearson's, y = intercept + slope x by least squares,
    missing = share of values without an estimate, bound_ratio = sqrt(mean b^2). ``sums`` are those
    of one sample, of all, or of resamples.
    """
    s = dict(zip(SUMS, np.moveaxis(sums, -1, 0), strict=True))

    def over(above: Any, below: Any) -> np.ndarray:
        return np.asarray(above / np.where(below > 0, below, np.nan))

    n = s["n"]
    spread_x, spread_y = n * s["xx"] - s["x"] ** 2, n * s["yy"] - s["y"] ** 2
    tiny = 1e-12  # of rounding, relative to what was subtracted
    spread_x = np.where(spread_x > tiny * n * s["xx"], spread_x, 0.0)
    spread_y = np.where(spread_y > tiny * n * s["yy"], spread_y, 0.0)
    together = n * s["xy"] - s["x"] * s["y"]
    slope = over(together, spread_x)
    nmse = over(s["ee"], s["xx"])
    values = {
        "rmse": np.sqrt(over(s["ee"], n)),
        "log_rmse": np.sqrt(over(s["ll"], s["n_log"])),
        "bias": over(s["e"], n),
        "mae": over(s["a"], n),
        "nmse": nmse,
        "nrmse": np.sqrt(nmse),
        "r": np.clip(over(together, np.sqrt(spread_x * spread_y)), -1.0, 1.0),
        "slope": slope,
        "intercept": over(s["y"] - slope * s["x"], n),
        "missing": over(s["asked"] - n, s["asked"]),
        "bound_ratio": np.sqrt(over(s["bb"], s["n_bound"])),
    }
    return {name: np.asarray(score) for name, score in values.items()}


def error_key(quantity: Quantity) -> str:
    """The score that methods are compared by."""
    return "log_rmse" if quantity.scale == "log" else "rmse"


def _resamples(
    sums: Float[np.ndarray, "samples any"], key: int
) -> Float[np.ndarray, "resamples any"]:
    """Sums over resampled samples; methods with the same number of samples get the same ones."""
    blocks = _blocks(sums)
    return _counts(len(blocks), key) @ blocks


def _blocks(sums: Float[np.ndarray, "samples any"]) -> Float[np.ndarray, "blocks any"]:
    """Sums of at most ``BLOCKS`` groups of samples: of independent samples they are independent."""
    if len(sums) <= BLOCKS:
        return sums
    starts = np.linspace(0, len(sums), BLOCKS, endpoint=False).astype(np.int64)
    return np.add.reduceat(sums, starts, axis=0)


@lru_cache(maxsize=4)
def _counts(num: int, key: int) -> Float[np.ndarray, "resamples num"]:
    """How often each of ``num`` counts in each resample."""
    random = np.random.Generator(np.random.Philox(key=key))
    drawn = random.multinomial(num, np.full(num, 1.0 / num), size=RESAMPLES)
    return drawn.astype(np.float64)


def _bound_row(comparison: Comparison, name: str, quantity: Quantity) -> dict[str, Any]:
    """The bound as if it were a method: its root mean square, and, less moved by the worst samples,
    its median; relative to the truth on a logarithmic scale.
    """
    sd = comparison.bounds[name].astype(np.float64)
    truth = comparison.truths[name].astype(np.float64)
    sd = sd.reshape(sd.shape + (1,) * (truth.ndim - sd.ndim))
    counts = np.isfinite(sd + truth)
    if comparison.mask is not None:
        counts = counts & comparison.mask
    row: dict[str, Any] = {
        "quantity": name,
        "method": BOUND,
        "unit": quantity.unit,
        "scale": quantity.scale,
        "samples": len(truth),
        "values": int(counts.sum()),
        "is_bound": True,
    }
    counted = np.broadcast_to(sd, truth.shape)[counts]
    spreads = [("rmse", counted, factor(quantity.unit))]
    if quantity.scale == "log":
        spreads.append(("log_rmse", counted / truth[counts], 1.0))
    for key, values, unit in spreads:
        size, middle = np.nan, np.nan
        if values.size:
            size, middle = np.sqrt(np.mean(values**2)), np.median(values)
        row |= {key: plain(size / unit), "median_sd": plain(middle / unit)}
    return row


def paired(
    comparison: Comparison,
    quantity: str,
    method: str,
    other: str,
    *,
    score: str = "rmse",
    level: float = 0.95,
    key: int = 0,
) -> dict[str, Any]:
    """A score of one method over that of another, on the values that both estimate.

    ``score`` is "rmse", "log_rmse", "mae", "nrmse" or "nmse"; ``level`` and ``key`` are of the
    bootstrap interval over samples.

    Returns:
        "ratio", "low", "high", the scores themselves as "one" and "other" (those of ``WITH_UNIT``
        in the quantity's unit), None where not defined, and "samples".
    """
    estimates = [comparison.estimates[name][quantity] for name in (method, other)]
    count = min(map(len, estimates))
    first, second = (values[:count] for values in estimates)
    both = np.isfinite(first) & np.isfinite(second)
    if comparison.quantities[quantity].scale == "log":
        both &= (first > 0) & (second > 0)
    sums = []
    for values in (first, second):
        kept = {quantity: np.where(both, values, np.nan)}
        alike = Comparison(**(vars(comparison) | {"estimates": {"kept": kept}}))
        sums.append(sample_sums(alike, quantity, "kept"))
    divisor = factor(comparison.quantities[quantity].unit) if score in WITH_UNIT else 1.0
    both_scores = [of_sums(part.sum(axis=0))[score] / divisor for part in sums]
    with np.errstate(divide="ignore", invalid="ignore"):  # of a method without an error
        ratio = np.divide(*both_scores)
        resampled = np.divide(*(of_sums(_resamples(part, key))[score] for part in sums))
    low, high = percentiles(resampled, level)
    return {
        "ratio": plain(ratio),
        "low": plain(low),
        "high": plain(high),
        "one": plain(both_scores[0]),
        "other": plain(both_scores[1]),
        "samples": count,
    }
