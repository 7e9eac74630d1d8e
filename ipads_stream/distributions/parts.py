"""What distributions of distributions share: checked parts and one unit."""

from __future__ import annotations

from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, units_of
from ipads_stream.distributions.constant import Constant
from ipads_stream.distributions.univariate import Distribution


def as_part(name: str, value: Any) -> Distribution:
    """A part of a distribution; a bare number is a Constant in SI.

    Raises:
        ConfigError: neither a distribution nor a number, or one that must stand outermost.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant.bare(name, value)
    if not isinstance(value, Distribution):
        raise ConfigError(name, value, "a number or a distribution")
    if value.stands_outermost:
        kind = type(value).__name__
        raise ConfigError(name, kind, f"not inside another distribution; put {kind} outermost")
    return value


def independent_part(name: str, value: Any) -> Distribution:
    """A part whose law is the same for every sample.

    Raises:
        ConfigError: it depends on another parameter or on the sample index.
    """
    part = as_part(name, value)
    if part.conditions or part.varies:
        kind = type(part).__name__
        allowed = "a distribution that depends on no parameter and no sample index; put "
        raise ConfigError(name, kind, allowed + "Conditional, Proportional, Curriculum outside")
    return part


def common_unit(unit: str, parts: dict[str, Distribution]) -> str:
    """The unit of a distribution's own numbers: as given, else that of its first part with one.

    Raises:
        ConfigError: the parts are of different dimension, or of another than the unit.
    """
    for key, part in parts.items():
        if part.unit == "":
            continue
        unit = unit or part.unit
        if dimension(part.unit) != dimension(unit):
            quantity = dimension(unit)
            allowed = f"one of {units_of(quantity)} ({quantity}, as {unit!r})"
            raise ConfigError(f"{key}.unit", part.unit, allowed)
    return unit


def hull(supports: list[tuple[float, float]]) -> tuple[float, float]:
    """The smallest interval that holds all of them."""
    lows, highs = zip(*supports, strict=True)
    return min(lows), max(highs)
