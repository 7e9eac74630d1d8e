"""The beta distribution, scaled to an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import betainc, betaincinv

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class Beta(Distribution):
    """Beta(a, b) on ``[low, high]``: ``F^-1(u) = low + (high - low) I^-1_u(a, b)``."""

    a: float
    b: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("a", "b", "low", "high")
        for name in ("a", "b"):
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "above 0")
        if not self.low < self.high:
            raise ConfigError("low", self.low, f"below high={self.high:g}")

    @property
    def support(self) -> tuple[float, float]:
        return self._si(self.low), self._si(self.high)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        low, high = self.support
        return np.clip(low + (high - low) * betaincinv(self.a, self.b, u), low, high)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        low, high = self.support
        return betainc(self.a, self.b, np.clip((np.asarray(x) - low) / (high - low), 0.0, 1.0))
