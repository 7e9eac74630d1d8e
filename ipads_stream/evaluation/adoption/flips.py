"""Spoiled gradient echoes at several flip angles: their angles and their repetition time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.adoption.measured import (
    Adopted,
    Measured,
    Setting,
    constant,
    facts,
    images_of,
    number,
    refused,
    repetition_time,
)

EVEN = 0.05  # of the mean distance between flip angles


def flip_angles(system: Any, measured: Measured, config: Mapping[str, Any]) -> Adopted:
    """As of :class:`ipads_stream.systems.base.Adopting`, of ``FlipAngle`` and ``RepetitionTime``.

    The range of T1 and of the signal stay those of the system: without a map of B1 no flip angle
    is known, and T1 errs by its square.
    """
    images = images_of(system, measured)
    given, count = images.sidecar.get("FlipAngle"), images.values.shape[-1]
    if not isinstance(given, list) or len(given) != count:
        raise refused(system, measured, f"images with a FlipAngle each, but has {given}")
    flips = np.array([number({"FlipAngle": x}, "FlipAngle") for x in given], float)
    distances = np.diff(np.sort(flips))
    if len(flips) < 2 or (distances <= 0).any() or flips.min() <= 0:
        raise refused(system, measured, f"images of different flip angles but of {given} degrees")
    if np.ptp(distances) > EVEN * distances.mean():
        raise ConfigError("data", f"FlipAngle {given}", "flip angles at even distances")
    if number(images.sidecar, "InversionTime"):
        raise refused(system, measured, "without an inversion: the sidecar has an InversionTime")
    repetition = repetition_time(images.sidecar)
    if repetition is None:
        raise ConfigError("data", "no repetition time", "RepetitionTime in the sidecars")
    settings = {
        "num_flips": Setting(constant(count), f"{count} images"),
        "smallest_flip": Setting(constant(flips.min(), "deg"), "FlipAngle of the sidecars, deg"),
        "largest_flip": Setting(constant(flips.max(), "deg"), "FlipAngle of the sidecars, deg"),
        "TR": Setting(constant(1e3 * repetition, "ms"), "RepetitionTime of the sidecar, s"),
    }
    notes = [
        *facts(images.sidecar)[:1],
        "T1 and snr are not mined: without a map of B1 no flip angle is known, and T1 errs by its "
        "square",
    ]
    return Adopted(settings, notes, lambda: ({}, []))
