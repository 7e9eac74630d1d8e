"""Retrospective undersampling of a measured plane: what was left out is known, so is the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Num
from tqdm import tqdm

from ipads_stream.acquisition.masks import num_sampled
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.methods import IST, NETWORK, Method, timed
from ipads_stream.evaluation.metrics import peak_correlation, rlne
from ipads_stream.evaluation.planes import Plane, UnusableData, spectrum

SCORES = ("rlne", "r", "r2", "r_absorptive", "seconds_per_signal")


@dataclass(frozen=True)
class Region:
    """Rows of a plane that are scored together.

    Attributes:
        name: for tables.
        rows: of the direct dimension.
        threshold: peaks above this fraction of the tallest are compared.
    """

    name: str = "all"
    rows: slice = field(default_factory=lambda: slice(None))
    threshold: float = 0.03


@dataclass(frozen=True)
class MeasuredTest:
    """What the test found.

    Attributes:
        schedules: one row per region, rate, schedule and method.
        rows: one per region, rate and method: mean and standard deviation over the schedules.
        pairs: one per region and rate: network against IST on the same schedules.
        estimates: rate -> method -> rows of the plane, reconstructed with schedule 0.
        masks: rate -> schedule 0, (points,).
        regions: that were scored, the widest first.
    """

    schedules: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    estimates: dict[float, dict[str, np.ndarray]] = field(default_factory=dict)
    masks: dict[float, np.ndarray] = field(default_factory=dict)
    regions: Sequence[Region] = (Region(),)


def measured_test(
    plane: Plane,
    methods: Mapping[str, Method],
    rates: Sequence[float],
    *,
    schedules: int,
    regions: Sequence[Region] = (Region(),),
    seed: int = 0,
    bar: bool = False,
) -> MeasuredTest:
    """Hides points of the indirect dimension and reconstructs them, one schedule for all rows.

    All rows are reconstructed; the scores are taken over each region.

    Args:
        plane: fully sampled.
        methods: by name, ``(fid, mask) -> fid``.
        rates: sampled shares of the points, 0 < rate <= 1.
        schedules: Poisson-gap schedules per rate.
        regions: of the direct dimension.
        seed: of the schedules.
        bar: show a progress bar.

    Raises:
        UnusableData: the plane is not finite, or empty.
    """
    if not np.isfinite(plane.fid).all():
        raise UnusableData(f"{plane.name}: values that are not finite; leave them out first")
    if not plane.fid.any():
        raise UnusableData(f"{plane.name}: all values are zero")
    test = MeasuredTest(regions=regions)
    full = spectrum(plane)
    total = len(rates) * schedules * len(methods)
    with tqdm(total=total, desc=plane.name, disable=not bar) as told:
        for rate in (float(rate) for rate in rates):
            masks = draw_schedules(plane.fid.shape[1], rate, schedules, seed)
            test.masks[rate], test.estimates[rate] = masks[0], {}
            for number, mask in enumerate(masks):
                for name, method in methods.items():
                    estimate, seconds = timed(method, np.where(mask, plane.fid, 0), mask)
                    found = spectrum(plane, estimate)
                    for region in regions:
                        place = {"region": region.name, "rate": rate, "schedule": number}
                        scores = _scores(plane, found, full, region)
                        told_of = {"method": name, "seconds_per_signal": seconds}
                        test.schedules.append(place | told_of | scores)
                    if number == 0:
                        test.estimates[rate][name] = estimate
                    told.update()
    for region in regions:
        for rate in (float(rate) for rate in rates):
            here = [r for r in test.schedules if (r["region"], r["rate"]) == (region.name, rate)]
            place = {"region": region.name, "rate": rate}
            test.rows.extend(place | _over_schedules(here, name) for name in methods)
            if {IST, NETWORK} <= set(methods):
                test.pairs.append(place | _paired(here))
    return test


def draw_schedules(
    points: int, rate: float, schedules: int, seed: int
) -> Bool[np.ndarray, "schedules points"]:
    """Poisson-gap schedules of one rate; schedule s is sample s of the split "measured".

    Args:
        points: of the indirect dimension.
        rate: share of them that is sampled.
        schedules: how many.
        seed: of the random numbers.
    """
    keys = Keys(seed, "measured", np.arange(schedules, dtype=np.uint64))
    return poisson_gap(keys["mask"], points, num_sampled(np.full(schedules, rate), points))


def intensities(
    plane: Plane, values: Complex[np.ndarray, "rows points"]
) -> Num[np.ndarray, "rows points"]:
    """What is drawn: the absorptive part, or the magnitude if the spectrum is not phased.

    Args:
        plane: tells whether the spectrum is phased.
        values: its spectrum, or one of an estimate.
    """
    return values.real if plane.is_phased else np.abs(values)


def _scores(plane: Plane, estimate: np.ndarray, full: np.ndarray, region: Region) -> dict[str, Any]:
    estimate, full = estimate[region.rows], full[region.rows]
    r, r2, num_peaks = peak_correlation(estimate, full, region.threshold)
    absorptive = np.nan
    if plane.is_phased:
        absorptive = peak_correlation(estimate.real, full.real, region.threshold)[0]
    return {
        "rlne": float(rlne(estimate, full)),
        "r": r if np.isfinite(r) else None,
        "r2": r2 if np.isfinite(r2) else None,
        "r_absorptive": absorptive if np.isfinite(absorptive) else None,
        "peaks": num_peaks,
    }


def _over_schedules(schedules: list[dict[str, Any]], name: str) -> dict[str, Any]:
    mine = [row for row in schedules if row["method"] == name]
    summary: dict[str, Any] = {"method": name, "schedules": len(mine)}
    for score in SCORES:
        values = [row[score] for row in mine if row[score] is not None]
        summary[score] = float(np.mean(values)) if values else None
        summary[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary | {"peaks": mine[0]["peaks"]}


def _paired(schedules: list[dict[str, Any]]) -> dict[str, Any]:
    """The same schedules decide between network and IST; differences are network minus IST."""
    by_method = {
        name: [row for row in schedules if row["method"] == name] for name in (NETWORK, IST)
    }
    pairs = list(zip(by_method[NETWORK], by_method[IST], strict=True))
    difference = np.array([mine["rlne"] - theirs["rlne"] for mine, theirs in pairs])
    known = [(a["r"], b["r"]) for a, b in pairs if a["r"] is not None and b["r"] is not None]
    return {
        "schedules": len(pairs),
        "rlne_better": int((difference < 0).sum()),
        "r_better": sum(mine > theirs for mine, theirs in known),
        "rlne_difference": float(difference.mean()),
        "rlne_difference_sd": float(difference.std(ddof=1)) if len(pairs) > 1 else None,
    }
