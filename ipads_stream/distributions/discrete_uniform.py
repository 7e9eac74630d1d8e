"""Every whole number between two bounds equally likely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class DiscreteUniform(Distribution):
    """Whole numbers ``low..high``, both included: ``F^-1(u) = low + floor(u (high - low + 1))``."""

    low: int
    high: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            self._number(name)
            value = getattr(self, name)
            if not value.is_integer():
                raise ConfigError(name, value, "a whole number")
            object.__setattr__(self, name, int(value))
        if not self.low <= self.high:
            raise ConfigError("low", self.low, f"at most high={self.high}")
        if self.high - self.low >= 2**31:
            raise ConfigError("high", self.high, "at most 2^31 values from low to high")

    @property
    def support(self) -> tuple[float, float]:
        return self._si(self.low), self._si(self.high)

    @property
    def is_integer(self) -> bool:
        return self._si(1.0).is_integer()

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return self._si(1.0) * np.arange(self.low, self.high + 1.0)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        count = self.high - self.low + 1
        return self._si(1.0) * (self.low + np.floor(u * count))

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        x, step = np.asarray(x, dtype=np.float64), self._si(1.0)
        whole = np.floor(np.clip(x / step, self.low - 1, self.high))
        # The quotient may round across a whole number: compare with the product that is drawn.
        whole = np.where(step * (whole + 1) <= x, whole + 1, whole)
        whole = np.where(step * whole > x, whole - 1, whole)
        return np.clip((whole - self.low + 1) / (self.high - self.low + 1), 0.0, 1.0)
