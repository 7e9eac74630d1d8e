"""In which order the parameters of a system are drawn, and how their ranks are correlated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.correlated import Correlated
from ipads_stream.distributions.univariate import Distribution

LEAST = 1e-9  # share of the variance of a correlated rank that is its own

# of each parameter: name, names of those whose value it needs, names and rho of its correlations
Links = tuple[tuple[str, tuple[str, ...], tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True)
class Copula:
    """``g = sum_k weights[k] g_k + own Phi^-1(u)``, g_k those of ``others``."""

    others: tuple[str, ...]
    weights: tuple[float, ...]
    own: float


@dataclass(frozen=True)
class Plan:
    """How to draw the parameters of a system.

    Attributes:
        order: names such that each comes after all that it needs.
        copulas: of the correlated parameters.
        shared: names of those that others are correlated with.
    """

    order: tuple[str, ...]
    copulas: Mapping[str, Copula]
    shared: frozenset[str]


def links_of(parameters: Mapping[str, Distribution]) -> Links:
    """What the plan depends on."""
    return tuple(
        (
            name,
            tuple(value.conditions.values()),
            tuple(value.correlation.items()) if isinstance(value, Correlated) else (),
        )
        for name, value in parameters.items()
    )


@lru_cache(maxsize=256)
def plan(links: Links) -> Plan:
    """The plan of a system.

    Raises:
        ConfigError: conditions or correlations run in a circle, which is named; or with these
            correlations the matrix of the whole system is not positive definite.
    """
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
        own = 1.0 - float(weights @ rho)
        if not own > LEAST:
            allowed = "correlations that can hold together; with those among "
            allowed += f"{', '.join(others)} the matrix is not positive definite"
            raise ConfigError(f"{name}.correlation", stated[name], allowed)
        R[i, :i] = R[:i, i] = R[:i][:, at] @ weights
        copulas[name] = Copula(others, tuple(weights.tolist()), math.sqrt(own))
    return copulas
