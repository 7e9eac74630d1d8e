"""A mixture: each draw comes from one of several distributions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.distributions.arguments import REAL, check_shares
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Part, hull
from ipads_stream.distributions.tabulated import Lines, tabulate
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector

EXTREMES = 2.0**-33, 1.0 - 2.0**-33  # of a 32-bit uniform number


@dataclass(frozen=True, kw_only=True)
class Mixture(Distribution):
    """``F(x) = sum_k w_k F_k(x)``, weights in proportion to ``weights`` (equal without them).

    One uniform number per draw: ``x = F^-1(u)`` by a table of F that is exact to 1e-6 (straight
    pieces, as uniform components have, are exact). Choosing a component by one part of u and a
    value by the other would not keep ranks, and could be neither truncated nor correlated.
    """

    components: tuple[Distribution, ...] = ruled(
        Numbers(each=Part(is_independent=True), what="distributions")
    )
    weights: tuple[float, ...] | None = ruled(Numbers(each=REAL, optional=True), None)

    def check(self) -> None:
        if self.weights is not None:
            check_shares("weights", self.weights, "components", len(self.components))

    def _present(self) -> list[tuple[float, Distribution]]:
        """Share and distribution of the components that occur."""
        weights = (1.0,) * len(self.components) if self.weights is None else self.weights
        total = sum(weights)
        pairs = zip(weights, self.components, strict=True)
        return [(weight / total, part) for weight, part in pairs if weight > 0]

    @property
    def support(self) -> Interval:
        return hull([part.support for _, part in self._present()])

    @property
    def is_integer(self) -> bool:
        return all(part.is_integer for _, part in self._present())

    @property
    def atoms(self) -> Vector:
        return np.concatenate([part.atoms for _, part in self._present()])

    @cached_property
    def _lines(self) -> Lines:
        levels = np.array([EXTREMES[0], *np.linspace(0, 1, 18)[1:-1], EXTREMES[1]])
        knots = [self.atoms]
        for _, part in self._present():
            ends = np.array(part.support)
            knots += [part.quantile(levels), ends[np.isfinite(ends)]]
        values, up_to = tabulate(self.cdf, np.concatenate(knots))
        return Lines(up_to, values)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        x = self._lines(u)
        return np.rint(x) if self.is_integer else x

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        total = np.zeros(np.shape(x))
        for weight, part in self._present():
            total += weight * part.cdf(x)
        return np.minimum(total, 1.0)
