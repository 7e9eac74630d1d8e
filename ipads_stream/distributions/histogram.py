"""A histogram as a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions.choice import shares
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.lines import Lines
from ipads_stream.distributions.univariate import Distribution, rising


@dataclass(frozen=True, kw_only=True)
class Histogram(Distribution):
    """Uniform inside each bin: F is straight between (``edges[k]``, sum of shares below it).

    Attributes:
        edges: of the bins, rising.
        shares: of the bins, in any proportion; one fewer than edges.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        edges = rising("edges", self.edges, least=2)
        object.__setattr__(self, "edges", edges)
        bins = shares("shares", self.shares, of="bins between edges", count=len(edges) - 1)
        object.__setattr__(self, "shares", bins)

    @cached_property
    def _knots(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        edges = np.array([self._si(edge) for edge in self.edges])
        levels = np.concatenate([[0.0], np.cumsum(self.shares) / np.sum(self.shares)])
        levels[-1] = 1.0
        filled = np.flatnonzero(self.shares)
        some = slice(filled[0], filled[-1] + 2)  # empty bins at the ends are no support
        return edges[some], levels[some]

    @property
    def support(self) -> tuple[float, float]:
        edges, _ = self._knots
        return float(edges[0]), float(edges[-1])

    @cached_property
    def _lines(self) -> Lines:
        values, levels = self._knots
        return Lines(levels, values)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self._lines(u)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return np.interp(x, *self._knots)
