"""A distribution that depends on the range in which another parameter lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, factor
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import as_part, common_unit, hull
from ipads_stream.distributions.univariate import Distribution, rising

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

    given: str
    edges: tuple[float, ...]
    cases: tuple[Distribution, ...]
    given_unit: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.given, str) or not self.given:
            raise ConfigError("given", self.given, "the name of another parameter")
        try:
            dimension(self.given_unit)
        except ConfigError as error:
            raise ConfigError("given_unit", self.given_unit, error.allowed) from None
        object.__setattr__(self, "edges", rising("edges", self.edges))
        if not isinstance(self.cases, (list, tuple)) or len(self.cases) != len(self.edges) + 1:
            allowed = f"a list of distributions, one more than edges ({len(self.edges) + 1})"
            raise ConfigError("cases", self.cases, allowed)
        cases = tuple(as_part(f"cases[{i}]", case) for i, case in enumerate(self.cases))
        object.__setattr__(self, "cases", cases)
        object.__setattr__(self, "unit", common_unit(self.unit, self.parts))

    @property
    def parts(self) -> dict[str, Distribution]:
        return {f"cases[{i}]": case for i, case in enumerate(self.cases)}

    @cached_property
    def conditions(self) -> dict[str, str]:
        inner = {
            f"{key}.{path}": name
            for key, part in self.parts.items()
            for path, name in part.conditions.items()
        }
        return inner | {"given": self.given}

    @property
    def support(self) -> tuple[float, float]:
        return hull([case.support for case in self.cases])

    def support_given(self, supports: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The hull of the cases that the other parameter reaches, each within its own range.

        Raises:
            ConfigError: a case that is reached refuses its circumstances.
        """
        low, high = supports.get(self.given, (-np.inf, np.inf))
        edges = np.array(self.edges) * factor(self.given_unit)
        bounds = np.concatenate([[-np.inf], edges, [np.inf]])
        first, last = np.searchsorted(edges, (low, high), side="right")
        reached = []
        for i in range(first, last + 1):
            within = (max(low, bounds[i]), min(high, bounds[i + 1]))
            try:
                reached.append(self.cases[i].support_given({**supports, self.given: within}))
            except ConfigError as error:
                raise error.under(f"cases[{i}]") from None
        return hull(reached)

    @property
    def is_integer(self) -> bool:
        return all(case.is_integer for case in self.cases)

    def _by_case(self, method: str, at: Any, given: Given) -> Float[np.ndarray, "..."]:
        edges = np.array(self.edges) * factor(self.given_unit)
        parent = given.value(self.given)
        if len(self.cases) <= FEW and not any(c.conditions or c.varies for c in self.cases):
            # All cases everywhere, and a choice: faster than picking out the draws of each.
            shape = np.broadcast(at, parent).shape
            values = np.empty(shape)
            values[...] = getattr(self.cases[0], method)(at)
            parent = _flat(parent, shape)
            for edge, part in zip(edges, self.cases[1:], strict=True):
                _replace_from(
                    edge, parent, _flat(getattr(part, method)(at), shape), values.reshape(-1)
                )
            return values
        case = np.searchsorted(edges, parent, side="right")
        at, case = np.broadcast_arrays(at, case)
        values = np.empty(at.shape)
        for i, part in enumerate(self.cases):
            chosen = case == i
            if chosen.any():
                values[chosen] = getattr(part, method)(at[chosen], given.where(chosen))
        return values

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self._by_case("quantile", u, given)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self._by_case("cdf", x, given)


def _flat(values: Any, shape: tuple[int, ...]) -> Float[np.ndarray, " n"]:
    if np.shape(values) != shape:
        values = np.broadcast_to(values, shape)
    return np.ascontiguousarray(values, dtype=np.float64).reshape(-1)


@no_type_check
def _replace(edge, parent, other, values):
    for i in range(values.size):
        here, there = values[i], other[i]  # both are read: no branch that chance mispredicts
        values[i] = there if parent[i] >= edge else here


_replace_from: Any = njit(nogil=True, cache=True, error_model="numpy")(_replace)
