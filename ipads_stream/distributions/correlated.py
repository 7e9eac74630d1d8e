"""A distribution whose ranks are correlated with those of other parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.distributions.arguments import Real
from ipads_stream.distributions.parts import Derived, Part
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True)
class _Correlations:
    """Names of other parameters and rho, kept by name: the order of the sum is part of the draw."""

    def __call__(self, name: str, value: Any) -> dict[str, float]:
        if not isinstance(value, Mapping) or not value:
            raise ConfigError(name, value, "name of another parameter: rho, at least one")
        rho = Real(above=-1, below=1)
        return {str(key): rho(f"{name}.{key}", each) for key, each in sorted(value.items())}


@dataclass(frozen=True, kw_only=True)
class Correlated(Derived):
    """A Gaussian copula: ``x = F^-1(Phi(g))``, g standard normal with correlation rho to others' g.

    ``g = sum_k w_k g_k + (1 - w.rho)^(1/2) Phi^-1(u)`` with ``w = R^-1 rho``, R the correlation of
    the parameters that are named. Beyond what is named g depends on its own u alone: parameters
    that are not named are correlated with this one only through those that are, and no draw of
    another parameter changes when this one is correlated with it. The rank correlation of two
    continuous parameters is (6 / pi) arcsin(rho / 2). Phi and its inverse are those of gaussian.py,
    within 1e-10; they make this the slowest of all distributions, see the rates of experiments/.

    Attributes:
        distribution: of this parameter alone; an adaptive one may stand here.
        correlation: name of another parameter of the same sample -> rho, -1 < rho < 1.
    """

    distribution: Distribution = ruled(Part(is_outermost=True))
    correlation: Mapping[str, float] = ruled(_Correlations())

    def check(self) -> None:
        if self.distribution.correlations:
            raise ConfigError("distribution", self.distribution.label, "what is not correlated yet")
        if self.distribution.is_weighted:
            allowed = "false: the ranks of reshared draws are correlated, no weight undoes that"
            raise ConfigError("distribution.weighted", True, allowed)
        if self.unit != self.distribution.unit:
            raise ConfigError("unit", self.unit, f"{self.distribution.unit!r}, or left out")

    @property
    def correlations(self) -> Mapping[str, float]:
        return self.correlation
