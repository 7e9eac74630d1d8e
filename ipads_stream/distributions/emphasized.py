"""A distribution in which some regions hold a minimum share of the draws."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, flag, ruled
from ipads_stream.distributions.arguments import RISING, Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Derived, Part
from ipads_stream.distributions.tabulated import Lines
from ipads_stream.distributions.univariate import Distribution, Values, Vector

ROUNDING = 1e-9
Regions = Float[np.ndarray, " regions"]


@dataclass(frozen=True, kw_only=True)
class Reshared(Derived):
    """Region k, between ``edges``, holds the share ``q_k``; inside a region nothing changes.

    ``F^-1(u) = G^-1(R(u))``, G of ``distribution``, R the straight line from (sum of q up to k) to
    (sum of p up to k) in each region, p its natural share.

    Attributes:
        distribution: that is reshared.
        edges: between the regions, in ``unit``, rising; an edge belongs to the region above it.
        weighted: give each sample the weight p_k / q_k, so that weighted means estimate those of
            ``distribution`` without bias.
    """

    distribution: Distribution = ruled(Part(is_independent=True))
    edges: tuple[float, ...] = ruled(RISING)
    weighted: bool = flag(False)

    def check(self) -> None:
        low, high = self.support
        for i, edge in enumerate(self._edges):
            if not low < edge <= high:
                allowed = f"within the distribution, above {low:g} to {high:g} (SI)"
                raise ConfigError(f"edges[{i}]", self.edges[i], allowed)

    @property
    def is_weighted(self) -> bool:
        return self.weighted

    @cached_property
    def _edges(self) -> Vector:
        return np.array([self._si(edge) for edge in self.edges])

    @cached_property
    def natural(self) -> Regions:
        """Natural share p_k of each region."""
        return np.diff(self.distribution.cdf_below(self._edges), prepend=0.0, append=1.0)

    @property
    @abstractmethod
    def sampled(self) -> Regions:
        """Share q_k of each region here; above 0 where p_k is."""

    @property
    def least(self) -> Regions:
        """The smallest share that each region may hold."""
        return np.zeros(self.natural.size)

    @property
    def most(self) -> Regions:
        """The largest share that each region may hold."""
        return np.ones(self.natural.size)

    @cached_property
    def _map(self) -> tuple[Vector, Vector]:
        below = [np.minimum(np.cumsum(q[:-1]), 1.0) for q in (self.sampled, self.natural)]
        return tuple(np.concatenate([[0.0], inner, [1.0]]) for inner in below)  # type: ignore[return-value]

    @cached_property
    def _lines(self) -> Lines:
        return Lines(*self._map)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self.distribution.quantile(self._lines(u))

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        sampled, natural = self._map
        return np.interp(self.distribution.cdf(x), natural, sampled)

    def region(self, x: Values) -> Values:
        """Number of the region of each value (SI); -1 outside the support."""
        low, high = self.support
        inside = (np.asarray(x) >= low) & (np.asarray(x) <= high)
        return np.where(inside, np.searchsorted(self._edges, x, side="right"), -1)

    def importance(self, x: Values) -> Values:
        """Weight p_k / q_k of each value (SI); 1 outside the support."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(self.sampled > 0, self.natural / self.sampled, 1.0)
        region = self.region(x)
        return np.where(region >= 0, ratios[region], 1.0)


def at_least(natural: Regions, least: Regions) -> Regions:
    """Shares that are nowhere below ``least``; the others keep their natural proportions.

    ``q_k = max(least_k, c p_k)`` with c such that the shares sum to 1.
    """
    return np.maximum(_bounded(natural, least, np.less), 0.0)


def at_most(shares: Regions, most: Regions) -> Regions:
    """Shares that are nowhere above ``most``; what is cut goes to the others in proportion."""
    return _bounded(shares, most, np.greater)


def _bounded(shares: Regions, bounds: Regions, is_beyond: np.ufunc) -> Regions:
    is_free = np.ones(shares.size, dtype=bool)
    while True:
        total = shares[is_free].sum()
        scale = (1.0 - bounds[~is_free].sum()) / total if total > 0 else 0.0
        bounded = np.where(is_free, scale * shares, bounds)
        beyond = is_free & is_beyond(bounded, bounds)
        if not beyond.any():
            return bounded
        is_free &= ~beyond


@dataclass(frozen=True, kw_only=True)
class Emphasized(Reshared):
    """Region k holds at least ``shares[k]`` of the draws; the others keep their proportions.

    Low amplitudes, say, are few where amplitudes are uniform: ``edges: [0.2], shares: [0.4, 0]``
    makes two in five of them lie below 0.2. Shares that sum to 1 are met exactly.

    Attributes:
        shares: one more than edges, 0 to 1, of sum at most 1.
    """

    shares: tuple[float, ...] = ruled(Numbers(each=Real(low=0, high=1)))

    def check(self) -> None:
        super().check()
        least = self.shares
        if len(least) != len(self.edges) + 1:
            raise ConfigError("shares", least, f"one more than edges ({len(self.edges) + 1})")
        for i, share in enumerate(least):
            if share > ROUNDING and not self.natural[i] > ROUNDING:
                raise ConfigError(f"shares[{i}]", share, "0: the distribution has nothing there")
        if sum(least) > 1 + ROUNDING:
            raise ConfigError("shares", least, f"of sum at most 1, not {sum(least):g}")
        for i, (p, q) in enumerate(zip(self.natural, self.sampled, strict=True)):
            if p > 0 and not q > 0:
                allowed = f"something left for region {i}, whose natural share is {p:.2g}"
                raise ConfigError("shares", least, allowed)

    @property
    def least(self) -> Regions:
        return np.array(self.shares)

    @cached_property
    def sampled(self) -> Regions:
        if abs(self.least.sum() - 1.0) <= ROUNDING:
            return self.least
        return at_least(self.natural, self.least)
