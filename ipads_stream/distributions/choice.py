"""One of a list of values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, finite_numbers


@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of ``values`` with probabilities in proportion to ``weights`` (equal without them)."""

    values: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", finite_numbers("values", self.values))
        if self.weights is not None:
            weights = shares("weights", self.weights, of="values", count=len(self.values))
            object.__setattr__(self, "weights", weights)

    @cached_property
    def _possible(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Values in rising order, SI, and the probability up to each."""
        weights = np.ones(len(self.values)) if self.weights is None else np.array(self.weights)
        order = np.argsort(self.values, kind="stable")
        order = order[weights[order] > 0]
        values = np.array([self._si(self.values[k]) for k in order])
        return values, np.cumsum(weights[order]) / np.sum(weights)

    @property
    def support(self) -> tuple[float, float]:
        values, _ = self._possible
        return float(values[0]), float(values[-1])

    @property
    def is_integer(self) -> bool:
        return all(self._si(value).is_integer() for value in self.values)

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return self._possible[0]

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        values, edges = self._possible
        # The last edge may round to just below 1; no number may fall beyond the last value.
        return values[np.searchsorted(edges[:-1], u, side="right")]

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        values, edges = self._possible
        up_to = np.concatenate([[0.0], edges[:-1], [1.0]])
        return up_to[np.searchsorted(values, x, side="right")]


def shares(name: str, values: object, *, of: str, count: int) -> tuple[float, ...]:
    """Numbers none below 0 and at least one above, one for each element of ``of``.

    Raises:
        ConfigError: they are not.
    """
    numbers = finite_numbers(name, values)
    if len(numbers) != count:
        raise ConfigError(name, numbers, f"as many as {of} ({count})")
    if min(numbers) < 0 or not sum(numbers) > 0:
        raise ConfigError(name, numbers, "none below 0, at least one above 0")
    return numbers
