"""Units: SI inside Python, the paper's unit in YAML, converted once."""

import math

from ipads_stream.core.errors import ConfigError

# Dimension -> units and their factors to SI. ppm alone is not converted: names say so (chi_ppm).
_FACTORS = {
    "number": {"": 1.0, "1": 1.0, "%": 1e-2},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
    "frequency": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6},
    "angle": {"rad": 1.0, "deg": math.pi / 180.0, "turn": 2.0 * math.pi},
    "field": {"T": 1.0, "mT": 1e-3, "uT": 1e-6},
    "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6},
    "gradient": {"T/m": 1.0, "mT/m": 1e-3},
    "diffusivity": {"m^2/s": 1.0, "mm^2/s": 1e-6},
    "conductivity": {"S/m": 1.0},
    "concentration": {"mol/m^3": 1.0, "mM": 1.0},
    "ppm": {"ppm": 1.0},
    "level": {"dB": 1.0},
}
UNITS = {unit: (name, x) for name, units in _FACTORS.items() for unit, x in units.items()}


def dimension(unit: str) -> str:
    """Physical dimension of a unit, e.g. ``time`` for ``ms``; ConfigError of an unknown one."""
    if not isinstance(unit, str) or unit not in UNITS:
        raise ConfigError("unit", unit, f"one of {', '.join(u or repr('') for u in UNITS)}")
    return UNITS[unit][0]


def factor(unit: str) -> float:
    """Factor that turns a value in ``unit`` into SI: ``value_SI = value * factor(unit)``."""
    dimension(unit)
    return UNITS[unit][1]


def units_of(wanted: str) -> list[str]:
    """All units of one dimension, for error messages."""
    return list(_FACTORS.get(wanted, ()))


def plain(value: float) -> str:
    """A number with four digits, without a power of ten where it is not needed."""
    text = f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"
    return text.replace("-", "−")


def labelled(name: str, unit: str) -> str:
    """Name and unit, for an axis: ``T1 (ms)``."""
    return name if unit in ("", "1") else f"{name} ({unit})"


def interval(low: float, high: float, unit: str) -> str:
    """From where to where, in words: ``20 to 700 ms``, ``from 0.5``; "" where there is no end."""
    suffix = f" {unit}" if unit not in ("", "1") else ""
    if low == high:
        return plain(low) + suffix
    if math.isfinite(low):
        ends = f"{plain(low)} to {plain(high)}" if math.isfinite(high) else f"from {plain(low)}"
        return ends + suffix
    return f"up to {plain(high)}{suffix}" if math.isfinite(high) else ""
