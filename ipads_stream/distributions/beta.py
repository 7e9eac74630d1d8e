"""The beta distribution, scaled to an interval."""

from dataclasses import dataclass

from scipy.special import betainc, betaincinv

from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import REAL, Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.uniform import Uniform
from ipads_stream.distributions.univariate import Values


@dataclass(frozen=True, kw_only=True)
class Beta(Uniform):
    """Beta(a, b) on ``[low, high]``: ``F^-1(u) = low + (high - low) I^-1_u(a, b)``."""

    a: float = ruled(Real(above=0))
    b: float = ruled(Real(above=0))
    low: float = ruled(REAL, 0.0)
    high: float = ruled(REAL, 1.0)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return super().quantile(betaincinv(self.a, self.b, u))

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return betainc(self.a, self.b, super().cdf(x))
