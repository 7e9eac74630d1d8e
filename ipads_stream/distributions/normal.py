"""The normal distribution, optionally truncated to an interval."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import OPTIONAL_REAL, REAL, Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values


@dataclass(frozen=True, kw_only=True)
class Normal(Distribution):
    """Normal with ``mean`` and ``std``, truncated to ``[low, high]`` where these are given.

    ``F^-1(u) = mean + std Phi^-1(Phi(a) + u (Phi(b) - Phi(a)))`` with ``a, b`` the bounds in units
    of ``std`` about the mean; an interval above the mean is mirrored, because Phi loses its digits
    near 1 and keeps them near 0.
    """

    mean: float = ruled(REAL)
    std: float = ruled(Real(above=0))
    low: float | None = ruled(OPTIONAL_REAL, None)
    high: float | None = ruled(OPTIONAL_REAL, None)

    def check(self) -> None:
        a, b = self._bounds()
        if not a < b:
            raise ConfigError("low", self.low, f"below high={self.high}")
        if max(a, -b) > 35.0:
            allowed = "an interval that reaches to within 35 std of the mean"
            raise ConfigError("low" if a > 0 else "high", (self.low, self.high), allowed)

    def _bounds(self) -> Interval:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return (low - self.mean) / self.std, (high - self.mean) / self.std

    @property
    def support(self) -> Interval:
        low = -math.inf if self.low is None else self._si(self.low)
        high = math.inf if self.high is None else self._si(self.high)
        return low, high

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        a, b = self._bounds()
        if a > 0:
            z = -ndtri(ndtr(-b) + (1.0 - u) * (ndtr(-a) - ndtr(-b)))
        else:
            z = ndtri(ndtr(a) + u * (ndtr(b) - ndtr(a)))
        low, high = self.support
        return np.clip(self._si(self.mean) + self._si(self.std) * z, low, high)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        a, b = self._bounds()
        z = np.clip((np.asarray(x) - self._si(self.mean)) / self._si(self.std), a, b)
        if a > 0:
            return 1.0 - (ndtr(-z) - ndtr(-b)) / (ndtr(-a) - ndtr(-b))
        return (ndtr(z) - ndtr(a)) / (ndtr(b) - ndtr(a))
