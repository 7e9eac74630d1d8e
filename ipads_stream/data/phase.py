"""Phase images in radians, whatever a scanner or a converter wrote them in."""

import math
from typing import Any

import numpy as np
from jaxtyping import Real

from ipads_stream.core.errors import ConfigError

TURN = 2 * math.pi
UNITS = {"rad": TURN, "mrad": 1e3 * TURN, "deg": 360.0, "degrees": 360.0}  # of a turn
STEPS = {f"steps of 1/{1 << bits} turn": float(1 << bits) for bits in range(10, 17)}  # of scanners
FILLED = 0.97  # of a turn, by the noise around an object; the units above are further apart
LEAST = 0.1  # rad: noise alone has more


def in_radians(
    values: Real[np.ndarray, "..."], units: Any, name: str
) -> tuple[Real[np.ndarray, "..."], str]:
    """A phase image in radians, and how its unit is known.

    Integers of a scanner that are not negative stand for -pi to pi, as Siemens has them. NaN,
    outside the object, stays.

    Args:
        values: of the phase, in its own unit.
        units: ``Units`` of its sidecar; None or "arbitrary": to be told by the range.
        name: of the file, for errors.

    Raises:
        ConfigError: under the key ``data``: ``units`` that are no angle's or that the range
            contradicts, or a range that tells none.

    Source: BIDS specification 1.10, ``part-phase``.
    """
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    given, largest = f"a phase of {low:.4g} to {high:.4g} in {name}", max(-low, high)
    if largest == 0:
        return values, "0 everywhere"
    if units not in (None, "", "arbitrary"):
        turn = UNITS.get(units) if isinstance(units, str) else None
        if turn is None or largest > turn * 1.001 or high - low < LEAST / TURN * turn:
            allowed = f"a phase in one of {', '.join(UNITS)}, as wide as one, up to a turn"
            raise ConfigError("data", f"{given}, Units {units!r}", allowed)
        return values * (TURN / turn), f"in {units}, as Units says"
    for unit, turn in (UNITS | STEPS).items():
        is_centred = largest <= turn / 2 * 1.001 or unit == "rad"
        fits = FILLED * turn <= high - low and largest <= turn * 1.001
        if fits and (is_centred or low >= 0):
            offset = 0.0 if unit in UNITS or is_centred else math.pi
            return values * (TURN / turn) - offset, f"in {unit}, by its range"
    allowed = "a phase that fills a turn, or Units in the sidecar: rad, mrad or deg"
    raise ConfigError("data", given, allowed)
