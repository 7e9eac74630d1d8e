"""A distribution whose ranks are correlated with those of other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import as_part
from ipads_stream.distributions.regions import Reshared
from ipads_stream.distributions.univariate import Distribution, finite_number


@dataclass(frozen=True, kw_only=True)
class Correlated(Distribution):
    """A Gaussian copula: ``x = F^-1(Phi(g))``, g standard normal with correlation rho to others' g.

    ``g = sum_k w_k g_k + (1 - w.rho)^(1/2) Phi^-1(u)`` with ``w = R^-1 rho``, R the correlation of
    the parameters that are named. Beyond what is named g depends on its own u alone: parameters
    that are not named are correlated with this one only through those that are, and no draw of
    another parameter changes when this one is correlated with it. The rank correlation of two
    continuous parameters is (6 / pi) arcsin(rho / 2). Phi and its inverse are those of gaussian.py,
    within 1e-10; they make this the dearest of all distributions, see the rates of experiments/.

    Attributes:
        distribution: of this parameter alone.
        correlation: name of another parameter of the same sample -> rho, -1 < rho < 1.
    """

    distribution: Distribution
    correlation: Mapping[str, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        part = self.distribution
        if not isinstance(part, Reshared):  # an adaptive one may stand here
            part = as_part("distribution", part)
        elif part.weighted:
            allowed = "false: the ranks of reshared draws are correlated, no weight undoes that"
            raise ConfigError("distribution.weighted", True, allowed)
        object.__setattr__(self, "distribution", part)
        if self.unit not in ("", part.unit):
            raise ConfigError("unit", self.unit, f"{part.unit!r}, or left out")
        object.__setattr__(self, "unit", part.unit)
        if not isinstance(self.correlation, Mapping) or not self.correlation:
            allowed = "name of another parameter: rho, at least one"
            raise ConfigError("correlation", self.correlation, allowed)
        for name, rho in self.correlation.items():
            number = finite_number(f"correlation.{name}", rho)
            if not -1 < number < 1:
                raise ConfigError(f"correlation.{name}", rho, "above -1, below 1")
        # By name: the order of the sum is part of the draw.
        kept = {str(name): float(rho) for name, rho in sorted(self.correlation.items())}
        object.__setattr__(self, "correlation", kept)

    @property
    def stands_outermost(self) -> bool:
        return True

    @property
    def parts(self) -> dict[str, Distribution]:
        return {"distribution": self.distribution}

    @property
    def support(self) -> tuple[float, float]:
        return self.distribution.support

    def support_given(self, supports: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """That of ``distribution``.

        Raises:
            ConfigError: it refuses its circumstances.
        """
        try:
            return self.distribution.support_given(supports)
        except ConfigError as error:
            raise error.under("distribution") from None

    @property
    def is_integer(self) -> bool:
        return self.distribution.is_integer

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        return self.distribution.atoms

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self.distribution.quantile(u, given)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self.distribution.cdf(x, given)
