"""A distribution cut to an interval whose ends are numbers or the values of other parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.core.units import dimension
from ipads_stream.distributions.arguments import NAME, OPTIONAL_REAL
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Derived, Part
from ipads_stream.distributions.univariate import Distribution, Interval, Supports, Values, Vector

LEAST = 1e-12  # probability that an interval must hold to be cut to


@dataclass(frozen=True, kw_only=True)
class Truncated(Derived):
    """``F^-1(u) = G^-1(G(a-) + u (G(b) - G(a-)))``, G of ``distribution``, a and b the ends.

    Attributes:
        distribution: that is cut.
        low, high: ends, in ``unit`` (by default that of ``distribution``); both belong to it.
        above, below: names of other parameters of the same sample whose values are ends, too:
            T2 with ``below: T1`` is never longer than T1.
    """

    distribution: Distribution = ruled(Part())
    low: float | None = ruled(OPTIONAL_REAL, None)
    high: float | None = ruled(OPTIONAL_REAL, None)
    above: str | None = ruled(replace(NAME, optional=True), None)
    below: str | None = ruled(replace(NAME, optional=True), None)

    def check(self) -> None:
        if all(getattr(self, name) is None for name in ("low", "high", "above", "below")):
            raise ConfigError("low", None, "at least one of low, high, above, below")
        low, high = self._ends()
        if not low <= high:
            raise ConfigError("low", self.low, f"at most high={self.high:g}")
        part = self.distribution
        inner_low, inner_high = part.support
        if low > inner_high or high < inner_low:
            key = "low" if low > inner_high else "high"
            allowed = f"an end within the distribution, {inner_low:g} to {inner_high:g} (SI)"
            raise ConfigError(key, getattr(self, key), allowed)
        if not (part.conditions or part.varies):
            held = float(part.cdf(np.array(high)) - part.cdf_below(np.array(low)))
            if held < LEAST:
                key = "high" if self.low is None else "low"
                allowed = f"an interval with a probability of at least {LEAST:g}, not {held:.2g}"
                raise ConfigError(key, getattr(self, key), allowed)

    @property
    def references(self) -> dict[str, str]:
        bounds = {"above": self.above, "below": self.below}
        return {key: name for key, name in bounds.items() if name is not None}

    def check_references(self, dimensions: Mapping[str, str]) -> None:
        super().check_references(dimensions)
        quantity = dimension(self.unit)
        for key, name in self.references.items():
            if self.unit and dimensions[name] != quantity:
                allowed = f"a parameter of quantity {quantity}; this one is {dimensions[name]}"
                raise ConfigError(key, name, allowed)

    @property
    def label(self) -> str:
        bounds = ", ".join(f"{word} {name}" for word, name in self.references.items())
        return f"{self.distribution.label} {bounds}" if bounds else super().label

    def _ends(self) -> Interval:
        low = -math.inf if self.low is None else self._si(self.low)
        high = math.inf if self.high is None else self._si(self.high)
        return low, high

    @property
    def support(self) -> Interval:
        return self.support_given({})

    def support_given(self, supports: Supports) -> Interval:
        low, high = self._ends()
        inner_low, inner_high = super().support_given(supports)
        low, high = max(low, inner_low), min(high, inner_high)
        above, below = supports.get(self.above or ""), supports.get(self.below or "")
        # Where another parameter can leave a single point, no distribution is left.
        if below is not None and below[0] <= low:
            self._refuse("below", f"{below[0]:g}, and this one starts at {low:g} (SI)")
        if above is not None and above[1] >= high:
            self._refuse("above", f"{above[1]:g}, and this one ends at {high:g} (SI)")
        if above is not None and below is not None and above[1] >= below[0]:
            self._refuse("above", f"{above[1]:g}, and {self.below} reaches {below[0]:g} (SI)")
        return (
            low if above is None else max(low, above[0]),
            high if below is None else min(high, below[1]),
        )

    def _refuse(self, key: str, reached: str) -> None:
        allowed = f"a parameter that always leaves something to draw; it reaches {reached}"
        raise ConfigError(key, getattr(self, key), allowed)

    @property
    def atoms(self) -> Vector:
        low, high = self._ends()
        atoms = self.distribution.atoms
        return atoms[(atoms >= low) & (atoms <= high)]

    def _interval(self, given: Given) -> tuple[Any, Any, Any, Any]:
        """Both ends, and the probability that the inner distribution has below and up to them."""
        if not self.conditions and not self.varies:
            return self._fixed
        low, high = self._ends()
        ends = np.array(low), np.array(high)
        if self.above is not None:
            ends = np.maximum(low, given.value(self.above)), ends[1]
        if self.below is not None:
            ends = ends[0], np.minimum(high, given.value(self.below))
        part = self.distribution
        before, up_to = part.cdf_below(ends[0], given), part.cdf(ends[1], given)
        if np.any(up_to <= before):
            raise ValueError(
                f"Truncated: nothing of {type(part).__name__} lies between {np.max(ends[0]):g} and "
                f"{np.min(ends[1]):g} (SI) for the values of {', '.join(self.conditions.values())}"
            )
        return *ends, before, up_to

    @cached_property
    def _fixed(self) -> tuple[float, float, float, float]:
        low, high = self._ends()
        part = self.distribution
        return low, high, float(part.cdf_below(np.array(low))), float(part.cdf(np.array(high)))

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high, before, up_to = self._interval(given)
        level = u * (up_to - before)
        level += before
        x = self.distribution.quantile(level, given)
        return x if self.is_integer else x.clip(low, high)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high, before, up_to = self._interval(given)
        inside = self.distribution.cdf(np.minimum(x, high), given) - before
        share = np.clip(inside / (up_to - before), 0.0, 1.0)
        return np.where(np.asarray(x) < low, 0.0, np.where(np.asarray(x) >= high, 1.0, share))
