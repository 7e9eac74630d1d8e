"""One value, always."""

from dataclasses import dataclass

import numpy as np

from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import REAL
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector


@dataclass(frozen=True, kw_only=True)
class Constant(Distribution):
    """The same ``value`` for every sample."""

    value: float = ruled(REAL)

    @property
    def support(self) -> Interval:
        return self._si(self.value), self._si(self.value)

    @property
    def is_integer(self) -> bool:
        return self._si(self.value).is_integer()

    @property
    def atoms(self) -> Vector:
        return np.array([self._si(self.value)])

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return np.full(u.shape, self._si(self.value))

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return (np.asarray(x) >= self._si(self.value)).astype(np.float64)
