"""Distributions whose regions hold other shares of the draws than they would by nature."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.lines import Lines
from ipads_stream.distributions.parts import common_unit, independent_part
from ipads_stream.distributions.univariate import Distribution, rising


@dataclass(frozen=True, kw_only=True)
class Reshared(Distribution):
    """Region k, between ``edges``, holds the share ``q_k``; inside a region nothing changes.

    ``F^-1(u) = G^-1(R(u))``, G of ``distribution``, R the straight line from (sum of q up to k) to
    (sum of p up to k) in each region, p its natural share.

    Attributes:
        distribution: that is reshared.
        edges: between the regions, in ``unit``, rising; an edge belongs to the region above it.
        weighted: give each sample the weight p_k / q_k, so that weighted means estimate those of
            ``distribution`` without bias.
    """

    distribution: Distribution
    edges: tuple[float, ...]
    weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        part = independent_part("distribution", self.distribution)
        object.__setattr__(self, "distribution", part)
        object.__setattr__(self, "unit", common_unit(self.unit, self.parts))
        object.__setattr__(self, "edges", rising("edges", self.edges))
        if not isinstance(self.weighted, bool):
            raise ConfigError("weighted", self.weighted, "true or false")
        low, high = part.support
        for i, edge in enumerate(self._edges):
            if not low < edge <= high:
                allowed = f"within the distribution, above {low:g} to {high:g} (SI)"
                raise ConfigError(f"edges[{i}]", self.edges[i], allowed)

    @property
    def parts(self) -> dict[str, Distribution]:
        return {"distribution": self.distribution}

    @property
    def stands_outermost(self) -> bool:
        return self.weighted

    @cached_property
    def _edges(self) -> Float[np.ndarray, " n"]:
        return np.array([self._si(edge) for edge in self.edges])

    @cached_property
    def natural(self) -> Float[np.ndarray, " regions"]:
        """Share p_k that each region holds by nature."""
        return np.diff(self.distribution.cdf_below(self._edges), prepend=0.0, append=1.0)

    @property
    @abstractmethod
    def sampled(self) -> Float[np.ndarray, " regions"]:
        """Share q_k that each region holds here; above 0 where p_k is."""

    @cached_property
    def _map(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        below = [np.minimum(np.cumsum(q[:-1]), 1.0) for q in (self.sampled, self.natural)]
        return tuple(np.concatenate([[0.0], inner, [1.0]]) for inner in below)  # type: ignore[return-value]

    @cached_property
    def _lines(self) -> Lines:
        return Lines(*self._map)

    @property
    def support(self) -> tuple[float, float]:
        return self.distribution.support

    @property
    def is_integer(self) -> bool:
        return self.distribution.is_integer

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return self.distribution.atoms

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self.distribution.quantile(self._lines(u))

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        sampled, natural = self._map
        return np.interp(self.distribution.cdf(x), natural, sampled)

    def region(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Number of the region of each value (SI); -1 outside the support."""
        low, high = self.support
        inside = (np.asarray(x) >= low) & (np.asarray(x) <= high)
        return np.where(inside, np.searchsorted(self._edges, x, side="right"), -1)

    def importance(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Weight p_k / q_k of each value (SI); 1 outside the support."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(self.sampled > 0, self.natural / self.sampled, 1.0)
        region = self.region(x)
        return np.where(region >= 0, ratios[region], 1.0)


def at_least(
    natural: Float[np.ndarray, " regions"], least: Float[np.ndarray, " regions"]
) -> Float[np.ndarray, " regions"]:
    """Shares that are nowhere below ``least``; the others keep their natural proportions.

    ``q_k = max(least_k, c p_k)`` with c such that the shares sum to 1.

    Args:
        natural: p_k, of sum 1.
        least: of sum at most 1.
    """
    is_free = np.ones(natural.size, dtype=bool)
    while True:
        rest = 1.0 - least[~is_free].sum()
        scale = rest / natural[is_free].sum() if natural[is_free].sum() > 0 else 0.0
        shares = np.where(is_free, scale * natural, least)
        short = is_free & (shares < least)
        if not short.any():
            return np.maximum(shares, 0.0)
        is_free &= ~short


def at_most(
    shares: Float[np.ndarray, " regions"], most: Float[np.ndarray, " regions"]
) -> Float[np.ndarray, " regions"]:
    """Shares that are nowhere above ``most``; what is cut goes to the others in proportion.

    Args:
        shares: of sum 1.
        most: of sum at least 1.
    """
    is_free = np.ones(shares.size, dtype=bool)
    while True:
        total = shares[is_free].sum()
        scale = (1.0 - most[~is_free].sum()) / total if total > 0 else 0.0
        cut = np.where(is_free, scale * shares, most)
        over = is_free & (cut > most)
        if not over.any():
            return cut
        is_free &= ~over
