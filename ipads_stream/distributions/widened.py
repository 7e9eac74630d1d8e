"""A distribution stretched by factors, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import common_unit, independent_part
from ipads_stream.distributions.univariate import Distribution, finite_numbers, rising


@dataclass(frozen=True, kw_only=True)
class Widened(Distribution):
    """``x = g(y)``, y from ``distribution``, g(about) = about and g' = ``factors[k]`` in region k.

    Values measured in few subjects reach less far than what a network meets: a factor above 1
    reaches farther, a factor of its own for each region (or, under Conditional, for each class).
    g is continuous and rises, so a sample keeps its rank.

    Attributes:
        distribution: that is widened.
        factors: above 0, one for each region.
        edges: between the regions, in ``unit``, rising; one fewer than factors.
        about: value that stays where it is, in ``unit``.

    Source: Jung et al., NeuroImage 211:116619 (2020), widens susceptibility by factors.
    """

    distribution: Distribution
    factors: tuple[float, ...]
    edges: tuple[float, ...] = ()
    about: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        part = independent_part("distribution", self.distribution)
        object.__setattr__(self, "distribution", part)
        object.__setattr__(self, "unit", common_unit(self.unit, self.parts))
        self._number("about")
        factors = finite_numbers("factors", self.factors)
        for i, value in enumerate(factors):
            if not value > 0:
                raise ConfigError(f"factors[{i}]", value, "above 0")
        object.__setattr__(self, "factors", factors)
        object.__setattr__(self, "edges", rising("edges", self.edges, least=0))
        if len(self.edges) != len(factors) - 1:
            raise ConfigError("edges", self.edges, f"one fewer than factors ({len(factors)})")

    @property
    def parts(self) -> dict[str, Distribution]:
        return {"distribution": self.distribution}

    @cached_property
    def _lines(self) -> tuple[Float[np.ndarray, " n"], ...]:
        """Edges, and of each region a point y0, its image x0 and the slope; images of the edges."""
        edges = np.array([self._si(edge) for edge in self.edges])
        slopes = np.array(self.factors)
        about = self._si(self.about)
        anchors = edges[[0, *range(edges.size)]] if edges.size else np.array([about])
        images = np.concatenate([[0.0], np.cumsum(slopes[1:-1] * np.diff(edges))])
        images = images[[0, *range(images.size)]] if edges.size else np.array([0.0])
        k = np.searchsorted(edges, about, side="right")
        images = images + about - (images[k] + slopes[k] * (about - anchors[k]))
        return edges, anchors, images, slopes, images[1:]

    def _widen(self, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        edges, anchors, images, slopes, _ = self._lines
        y = np.ascontiguousarray(y)
        x = np.empty(y.shape)
        _widen_by_region(edges, anchors, images, slopes, y.reshape(-1), x.reshape(-1))
        return x

    @property
    def support(self) -> tuple[float, float]:
        low, high = self._widen(np.array(self.distribution.support))
        return float(low), float(high)

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return self._widen(self.distribution.atoms)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self._widen(self.distribution.quantile(u))

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        if self.distribution.atoms.size:  # the inverse of g may round across a jump
            return super().cdf(x, given)
        _, anchors, images, slopes, ends = self._lines
        k = np.searchsorted(ends, x, side="right")
        return self.distribution.cdf(anchors[k] + (np.asarray(x) - images[k]) / slopes[k])


@njit(nogil=True, cache=True, error_model="numpy")
@no_type_check
def _widen_by_region(edges, anchors, images, slopes, y, x):
    for k in range(slopes.size):  # every region everywhere: no branch that chance mispredicts
        start = -np.inf if k == 0 else edges[k - 1]
        for i in range(y.size):
            before, here = x[i], images[k] + slopes[k] * (y[i] - anchors[k])
            x[i] = here if y[i] >= start else before
