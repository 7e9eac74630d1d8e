"""One value, always."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, finite_number


@dataclass(frozen=True, kw_only=True)
class Constant(Distribution):
    """The same ``value`` for every sample."""

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("value")

    @classmethod
    def bare(cls, name: str, value: float) -> Constant:
        """Of a number, in SI, that stands where a distribution may stand.

        Args:
            name: key under which it stands, for errors.
            value: the number.

        Raises:
            ConfigError: it is not finite.
        """
        return cls(value=finite_number(name, value))

    @property
    def support(self) -> tuple[float, float]:
        return self._si(self.value), self._si(self.value)

    @property
    def is_integer(self) -> bool:
        return self._si(self.value).is_integer()

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return np.array([self._si(self.value)])

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return np.full(u.shape, self._si(self.value))

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return (np.asarray(x) >= self._si(self.value)).astype(np.float64)
