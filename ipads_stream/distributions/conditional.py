"""A distribution that depends on the range in which another parameter lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, no_type_check

import numpy as np

from ipads_stream.core.compilation import exact
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.core.units import dimension, factor, units_of
from ipads_stream.distributions.arguments import NAME, RISING, Unit
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Part, hull, support_of_part
from ipads_stream.distributions.univariate import Distribution, Interval, Supports, Values, Vector

FEW = 4


@dataclass(frozen=True, kw_only=True)
class Conditional(Distribution):
    """Case k where ``edges[k-1] <= parent < edges[k]``; the first and last range are open.

    Attributes:
        given: name of the other parameter of the same sample.
        edges: in ``given_unit``, rising, one fewer than cases.
        cases: distribution in each range, in the order of the ranges.
        given_unit: in which the edges are written.
    """

    given: str = ruled(NAME)
    edges: tuple[float, ...] = ruled(RISING)
    cases: tuple[Distribution, ...] = ruled(Numbers(each=Part(), what="distributions"))
    given_unit: str = ruled(Unit(), "")

    def check(self) -> None:
        if len(self.cases) != len(self.edges) + 1:
            allowed = f"a list of distributions, one more than edges ({len(self.edges) + 1})"
            raise ConfigError("cases", self.cases, allowed)

    @property
    def references(self) -> dict[str, str]:
        return {"given": self.given}

    def check_references(self, dimensions: Mapping[str, str]) -> None:
        super().check_references(dimensions)
        quantity = dimensions[self.given]
        if self.given_unit and dimension(self.given_unit) != quantity:
            allowed = f"one of {units_of(quantity)} ({quantity}, as {self.given})"
            raise ConfigError("given_unit", self.given_unit, allowed)

    @property
    def label(self) -> str:
        return f"{len(self.cases)} cases by {self.given}"

    @property
    def support(self) -> Interval:
        return hull([case.support for case in self.cases])

    def support_given(self, supports: Supports) -> Interval:
        """The hull of the cases that the other parameter reaches, each within its own range."""
        low, high = supports.get(self.given, (-np.inf, np.inf))
        bounds = np.concatenate([[-np.inf], self._edges, [np.inf]])
        first, last = np.searchsorted(self._edges, (low, high), side="right")
        reached = []
        for i in range(first, last + 1):
            within = (max(low, bounds[i]), min(high, bounds[i + 1]))
            inside = {**supports, self.given: within}
            reached.append(support_of_part(f"cases[{i}]", self.cases[i], inside))
        return hull(reached)

    @property
    def is_integer(self) -> bool:
        return all(case.is_integer for case in self.cases)

    @cached_property
    def _edges(self) -> Vector:
        return np.array(self.edges) * factor(self.given_unit)

    def _by_case(self, method: str, at: Any, given: Given) -> Values:
        parent = given.value(self.given)
        if len(self.cases) <= FEW and not any(c.conditions or c.varies for c in self.cases):
            # All cases everywhere, and a choice: faster than picking out the draws of each.
            shape = np.broadcast(at, parent).shape
            values = np.empty(shape)
            values[...] = getattr(self.cases[0], method)(at)
            parent = _flat(parent, shape)
            for edge, part in zip(self._edges, self.cases[1:], strict=True):
                other = _flat(getattr(part, method)(at), shape)
                _replace_from(edge, parent, other, values.reshape(-1))
            return values
        case = np.searchsorted(self._edges, parent, side="right")
        at, case = np.broadcast_arrays(at, case)
        values = np.empty(at.shape)
        for i, part in enumerate(self.cases):
            chosen = case == i
            if chosen.any():
                values[chosen] = getattr(part, method)(at[chosen], given.where(chosen))
        return values

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self._by_case("quantile", u, given)

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        return self._by_case("cdf", x, given)


def _flat(values: Any, shape: tuple[int, ...]) -> Vector:
    if np.shape(values) != shape:
        values = np.broadcast_to(values, shape)
    return np.ascontiguousarray(values, dtype=np.float64).reshape(-1)


@exact
@no_type_check
def _replace_from(edge, parent, other, values):
    for i in range(values.size):
        here, there = values[i], other[i]  # both are read: no branch that chance mispredicts
        values[i] = there if parent[i] >= edge else here
