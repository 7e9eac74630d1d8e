"""Drawing the parameters of a system, those that depend on others after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.distributions.adaptive import Adaptive
from ipads_stream.distributions.correlated import Correlated
from ipads_stream.distributions.gaussian import normal_level, normal_quantile
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.order import links_of, plan
from ipads_stream.distributions.regions import Reshared
from ipads_stream.distributions.univariate import Distribution, aligned


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
    way = plan(links_of(distributions))
    latent: dict[str, Float[np.ndarray, "B ..."]] = {}
    drawn: dict[str, Float[np.ndarray, "B ..."]] = {}
    for name in way.order:
        distribution, shape = parameters[name]
        u = random.uniform(keys[name], shape)
        if name in way.shared or name in way.copulas:
            latent[name] = normal_quantile(u)
        if name in way.copulas:
            copula = way.copulas[name]
            latent[name] *= copula.own
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
    """Weight of each sample, the product over its draws of p_k / q_k; None where all weigh 1.

    With these weights, means over samples estimate without bias what they would be under the
    natural shares: E_q[w f] = E_p[f].

    Args:
        parameters: name -> distribution.
        drawn: name -> values, (B, ...), SI.
        present: (name, drawn) -> bool, (B, ...) or one for all: which draws the samples show.
    """
    total: Any = None
    for name, distribution in parameters.items():
        if not (isinstance(distribution, Reshared) and distribution.weighted):
            continue
        ratios = distribution.importance(np.asarray(drawn[name], dtype=np.float64))
        ratios = np.where(present(name, drawn), ratios, 1.0)
        product = ratios.reshape(len(ratios), -1).prod(axis=1)
        total = product if total is None else total * product
    return total


def adaptive_of(distribution: Any) -> Adaptive | None:
    """The adaptive distribution that a parameter has, also inside a copula."""
    part = distribution.distribution if isinstance(distribution, Correlated) else distribution
    return part if isinstance(part, Adaptive) else None
