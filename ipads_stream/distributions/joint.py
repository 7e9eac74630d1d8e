"""Drawing the parameters of a system, those that depend on others after them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions.gaussian import normal_level, normal_quantile
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.univariate import Distribution, aligned

LEAST = 1e-9  # share of the variance of a correlated rank that is its own

# Of each parameter: name, names of those whose value it needs, names and rho of its correlations.
Links = tuple[tuple[str, tuple[str, ...], tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True)
class Copula:
    """``g = sum_k weights[k] g_k + residual Phi^-1(u)``, g_k those of ``others``."""

    others: tuple[str, ...]
    weights: tuple[float, ...]
    residual: float


@dataclass(frozen=True)
class Plan:
    """How to draw the parameters of a system: in ``order``, each after all that it needs.

    ``copulas`` are those of the correlated parameters, ``shared`` what these correlate with.
    """

    order: tuple[str, ...]
    copulas: Mapping[str, Copula]
    shared: frozenset[str]


def links_of(parameters: Mapping[str, Distribution]) -> Links:
    """What the plan depends on."""
    return tuple(
        (name, tuple(value.conditions.values()), tuple(value.correlations.items()))
        for name, value in parameters.items()
    )


@lru_cache(maxsize=256)
def plan(links: Links) -> Plan:
    """The plan of a system; ConfigError where conditions or correlations run in a circle, or the
    correlation matrix of the whole system is not positive definite."""
    order = _order(links)
    copulas = _copulas(links, order)
    shared = frozenset(other for copula in copulas.values() for other in copula.others)
    return Plan(order, copulas, shared)


def _order(links: Links) -> tuple[str, ...]:
    needs = {name: {*values, *(other for other, _ in rho)} for name, values, rho in links}
    order: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in path:
            circle = [*path[path.index(name) :], name]
            allowed = "conditions that do not run in a circle"
            raise ConfigError(circle[0], " -> ".join(circle), allowed)
        if name in order:
            return
        path.append(name)
        for other in needs:
            if other in needs[name]:
                visit(other)
        path.pop()
        order.append(name)

    for name in needs:
        visit(name)
    return tuple(order)


def _copulas(links: Links, order: tuple[str, ...]) -> dict[str, Copula]:
    stated = {name: dict(rho) for name, _, rho in links if rho}
    R = np.eye(len(order))  # of all parameters, as it follows from what is stated
    copulas: dict[str, Copula] = {}
    for i, name in enumerate(order):
        if name not in stated:
            continue
        others = tuple(stated[name])
        at = [order.index(other) for other in others]
        rho = np.array([stated[name][other] for other in others])
        weights = np.linalg.solve(R[np.ix_(at, at)], rho)
        variance = 1.0 - float(weights @ rho)
        if not variance > LEAST:
            allowed = "correlations that can hold together; with those among "
            allowed += f"{', '.join(others)} the matrix is not positive definite"
            raise ConfigError(f"{name}.correlation", stated[name], allowed)
        R[i, :i] = R[:i, i] = R[:i][:, at] @ weights
        copulas[name] = Copula(others, tuple(weights.tolist()), math.sqrt(variance))
    return copulas


def draw_parameters(
    parameters: Mapping[str, tuple[Distribution, tuple[int, ...]]],
    keys: Keys,
    progress: Float[np.ndarray, " B"],
) -> dict[str, Float[np.ndarray, "B ..."]]:
    """Keyed draws of all parameters, float64 (B, *shape), SI.

    The uniform numbers of a parameter come from ``keys[name]`` whatever its distribution is: with
    another distribution of one parameter all others are drawn as before, bit for bit, except those
    that are conditioned on its value. Correlation is between ranks: it changes only the parameter
    whose distribution states it.

    Args:
        parameters: name -> distribution and shape of one sample's draw.
        keys: of B samples.
        progress: (B,) global sample index.
    """
    distributions = {name: distribution for name, (distribution, _) in parameters.items()}
    scheme = plan(links_of(distributions))
    latent: dict[str, Float[np.ndarray, "B ..."]] = {}
    drawn: dict[str, Float[np.ndarray, "B ..."]] = {}
    for name in scheme.order:
        distribution, shape = parameters[name]
        u = random.uniform(keys[name], shape)
        if name in scheme.shared or name in scheme.copulas:
            latent[name] = normal_quantile(u)
        if name in scheme.copulas:
            copula = scheme.copulas[name]
            latent[name] *= copula.residual
            for other, weight in zip(copula.others, copula.weights, strict=True):
                latent[name] += weight * aligned(latent[other], shape)
            u = normal_level(latent[name])
        given = UNCONDITIONAL
        if distribution.conditions or distribution.varies:
            needed = distribution.conditions.values()
            values = {other: aligned(drawn[other], shape) for other in needed}
            given = Given(aligned(progress, shape), values)
        drawn[name] = distribution.quantile(u, given)
    return {name: drawn[name] for name in parameters}


def importance_weights(
    parameters: Mapping[str, Distribution],
    drawn: Mapping[str, Any],
    present: Callable[[str, Any], Any] = lambda name, drawn: True,
) -> Float[np.ndarray, " B"] | None:
    """Weight of each sample, the product over its draws of p_k / q_k; None where all are 1.

    With these weights, means over samples estimate without bias what they would be under the
    natural shares: E_q[w f] = E_p[f].

    Args:
        parameters: name -> distribution.
        drawn: name -> values, (B, ...), SI.
        present: (name, drawn) -> bool, (B, ...) or one for all: which draws the samples show.
    """
    total: Any = None
    for name, distribution in parameters.items():
        if not distribution.is_weighted:
            continue
        ratios = distribution.importance(np.asarray(drawn[name], dtype=np.float64))
        ratios = np.where(present(name, drawn), ratios, 1.0)
        product = ratios.reshape(len(ratios), -1).prod(axis=1)
        total = product if total is None else total * product
    return total
