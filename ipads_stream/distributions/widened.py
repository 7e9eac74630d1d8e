"""A distribution stretched by factors, region by region."""

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.distributions.arguments import REAL, Real
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Part
from ipads_stream.distributions.univariate import Distribution, Interval, Values, Vector


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

    distribution: Distribution = ruled(Part(is_independent=True))
    factors: tuple[float, ...] = ruled(Numbers(each=Real(above=0)))
    edges: tuple[float, ...] = ruled(Numbers(each=REAL, least=0, rises=True), ())
    about: float = ruled(REAL, 0.0)

    def check(self) -> None:
        if len(self.edges) != len(self.factors) - 1:
            allowed = f"one fewer than factors ({len(self.factors)})"
            raise ConfigError("edges", self.edges, allowed)

    @cached_property
    def _lines(self) -> tuple[Vector, ...]:
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

    def _widen(self, y: Values) -> Values:
        edges, anchors, images, slopes, _ = self._lines
        y = np.ascontiguousarray(y)
        x = np.empty(y.shape)
        _widen_by_region(edges, anchors, images, slopes, y.reshape(-1), x.reshape(-1))
        return x

    @property
    def support(self) -> Interval:
        low, high = self._widen(np.array(self.distribution.support))
        return float(low), float(high)

    @property
    def atoms(self) -> Vector:
        return self._widen(self.distribution.atoms)

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        return self._widen(self.distribution.quantile(u))

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        if self.distribution.atoms.size:  # the inverse of g may round across a jump
            return super().cdf(x, given)
        _, anchors, images, slopes, ends = self._lines
        k = np.searchsorted(ends, x, side="right")
        return self.distribution.cdf(anchors[k] + (np.asarray(x) - images[k]) / slopes[k])


@exact
@no_type_check
def _widen_by_region(edges, anchors, images, slopes, y, x):
    for k in range(slopes.size):  # every region everywhere: no branch that chance mispredicts
        start = -np.inf if k == 0 else edges[k - 1]
        for i in range(y.size):
            before, here = x[i], images[k] + slopes[k] * (y[i] - anchors[k])
            x[i] = here if y[i] >= start else before
