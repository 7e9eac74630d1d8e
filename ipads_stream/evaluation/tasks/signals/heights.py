"""What becomes of the peaks of a plane, by their height.

The relative error of a plane and the correlation of its peaks are those of its tallest points: the
diagonal of a COSY, or water. Whether low cross peaks survive shows only if they are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int

from ipads_stream.data.planes.plane import Plane, spectrum
from ipads_stream.evaluation.metrics import find_peaks
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.physics.spectroscopy.spectrum import spectrum as spectrum_of

CLASSES = (0.3, 0.1, 0.03, 0.01, 0.003)  # lower ends, of the tallest peak
ABOVE = 6.0  # a peak stands so many times above the noise of its own row and column
NEAR = 4  # points of the coarser axis from the diagonal
LOST, RAISED = 0.5, 1.5  # of its height is left of a lost peak at most; of one in artefacts more
ONE_SIDED = 0.25  # of the energy is in the second half of t2 at most; of both sides half is
RAYLEIGH_MEDIAN = 1.1774  # of magnitudes, in standard deviations of one channel


def shown(
    plane: Plane, fid: Complex[np.ndarray, "rows points"]
) -> Float[np.ndarray, "rows points"]:
    """Intensities in which a low peak can stand beside a tall one.

    Of phased planes the real part; of others magnitudes after sine bells, squared, along t1 and t2,
    without which the dispersive tails of tall peaks cover all else. Rows of array files may be
    absorptive: then t2 runs to both sides of zero, and a bell would take away the middle.
    """
    if plane.is_phased:
        return np.abs(spectrum(plane, fid).real)
    energy = (np.abs(fid_of(plane.fid.T)) ** 2).sum(axis=0)
    if energy[energy.size // 2 :].sum() < ONE_SIDED * energy.sum():
        fid = spectrum_of(fid_of(fid.T) * _bell(len(fid))).T
    return np.abs(spectrum_of(fid * _bell(fid.shape[1])))


def _bell(points: int) -> Float[np.ndarray, " points"]:
    return np.sin(np.pi * (np.arange(points) + 0.5) / points) ** 2


def clear_peaks(
    plane: Plane, full: Float[np.ndarray, "rows points"]
) -> Int[np.ndarray, "peaks axes"]:
    """Peaks of a plane, as `shown`, away from ridges and, of one nucleus, from the diagonal.

    Noise is the median of a row or a column, whichever is higher: ridges along either (t1 noise,
    water, truncation) raise it where they run, and a row or column that a few peaks stand in does
    not.
    """
    noise = np.maximum(np.median(full, axis=1)[:, None], np.median(full, axis=0)[None])
    peaks = find_peaks(full, CLASSES[-1])
    row, point = peaks.T
    kept = full[row, point] > ABOVE * noise[row, point] / RAYLEIGH_MEDIAN
    along = diagonal(plane)
    if along is not None:
        rows, points = full.shape
        apart = along[row] - plane.indirect.hertz(points)[point]
        kept &= np.abs(apart) > NEAR * max(plane.direct.width / rows, plane.indirect.width / points)
    return peaks[kept]


def diagonal(plane: Plane) -> Float[np.ndarray, " rows"] | None:
    """Where the diagonal crosses each row, Hz of the indirect axis; None: not of one nucleus."""
    direct, indirect = plane.direct, plane.indirect
    if not direct.nucleus == indirect.nucleus != "?":
        return None
    offset = (direct.centre_ppm - indirect.centre_ppm) * direct.frequency / 1e6
    return direct.hertz(len(plane.fid)) + offset


def heights(
    peaks: Int[np.ndarray, "peaks axes"],
    estimate: Float[np.ndarray, "rows points"],
    full: Float[np.ndarray, "rows points"],
    tallest: float,
) -> list[dict[str, Any]]:
    """For every class of heights that has peaks: "height", their number, the shares that are lost
    and raised, and the median of estimated over true height, each at the point of the peak.

    Artefacts raise what they cover: zeros in place of points lose no low peak, but drown them all.
    """
    true = full[tuple(peaks.T)]
    kept = estimate[tuple(peaks.T)] / true
    rows: list[dict[str, Any]] = []
    upper = np.inf
    for lower in CLASSES:
        here = (true >= lower * tallest) & (true < upper * tallest)
        top = 1.0 if upper == np.inf else upper
        upper = lower
        if here.any():
            part = kept[here]
            row: dict[str, Any] = {"height": f"{100 * lower:g} to {100 * top:g} %"}
            row["peaks"] = part.size
            row["lost"], row["raised"] = float((part < LOST).mean()), float((part > RAISED).mean())
            row["kept"] = float(np.median(part))
            rows.append(row)
    return rows


def over_schedules(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over schedules of :func:`heights`, tall peaks first, at every rate."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["rate"], row["height"], row["method"]), []).append(row)
    ordered = sorted(
        groups,
        key=lambda place: (place[0], -float(place[1].split()[0])),  # stable: methods stay
    )
    return [
        {**same[0], "schedules": len(same)}
        | {name: float(np.mean([row[name] for row in same])) for name in ("lost", "raised", "kept")}
        for same in (groups[place] for place in ordered)
    ]
