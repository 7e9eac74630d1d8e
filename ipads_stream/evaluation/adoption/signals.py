"""Planes of line spectra: points, width, field and schedule; lines of those fully sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.baselines.signals.line_fit import fit_lines
from ipads_stream.core.errors import ConfigError
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Plane, read_plane, restrict
from ipads_stream.data.planes.recording import Axis, recipe_of
from ipads_stream.data.planes.schedules import Sparse, read_sparse
from ipads_stream.evaluation.adoption.measured import (
    Adopted,
    Measured,
    Setting,
    constant,
    refused,
)
from ipads_stream.evaluation.familiar import Familiar
from ipads_stream.evaluation.fit_prior import FEWEST_LINES, distributions_of, values_of
from ipads_stream.evaluation.tasks.signals.planes import signal_region


def line_spectra(system: Any, measured: Measured, config: Mapping[str, Any]) -> Adopted:
    """As of :class:`ipads_stream.systems.base.Adopting`, of a plane of two dimensions.

    Raises:
        UnusableData: a file that gives no plane.
    """
    if measured.images is not None:
        raise refused(system, measured, "a recording of signals: a folder or file of spectrometers")
    name = str(measured.path)
    if name in datasets.NAMES:
        plane = read_plane(datasets.find(name))
        return _plane(restrict(plane, signal_region(plane, name).rows), config["bins"])
    schedule = None if config["schedule"] is None else Path(config["schedule"])
    sparse = read_sparse(measured.path, schedule, config["mode"])
    if sparse is not None:
        return _sparse(system, sparse)
    told = {key: config[key] for key in ("mode", "reverse_indirect")}
    recipe = recipe_of(measured.path, **told)
    return _plane(read_plane(measured.path, recipe, config["variable"]), config["bins"])


def _plane(plane: Plane, bins: int) -> Adopted:
    points = plane.fid.shape[1]
    settings = {
        "points": Setting(points, f"complex points along t1 of {plane.name}, {plane.mode}"),
        "dwell": Setting(1.0, "of choice: frequencies are cycles per point, decays points"),
    }
    return Adopted(settings, [_axis(plane.indirect), *plane.notes], partial(_lines, plane, bins))


def _lines(plane: Plane, bins: int) -> tuple[Mapping[str, Setting], Sequence[str]]:
    """Distributions of the lines of all rows, as `ipads-stream fit-prior` finds them."""
    fits = [fit for fit in map(fit_lines, plane.fid) if fit.amplitude.size]
    values = values_of(fits)
    count = values["frequency"].size
    if count < FEWEST_LINES:
        raise ConfigError("data", f"{count} lines", f"{FEWEST_LINES} that stand out of the noise")
    source = f"{count} lines in {len(fits)} of {len(plane.fid)} rows"
    found = {name: Setting(x, source) for name, x in distributions_of(values, bins).items()}
    return found, ["Lines that the noise hides are missing: widen the low amplitudes if they count"]


def _sparse(system: Any, sparse: Sparse) -> Adopted:
    """Of a non-uniform recording: its lines are not known before it is reconstructed."""
    mask = np.zeros((1, sparse.points), bool)
    mask[0, sparse.sampled] = True
    rate = len(sparse.sampled) / sparse.points
    settings = {
        "points": Setting(sparse.points, f"increments of the full grid, {sparse.mode}"),
        "rate": Setting(constant(rate), f"{len(sparse.sampled)} increments in {sparse.source}"),
        "dwell": Setting(1.0, "of choice: frequencies are cycles per point, decays points"),
    }
    kinds = [
        kind
        for kind in ("poisson_gap", "sine_weighted", "uniform_random")
        if not Familiar(replace(system, points=sparse.points, schedule=kind)).density(mask)
    ]
    if kinds:
        source = f"density and gaps of {sparse.source} are as its masks have them"
        settings["schedule"] = Setting(kinds[0], source)
    notes = [_axis(sparse.indirect), "Lines and noise are those of the system: a recording of "
             "which points are missing is not fitted"]  # fmt: skip
    if not kinds:
        notes.append(f"No schedule of the system is like {sparse.source}; that of the system stays")
    return Adopted(settings, notes, lambda: ({}, []))


def _axis(axis: Axis) -> str:
    width = "not known" if axis.width == 1.0 else f"{axis.width:.6g} Hz, one cycle per point"
    field = (
        "" if np.isnan(axis.frequency) else f" of {axis.nucleus} at {axis.frequency / 1e6:.6g} MHz"
    )
    return f"Spectral width{field}: {width}"
