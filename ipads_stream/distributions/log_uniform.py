"""Every order of magnitude between two bounds equally likely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import LARGEST, Distribution


@dataclass(frozen=True, kw_only=True)
class LogUniform(Distribution):
    """Log-uniform on ``[low, high]``, both positive: ``F^-1(u) = low (high / low)^u``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("low", "high")
        if not self.low > 0:
            raise ConfigError("low", self.low, "above 0 (a logarithm is taken)")
        if not self.low < self.high:
            raise ConfigError("low", self.low, f"below high={self.high:g}")
        if not self.low > self.high / LARGEST:
            raise ConfigError("low", self.low, f"above high / {LARGEST:g}")

    @property
    def support(self) -> tuple[float, float]:
        return self._si(self.low), self._si(self.high)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        low, high = self.support
        return np.clip(low * np.exp(u * np.log(high / low)), low, high)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        low, high = self.support
        return np.log(np.clip(x, low, high) / low) / np.log(high / low)
