"""Every value between two bounds equally likely."""

from dataclasses import dataclass

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import REAL
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values


@dataclass(frozen=True, kw_only=True)
class Uniform(Distribution):
    """Uniform on ``[low, high]``: ``F^-1(u) = low + u (high - low)``."""

    low: float = ruled(REAL)
    high: float = ruled(REAL)

    def check(self) -> None:
        if not self.low < self.high:
            raise ConfigError("low", self.low, f"below high={self.high:g}")

    @property
    def support(self) -> Interval:
        return self._si(self.low), self._si(self.high)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high = self.support
        return np.clip(low + u * (high - low), low, high)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high = self.support
        return np.clip((np.asarray(x) - low) / (high - low), 0.0, 1.0)
