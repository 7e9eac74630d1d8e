"""What a network estimates: a physical quantity with its unit, its range and its scale."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from array_api_compat import array_namespace

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, check, choice, number
from ipads_stream.core.units import factor


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity, in SI everywhere but in reports.

    Attributes:
        low, high: SI; the range that is normal. It scales a network's output and its errors, and
            does not clip them.
        unit: of reports, e.g. "ms".
        scale: "linear" or "log", on which equal differences count alike: "log" of relaxation times.
        bids: suffix of a map's file name in BIDS, e.g. "T2map"; "": the name of the quantity.
    """

    low: float = number()
    high: float = number()
    unit: str = ""
    scale: str = choice("linear", among=("linear", "log"))
    bids: str = ""

    @classmethod
    def over(
        cls, support: tuple[float, float], unit: str = "", scale: str = "linear", bids: str = ""
    ) -> "Quantity":
        """The quantity over the support of its distribution; a constant's is widened by 10 %."""
        low, high = support
        if low == high:
            margin = 0.1 * abs(low) or 0.01
            low, high = low - margin, high + margin
        return cls(low=low, high=high, unit=unit, scale=scale, bids=bids)

    def __post_init__(self) -> None:
        factor(self.unit)
        check(self)
        if not self.low < self.high:
            raise ConfigError("high", self.high, f"above low={self.low:g}")
        if self.scale == "log" and self.low <= 0:
            raise ConfigError("low", self.low, "above 0 on a logarithmic scale")

    def normalized(self, value: Any) -> Any:
        """SI -> -1 at ``low``, 1 at ``high``: 2 (f(x) - f(low)) / (f(high) - f(low)) - 1, f the
        identity or the logarithm; of an array of any library."""
        low, high = self._ends()
        scaled = array_namespace(value).log(value) if self.scale == "log" else value
        return (scaled - low) * (2.0 / (high - low)) - 1.0

    def physical(self, normalized: Any) -> Any:
        """The inverse of :meth:`normalized`."""
        low, high = self._ends()
        scaled = (normalized + 1.0) * ((high - low) / 2.0) + low
        return array_namespace(scaled).exp(scaled) if self.scale == "log" else scaled

    def _ends(self) -> tuple[float, float]:
        if self.scale == "log":
            return math.log(self.low), math.log(self.high)
        return float(self.low), float(self.high)


def physical(outputs: Mapping[str, Quantity], normalized: Any) -> dict[str, Any]:
    """Quantities in SI by name, of an array (batch, quantities, ...) in their order."""
    return {name: x.physical(normalized[:, i]) for i, (name, x) in enumerate(outputs.items())}


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
    keys = tuple(each.name for each in fields(Quantity))
    for key in value:
        if key not in keys:
            raise ConfigError(f"{name}.{key}", value[key], f"no such key; there are {keys}")
    try:
        ends = {end: float(Number()(end, value.get(end))) for end in ("low", "high")}
        size = factor(value.get("unit", ""))
        return Quantity(**{**value, **{end: x * size for end, x in ends.items()}})
    except ConfigError as error:
        raise error.under(name) from None
