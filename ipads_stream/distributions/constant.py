"""One value, always."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class Constant(Distribution):
    """The same ``value`` for every sample."""

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("value")

    @property
    def support(self) -> tuple[float, float]:
        return self._si(self.value), self._si(self.value)

    @property
    def is_integer(self) -> bool:
        return self._si(self.value).is_integer()

    def quantile(self, u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.full(u.shape, self._si(self.value))
