"""A share of another parameter's value."""

from dataclasses import dataclass

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import NAME
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Part, support_of_part
from ipads_stream.distributions.univariate import Distribution, Interval, Supports, Values


@dataclass(frozen=True, kw_only=True)
class Proportional(Distribution):
    """``x = f y``: f from ``factor`` (a number without unit), y > 0 the value of ``to``.

    Attributes:
        factor: distribution of the factor, without unit.
        to: name of the other parameter of the same sample.
    """

    factor: Distribution = ruled(Part())
    to: str = ruled(NAME)

    def check(self) -> None:
        if self.factor.unit not in ("", "1", "%"):
            raise ConfigError("factor.unit", self.factor.unit, "'' or '%': a factor has no unit")

    def _common_unit(self) -> str:
        if self.unit != "":
            raise ConfigError("unit", self.unit, "'': the unit is that of the other parameter")
        return self.unit

    @property
    def references(self) -> dict[str, str]:
        return {"to": self.to}

    @property
    def unit_of(self) -> str:
        return self.to

    @property
    def label(self) -> str:
        return f"{self.factor.label} × {self.to}"

    @property
    def support(self) -> Interval:
        low, high = self.factor.support
        return (0.0 if low >= 0 else -np.inf), (0.0 if high <= 0 else np.inf)

    def support_given(self, supports: Supports) -> Interval:
        if self.to not in supports:
            return self.support
        factors = support_of_part("factor", self.factor, supports)
        other = supports[self.to]
        if not other[0] > 0:
            allowed = f"a parameter that is always above 0; it reaches {other[0]:g} (SI)"
            raise ConfigError("to", self.to, allowed)
        products = [f * y if f != 0 else 0.0 for f in factors for y in other]
        return min(products), max(products)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self.factor.quantile(u, given) * given.value(self.to)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return self.factor.cdf(np.asarray(x) / given.value(self.to), given)
