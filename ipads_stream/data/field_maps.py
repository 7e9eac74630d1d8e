"""Maps of the field beside that of the scanner, in the unit that their sidecar names, in ppm."""

import math
from collections.abc import Mapping
from typing import Any

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError

RELATIVE = {"ppm": 1.0, "ppb": 1e-3}
HERTZ = {"Hz": 1.0, "kHz": 1e3, "rad/s": 1 / (2 * math.pi)}
TESLA = {"T": 1.0, "Tesla": 1.0, "mT": 1e-3, "uT": 1e-6, "nT": 1e-9}
SAME = 0.05  # of frequency and field: a scanner of "3 T" has 2.89 T


def ppm(
    sidecar: Mapping[str, Any], frequency: float | None, *, is_asked: bool
) -> tuple[float, str]:
    """What turns the numbers of a field map into ppm, and how that is known.

    Args:
        sidecar: ``Units`` of the map, and ``MagneticFieldStrength`` (T) of the scanner.
        frequency: of the scanner, Hz; None: not known.
        is_asked: whether the user gave the frequency: a map that names no unit is in Hz, then. The
            sidecar of any image names one.

    Raises:
        ConfigError: under the key ``data``: a unit that is no field's, none beside a frequency, or
            numbers that contradict one another.

    Source: BIDS specification 1.10, ``fieldmap``: ``Units`` is "Hz", "rad/s" or "T".
    """
    units, strength = (_only(sidecar.get(key)) for key in ("Units", "MagneticFieldStrength"))
    if units is None and is_asked:
        units, why = "Hz", "as axis has its frequency"
    elif units is None and frequency is None:
        units, why = "ppm", "for want of Units in a sidecar"
    else:
        why = "as Units in the sidecar says"
    known = [*RELATIVE, *HERTZ, *TESLA]
    if units not in known:
        raise ConfigError("data", f"a field map with Units {units!r}", f"one of {', '.join(known)}")
    field = strength if isinstance(strength, (int, float)) and strength > 0 else None
    if frequency is None and field is not None:
        frequency, of = field * GAMMA_BAR_1H, f"of MagneticFieldStrength {field:g} T"
    elif frequency is not None:
        of = "as axis says" if is_asked else "of ImagingFrequency"
        if not frequency > 0:
            raise ConfigError("data", f"a frequency of {frequency:g} Hz", "above 0")
        if field is not None and abs(frequency / GAMMA_BAR_1H / field - 1) > SAME:
            given = f"{frequency / 1e6:g} MHz beside {field:g} T"
            raise ConfigError("data", given, "a frequency in MHz and a field in T that agree")
    if units in RELATIVE:
        if is_asked:
            raise ConfigError("axis", frequency, f"null: Units of the field map is {units}")
        return RELATIVE[units], f"field in {units}, {why}"
    if frequency is None:
        allowed = "ImagingFrequency (MHz) or MagneticFieldStrength (T) beside it, or axis"
        raise ConfigError("data", f"a field map in {units}", allowed)
    hertz = HERTZ.get(units) or TESLA[units] * GAMMA_BAR_1H
    return 1e6 * hertz / frequency, f"field in {units}, {why}, at {frequency / 1e6:.5g} MHz, {of}"


def _only(value: Any) -> Any:
    """The one value of several files; a list if they differ."""
    return value[0] if isinstance(value, list) and all(x == value[0] for x in value) else value
