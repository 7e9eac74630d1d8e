"""One of a list of values."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.distributions.arguments import REAL, check_shares
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector


@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of ``values`` with probabilities in proportion to ``weights`` (equal without them)."""

    values: tuple[float, ...] = ruled(Numbers(each=REAL))
    weights: tuple[float, ...] | None = ruled(Numbers(each=REAL, optional=True), None)

    def check(self) -> None:
        if self.weights is not None:
            check_shares("weights", self.weights, "values", len(self.values))

    @property
    def label(self) -> str:
        return f"Choice of {len(self.values)}"

    @cached_property
    def _possible(self) -> tuple[Vector, Vector]:
        """Values in rising order, SI, and the probability up to each."""
        weights = np.ones(len(self.values)) if self.weights is None else np.array(self.weights)
        order = np.argsort(self.values, kind="stable")
        order = order[weights[order] > 0]
        values = np.array([self._si(self.values[k]) for k in order])
        return values, np.cumsum(weights[order]) / np.sum(weights)

    @property
    def support(self) -> Interval:
        values, _ = self._possible
        return float(values[0]), float(values[-1])

    @property
    def is_integer(self) -> bool:
        return all(self._si(value).is_integer() for value in self.values)

    @property
    def atoms(self) -> Vector:
        return self._possible[0]

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        values, edges = self._possible
        # The last edge may round to just below 1; no number may fall beyond the last value.
        return values[np.searchsorted(edges[:-1], u, side="right")]

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        values, edges = self._possible
        up_to = np.concatenate([[0.0], edges[:-1], [1.0]])
        return up_to[np.searchsorted(values, x, side="right")]
