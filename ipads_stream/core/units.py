"""Units: SI inside Python, the paper's unit in YAML, converted once."""

from __future__ import annotations

import math

from ipads_stream.core.errors import ConfigError

# unit -> (dimension, factor to SI). ppm is the one unit kept as it is: names say so (chi_ppm).
UNITS: dict[str, tuple[str, float]] = {
    "": ("number", 1.0),
    "1": ("number", 1.0),
    "%": ("number", 1e-2),
    "s": ("time", 1.0),
    "ms": ("time", 1e-3),
    "us": ("time", 1e-6),
    "Hz": ("frequency", 1.0),
    "kHz": ("frequency", 1e3),
    "MHz": ("frequency", 1e6),
    "rad": ("angle", 1.0),
    "deg": ("angle", math.pi / 180.0),
    "turn": ("angle", 2.0 * math.pi),
    "T": ("field", 1.0),
    "mT": ("field", 1e-3),
    "uT": ("field", 1e-6),
    "m": ("length", 1.0),
    "cm": ("length", 1e-2),
    "mm": ("length", 1e-3),
    "um": ("length", 1e-6),
    "T/m": ("gradient", 1.0),
    "mT/m": ("gradient", 1e-3),
    "m^2/s": ("diffusivity", 1.0),
    "mm^2/s": ("diffusivity", 1e-6),
    "S/m": ("conductivity", 1.0),
    "mol/m^3": ("concentration", 1.0),
    "mM": ("concentration", 1.0),
    "ppm": ("ppm", 1.0),
    "dB": ("level", 1.0),
}


def dimension(unit: str) -> str:
    """Physical dimension of a unit, e.g. ``time`` for ``ms``.

    Raises:
        ConfigError: the unit is not known.
    """
    if not isinstance(unit, str) or unit not in UNITS:
        raise ConfigError("unit", unit, f"one of {', '.join(u or repr('') for u in UNITS)}")
    return UNITS[unit][0]


def factor(unit: str) -> float:
    """Factor that turns a value in ``unit`` into SI: ``value_SI = value * factor(unit)``."""
    dimension(unit)
    return UNITS[unit][1]


def units_of(wanted: str) -> list[str]:
    """All units of one dimension, for error messages."""
    return [unit for unit, (name, _) in UNITS.items() if name == wanted]
