"""What a network estimates: a physical quantity with its unit, its range and its scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import factor

SCALES = ("linear", "log")
KEYS = ("low", "high", "unit", "scale", "bids")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity, in SI everywhere but in reports.

    Attributes:
        low, high: SI; the range that is normal. It scales a network's output and its errors, and
            does not clip them.
        unit: of reports, e.g. "ms".
        scale: "linear" or "log": where equal differences weigh alike. Relaxation times are "log".
        bids: suffix of a map's file name in BIDS, e.g. "T2map"; "": the name of the quantity.
    """

    low: float
    high: float
    unit: str = ""
    scale: str = "linear"
    bids: str = ""

    def __post_init__(self) -> None:
        factor(self.unit)
        if self.scale not in SCALES:
            raise ConfigError("scale", self.scale, f"one of {', '.join(SCALES)}")
        for key in ("low", "high"):
            value = getattr(self, key)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise ConfigError(key, value, "a finite number")
        if not self.low < self.high:
            raise ConfigError("high", self.high, f"above low={self.low:g}")
        if self.scale == "log" and self.low <= 0:
            raise ConfigError("low", self.low, "above 0 on a logarithmic scale")

    def normalized(self, value: Any) -> Any:
        """SI -> -1 at ``low``, 1 at ``high``: 2 (f(x) - f(low)) / (f(high) - f(low)) - 1, f the
        identity or the logarithm.

        Args:
            value: array of any library.
        """
        low, high = self._ends()
        return (self._scaled(value) - low) * (2.0 / (high - low)) - 1.0

    def physical(self, normalized: Any) -> Any:
        """The inverse of :meth:`normalized`."""
        low, high = self._ends()
        scaled = (normalized + 1.0) * ((high - low) / 2.0) + low
        return array_namespace(scaled).exp(scaled) if self.scale == "log" else scaled

    def _ends(self) -> tuple[float, float]:
        if self.scale == "log":
            return math.log(self.low), math.log(self.high)
        return float(self.low), float(self.high)

    def _scaled(self, value: Any) -> Any:
        return array_namespace(value).log(value) if self.scale == "log" else value


def quantities(given: Mapping[str, Any]) -> dict[str, Quantity]:
    """Quantities as YAML writes them: ``{T2: {low: 20, high: 500, unit: ms, scale: log}}``.

    Args:
        given: name -> a Quantity, or its keys with low and high in ``unit``.

    Raises:
        ConfigError: an unknown key, a missing or senseless value, by dotted key.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConfigError("outputs", given, "name: {low, high, unit, scale} of every quantity")
    return {name: _quantity(name, value) for name, value in given.items()}


def _quantity(name: str, value: Any) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(name, value, "the keys low, high, unit, scale")
    for key in value:
        if key not in KEYS:
            raise ConfigError(f"{name}.{key}", value[key], f"no such key; there are {KEYS}")
    try:
        unit = value.get("unit", "")
        ends = {}
        for key in ("low", "high"):
            end = value.get(key)
            if not isinstance(end, (int, float)) or isinstance(end, bool):
                raise ConfigError(key, end, "a number")
            ends[key] = float(end) * factor(unit)
        return Quantity(
            unit=unit, scale=value.get("scale", "linear"), bids=value.get("bids", ""), **ends
        )
    except ConfigError as error:
        raise error.under(name) from None
