"""Every order of magnitude between two bounds equally likely."""

from dataclasses import dataclass

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import LARGEST, Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.uniform import Uniform
from ipads_stream.distributions.univariate import Values


@dataclass(frozen=True, kw_only=True)
class LogUniform(Uniform):
    """Uniform in the logarithm on ``[low, high]``: ``F^-1(u) = low (high / low)^u``, low > 0."""

    low: float = ruled(Real(above=0))

    def check(self) -> None:
        super().check()
        if not self.low > self.high / LARGEST:
            raise ConfigError("low", self.low, f"above high / {LARGEST:g}")

    @property
    def is_logarithmic(self) -> bool:
        return True

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high = self.support
        return np.clip(low * np.exp(u * np.log(high / low)), low, high)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        low, high = self.support
        return np.log(np.clip(x, low, high) / low) / np.log(high / low)
