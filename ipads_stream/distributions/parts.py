"""Distributions inside distributions: what may stand there, and those made of a single one."""

from dataclasses import dataclass
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import REAL
from ipads_stream.distributions.constant import Constant
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Supports, Values, Vector


def as_distribution_or_number(name: str, value: Any) -> Distribution:
    """A distribution; a bare number is a Constant in SI; ConfigError of anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant(value=REAL(name, value))
    if not isinstance(value, Distribution):
        raise ConfigError(name, value, "a number or a distribution")
    return value


@dataclass(frozen=True, kw_only=True)
class Part:
    """A distribution inside another, or a number.

    Attributes:
        is_independent: whether its law must be the same for every sample.
        is_outermost: whether it may be one that must stand outermost.
    """

    is_independent: bool = False
    is_outermost: bool = False

    def __call__(self, name: str, value: Any) -> Distribution:
        part = as_distribution_or_number(name, value)
        kind = type(part).__name__
        if part.stands_outermost and not self.is_outermost:
            allowed = f"not inside another distribution; put {kind} outermost"
            raise ConfigError(name, kind, allowed)
        if self.is_independent and (part.conditions or part.varies):
            allowed = "a distribution that depends on no parameter and no sample index; put "
            raise ConfigError(name, kind, allowed + "Conditional, Proportional, Curriculum outside")
        return part


@dataclass(frozen=True, kw_only=True)
class Derived(Distribution):
    """Draws the values of another distribution, whose support it has, in its own way.

    Attributes:
        distribution: that other one.
    """

    distribution: Distribution = ruled(Part())

    @property
    def support(self) -> Interval:
        return self.distribution.support

    def support_given(self, supports: Supports) -> Interval:
        return support_of_part("distribution", self.distribution, supports)

    @property
    def is_integer(self) -> bool:
        return self.distribution.is_integer

    @property
    def atoms(self) -> Vector:
        return self.distribution.atoms

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self.distribution.quantile(u, given)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return self.distribution.cdf(x, given)


def support_of_part(key: str, part: Distribution, supports: Supports) -> Interval:
    """The support of a part given those of other parameters; its errors name the key."""
    try:
        return part.support_given(supports)
    except ConfigError as error:
        raise error.under(key) from None


def hull(supports: list[tuple[float, float]]) -> Interval:
    """The smallest interval that holds all of them."""
    lows, highs = zip(*supports, strict=True)
    return min(lows), max(highs)
