"""Every whole number between two bounds equally likely."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector


@dataclass(frozen=True, kw_only=True)
class _Whole(Real):
    """A whole number, which may be written 3.0, kept as an int."""

    def __call__(self, name: str, value: Any) -> int:
        number = super().__call__(name, value)
        if number is None or not number.is_integer():
            raise ConfigError(name, value, "a whole number")
        return int(number)


@dataclass(frozen=True, kw_only=True)
class DiscreteUniform(Distribution):
    """Whole numbers ``low..high``, both included: ``F^-1(u) = low + floor(u (high - low + 1))``."""

    low: int = ruled(_Whole())
    high: int = ruled(_Whole())

    def check(self) -> None:
        if not self.low <= self.high:
            raise ConfigError("low", self.low, f"at most high={self.high}")
        if self.high - self.low >= 2**31:
            raise ConfigError("high", self.high, "at most 2^31 values from low to high")

    @property
    def support(self) -> Interval:
        return self._si(self.low), self._si(self.high)

    @property
    def is_integer(self) -> bool:
        return self._si(1.0).is_integer()

    @property
    def atoms(self) -> Vector:
        return self._si(1.0) * np.arange(self.low, self.high + 1.0)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        count = self.high - self.low + 1
        return self._si(1.0) * (self.low + np.floor(u * count))

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        x, step = np.asarray(x, dtype=np.float64), self._si(1.0)
        whole = np.floor(np.clip(x / step, self.low - 1, self.high))
        # The quotient may round across a whole number: compare with the product that is drawn.
        whole = np.where(step * (whole + 1) <= x, whole + 1, whole)
        whole = np.where(step * whole > x, whole - 1, whole)
        return np.clip((whole - self.low + 1) / (self.high - self.low + 1), 0.0, 1.0)
