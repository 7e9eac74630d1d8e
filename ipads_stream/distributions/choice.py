"""One of a list of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.univariate import Distribution, finite_number


@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of ``values`` with probabilities in proportion to ``weights`` (equal without them)."""

    values: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", _numbers("values", self.values))
        if self.weights is None:
            return
        object.__setattr__(self, "weights", _numbers("weights", self.weights))
        if len(self.weights) != len(self.values):
            allowed = f"as many as values ({len(self.values)})"
            raise ConfigError("weights", self.weights, allowed)
        if min(self.weights) < 0 or not sum(self.weights) > 0:
            raise ConfigError("weights", self.weights, "none below 0, at least one above 0")

    def _weights(self) -> tuple[float, ...]:
        return (1.0,) * len(self.values) if self.weights is None else self.weights

    @property
    def support(self) -> tuple[float, float]:
        possible = [v for v, w in zip(self.values, self._weights(), strict=True) if w > 0]
        return self._si(min(possible)), self._si(max(possible))

    @property
    def is_integer(self) -> bool:
        return all(self._si(value).is_integer() for value in self.values)

    def quantile(self, u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        weights = np.array(self._weights())
        edges = np.cumsum(weights) / np.sum(weights)
        # The last edge may round to just below 1; no number may fall beyond the last value.
        chosen = np.searchsorted(edges[:-1], u, side="right")
        return np.array([self._si(value) for value in self.values])[chosen]


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ConfigError(name, values, "a list of at least one number")
    return tuple(finite_number(f"{name}[{i}]", value) for i, value in enumerate(values))
