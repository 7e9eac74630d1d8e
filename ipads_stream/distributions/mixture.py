"""A mixture: each draw comes from one of several distributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.choice import shares
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.lines import Lines
from ipads_stream.distributions.parts import common_unit, hull, independent_part
from ipads_stream.distributions.tabulated import tabulate
from ipads_stream.distributions.univariate import Distribution

EXTREMES = 2.0**-33, 1.0 - 2.0**-33  # of a 32-bit uniform number


@dataclass(frozen=True, kw_only=True)
class Mixture(Distribution):
    """``F(x) = sum_k w_k F_k(x)``, weights in proportion to ``weights`` (equal without them).

    One uniform number per draw: ``x = F^-1(u)`` by a table of F that is exact to 1e-6 (straight
    pieces, as uniform components have, are exact). Choosing a component by one part of u and a
    value by the other would not keep ranks, and could be neither truncated nor correlated.
    """

    components: tuple[Distribution, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.components, (list, tuple)) or not self.components:
            raise ConfigError("components", self.components, "a list of distributions")
        parts = tuple(
            independent_part(f"components[{i}]", c) for i, c in enumerate(self.components)
        )
        object.__setattr__(self, "components", parts)
        object.__setattr__(self, "unit", common_unit(self.unit, self.parts))
        if self.weights is not None:
            weights = shares("weights", self.weights, of="components", count=len(parts))
            object.__setattr__(self, "weights", weights)

    @property
    def parts(self) -> dict[str, Distribution]:
        return {f"components[{i}]": part for i, part in enumerate(self.components)}

    def _present(self) -> list[tuple[float, Distribution]]:
        """Share and distribution of the components that occur."""
        weights = (1.0,) * len(self.components) if self.weights is None else self.weights
        total = sum(weights)
        pairs = zip(weights, self.components, strict=True)
        return [(weight / total, part) for weight, part in pairs if weight > 0]

    @property
    def support(self) -> tuple[float, float]:
        return hull([part.support for _, part in self._present()])

    @property
    def is_integer(self) -> bool:
        return all(part.is_integer for _, part in self._present())

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return np.concatenate([part.atoms for _, part in self._present()])

    @cached_property
    def _lines(self) -> Lines:
        levels = np.array([EXTREMES[0], *np.linspace(0, 1, 18)[1:-1], EXTREMES[1]])
        knots = [self.atoms]
        for _, part in self._present():
            ends = np.array(part.support)
            knots += [part.quantile(levels), ends[np.isfinite(ends)]]
        values, up_to = tabulate(self.cdf, np.concatenate(knots))
        return Lines(up_to, values)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        x = self._lines(u)
        return np.rint(x) if self.is_integer else x

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        total = np.zeros(np.shape(x))
        for weight, part in self._present():
            total += weight * part.cdf(x)
        return np.minimum(total, 1.0)
