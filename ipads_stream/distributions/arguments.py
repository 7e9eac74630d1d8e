"""Rules for the fields of distributions: numbers kept as floats, rising lists, units, names.

low: float = ruled(Real(above=0))
edges: tuple[float, ...] = ruled(Reals(rises=True))
"""

from dataclasses import dataclass
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, Number, Numbers
from ipads_stream.core.units import dimension

LARGEST = 1e150  # sums and products of two numbers stay finite


@dataclass(frozen=True, kw_only=True)
class Real(Number):
    """A number that can be calculated with, kept as a float."""

    def __call__(self, name: str, value: Any) -> Any:
        number = super().__call__(name, value)
        if number is None:
            return None
        if abs(number) > LARGEST:
            raise ConfigError(name, number, f"a number from {-LARGEST:g} to {LARGEST:g}")
        return float(number)


@dataclass(frozen=True)
class Unit:
    """A unit of core/units.py."""

    def __call__(self, name: str, value: Any) -> str:
        try:
            dimension(value)
        except ConfigError as error:
            raise ConfigError(name, value, error.allowed) from None
        return str(value)


REAL, OPTIONAL_REAL = Real(), Real(optional=True)
RISING = Numbers(each=REAL, rises=True)
NAME = Instance(of=str, allowed="the name of another parameter")


def check_shares(name: str, shares: tuple[float, ...], counted: str, count: int) -> None:
    """Refuses shares unless there are ``count``, none below 0 and at least one above."""
    if len(shares) != count:
        raise ConfigError(name, shares, f"as many as {counted} ({count})")
    if min(shares) < 0 or not sum(shares) > 0:
        raise ConfigError(name, shares, "none below 0, at least one above 0")
