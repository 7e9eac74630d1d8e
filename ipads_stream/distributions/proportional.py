"""A share of another parameter's value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import as_part
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class Proportional(Distribution):
    """``x = f y``: f from ``factor`` (a number without unit), y > 0 the value of ``to``.

    Attributes:
        factor: distribution of the factor, without unit.
        to: name of the other parameter of the same sample.
    """

    factor: Distribution
    to: str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", as_part("factor", self.factor))
        if self.unit != "":
            raise ConfigError("unit", self.unit, "'': the unit is that of the other parameter")
        if self.factor.unit not in ("", "1", "%"):
            raise ConfigError("factor.unit", self.factor.unit, "'' or '%': a factor has no unit")
        if not isinstance(self.to, str) or not self.to:
            raise ConfigError("to", self.to, "the name of another parameter")

    @property
    def parts(self) -> dict[str, Distribution]:
        return {"factor": self.factor}

    @cached_property
    def conditions(self) -> dict[str, str]:
        inner = {f"factor.{path}": name for path, name in self.factor.conditions.items()}
        return inner | {"to": self.to}

    @property
    def support(self) -> tuple[float, float]:
        low, high = self.factor.support
        return (0.0 if low >= 0 else -np.inf), (0.0 if high <= 0 else np.inf)

    def support_given(self, supports: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The products of the ends.

        Raises:
            ConfigError: the other parameter may be 0 or negative.
        """
        if self.to not in supports:
            return self.support
        try:
            factors = self.factor.support_given(supports)
        except ConfigError as error:
            raise error.under("factor") from None
        other = supports[self.to]
        if not other[0] > 0:
            allowed = f"a parameter that is always above 0; it reaches {other[0]:g} (SI)"
            raise ConfigError("to", self.to, allowed)
        products = [f * y if f != 0 else 0.0 for f in factors for y in other]
        return min(products), max(products)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self.factor.quantile(u, given) * given.value(self.to)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self.factor.cdf(np.asarray(x) / given.value(self.to), given)
