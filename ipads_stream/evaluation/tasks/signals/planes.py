"""Retrospective undersampling of a measured plane, whose omitted points are known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex
from tqdm import tqdm

from ipads_stream.acquisition.masks import num_sampled
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.baselines import Method
from ipads_stream.baselines.signals.methods import IST
from ipads_stream.core.random import Keys
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Plane, UnusableData, rows_between, spectrum
from ipads_stream.evaluation.metrics import peak_correlation, rlne
from ipads_stream.evaluation.statistics import plain
from ipads_stream.evaluation.tasks.signals.heights import (
    clear_peaks,
    heights,
    over_schedules,
    shown,
)
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.report.figures import NETWORK

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


def signal_region(plane: Plane, data_set: str) -> Region:
    """The rows of the plane of a named data set that contain its signals."""
    source = datasets.SOURCES[data_set]
    return region_between(plane, source.signal_ppm, source.peak_threshold)


def region_between(plane: Plane, ppm: tuple[float, float], threshold: float) -> Region:
    """The rows between two shifts of the direct dimension, ppm; ValueError: fewer than two."""
    low, high = ppm
    return Region(f"{low:g} to {high:g} ppm", rows_between(plane, low, high), threshold)


@dataclass(frozen=True)
class MeasuredTest:
    """Scores and reconstructions of a plane.

    Attributes:
        schedules: one row per region, rate, schedule and method.
        rows: one per region, rate and method: mean and standard deviation over the schedules.
        pairs: one per region and rate: network against IST on the same schedules.
        estimates: rate -> method -> rows of the plane, reconstructed with schedule 0.
        masks: rate -> schedule 0, (points,).
        heights: one per rate, class of peak heights and method: see `heights`.
        regions: that were scored, the widest first.
    """

    schedules: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    estimates: dict[float, dict[str, np.ndarray]] = field(default_factory=dict)
    masks: dict[float, np.ndarray] = field(default_factory=dict)
    heights: list[dict[str, Any]] = field(default_factory=list)
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
    """Hides points of the indirect dimension, the same of all rows, and reconstructs them.

    Scores are taken over each region of the direct dimension.

    Raises:
        UnusableData: the plane is not finite, or empty.
    """
    if not np.isfinite(plane.fid).all():
        raise UnusableData(f"{plane.name}: values that are not finite; leave them out first")
    if not plane.fid.any():
        raise UnusableData(f"{plane.name}: all values are zero")
    test = MeasuredTest(regions=regions)
    full = spectrum(plane)
    intensities = shown(plane, plane.fid)
    peaks = clear_peaks(plane, intensities)
    here = np.arange(len(full))[regions[-1].rows]
    peaks, by_height = peaks[np.isin(peaks[:, 0], here)], []
    tallest = float(intensities[here].max())
    rates = [float(rate) for rate in rates]
    total = len(rates) * schedules * len(methods)
    with tqdm(total=total, desc=plane.name, disable=not bar) as progress:
        for rate in rates:
            masks = draw_schedules(plane.fid.shape[1], rate, schedules, seed)
            test.masks[rate], test.estimates[rate] = masks[0], {}
            for number, mask in enumerate(masks):
                for name, method in methods.items():
                    started = time.perf_counter()
                    estimate = reconstruct(method, np.where(mask, plane.fid, 0), mask)
                    seconds = (time.perf_counter() - started) / max(len(plane.fid), 1)
                    estimated = spectrum(plane, estimate)
                    for region in regions:
                        place = {"region": region.name, "rate": rate, "schedule": number}
                        place |= {"method": name, "seconds_per_signal": seconds}
                        test.schedules.append(place | _scores(plane, estimated, full, region))
                    of_peaks = heights(peaks, shown(plane, estimate), intensities, tallest)
                    by_height += [{"rate": rate, "method": name} | row for row in of_peaks]
                    if number == 0:
                        test.estimates[rate][name] = estimate
                    progress.update()
    test.heights.extend(over_schedules(by_height))
    for region in regions:
        for rate in rates:
            place = {"region": region.name, "rate": rate}
            drawn = [row for row in test.schedules if place.items() <= row.items()]
            test.rows.extend(place | _over_schedules(drawn, name) for name in methods)
            if {IST, NETWORK} <= set(methods):
                test.pairs.append(place | _paired(drawn))
    return test


def draw_schedules(
    points: int, rate: float, schedules: int, seed: int
) -> Bool[np.ndarray, "schedules points"]:
    """Poisson-gap schedules of one rate; schedule s is sample s of the split "measured"."""
    keys = Keys(seed, "measured", np.arange(schedules, dtype=np.uint64))
    return poisson_gap(keys["mask"], points, num_sampled(np.full(schedules, rate), points))


def reconstruct(
    method: Method, fid: Complex[np.ndarray, "rows points"], mask: Bool[np.ndarray, "..."]
) -> Complex[np.ndarray, "rows points"]:
    """Signals by a method; of one that gives spectra alone their transform."""
    estimates = method({"fid": fid, "mask": np.broadcast_to(mask, fid.shape)})
    return estimates["fid"] if "fid" in estimates else fid_of(estimates["spectrum"])


def _scores(plane: Plane, estimate: np.ndarray, full: np.ndarray, region: Region) -> dict[str, Any]:
    estimate, full = estimate[region.rows], full[region.rows]
    r, r2, num_peaks = peak_correlation(estimate, full, region.threshold)
    absorptive = np.nan
    if plane.is_phased:
        absorptive = peak_correlation(estimate.real, full.real, region.threshold)[0]
    return {
        "rlne": float(rlne(estimate, full)),
        "r": plain(r),
        "r2": plain(r2),
        "r_absorptive": plain(absorptive),
        "peaks": num_peaks,
    }


def _over_schedules(schedules: list[dict[str, Any]], name: str) -> dict[str, Any]:
    rows = [row for row in schedules if row["method"] == name]
    summary: dict[str, Any] = {"method": name, "schedules": len(rows)}
    for score in SCORES:
        values = [row[score] for row in rows if row[score] is not None]
        summary[score] = float(np.mean(values)) if values else None
        summary[f"{score}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary | {"peaks": rows[0]["peaks"]}


def _paired(schedules: list[dict[str, Any]]) -> dict[str, Any]:
    """Network against IST on the same schedules; differences are network minus IST."""
    network, ist = ([r for r in schedules if r["method"] == name] for name in (NETWORK, IST))
    pairs = list(zip(network, ist, strict=True))
    difference = np.array([a["rlne"] - b["rlne"] for a, b in pairs])
    known = [(a["r"], b["r"]) for a, b in pairs if a["r"] is not None and b["r"] is not None]
    return {
        "schedules": len(pairs),
        "rlne_better": int((difference < 0).sum()),
        "r_better": sum(a > b for a, b in known),
        "rlne_difference": float(difference.mean()),
        "rlne_difference_sd": float(difference.std(ddof=1)) if len(pairs) > 1 else None,
    }
