"""Distributions of physical parameters: one per file, in SI units, keyed by sample index.

A distribution has ``draw(key, shape, progress) -> float64 array (B, *shape)``, ``support`` in SI
and the ``unit`` in which YAML wrote it. The univariate ones map a keyed uniform number through
their quantile function, so a sample keeps its rank when its distribution changes.
"""

from __future__ import annotations

from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, units_of
from ipads_stream.distributions.beta import Beta
from ipads_stream.distributions.choice import Choice
from ipads_stream.distributions.constant import Constant
from ipads_stream.distributions.discrete_uniform import DiscreteUniform
from ipads_stream.distributions.log_uniform import LogUniform
from ipads_stream.distributions.normal import Normal
from ipads_stream.distributions.uniform import Uniform
from ipads_stream.distributions.univariate import Distribution

__all__ = [
    "Beta",
    "Choice",
    "Constant",
    "DiscreteUniform",
    "Distribution",
    "LogUniform",
    "Normal",
    "Uniform",
    "as_distribution",
]


def as_distribution(
    name: str,
    value: Any,
    *,
    within: tuple[float, float],
    quantity: str = "number",
    integer: bool = False,
) -> Distribution:
    """The distribution of one parameter of a system, checked; a bare number is a Constant in SI.

    Args:
        name: key of the parameter, for errors.
        value: a distribution or a number.
        within: closed interval (SI) that must hold the whole support.
        quantity: dimension that the unit must have, e.g. ``time``.
        integer: whether only whole numbers make sense.

    Raises:
        ConfigError: neither a number nor a distribution, wrong unit, support outside ``within``.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = Constant(value=value)
    elif not isinstance(value, Distribution):
        raise ConfigError(name, value, "a number or a distribution")
    elif dimension(value.unit) != quantity and value.unit != "":
        raise ConfigError(f"{name}.unit", value.unit, f"one of {units_of(quantity)} ({quantity})")
    low, high = value.support
    if low < within[0] or high > within[1]:
        allowed = f"support within [{within[0]:g}, {within[1]:g}] (SI)"
        raise ConfigError(name, (low, high), allowed)
    if integer and not value.is_integer:
        raise ConfigError(name, value, "whole numbers only (DiscreteUniform, Choice, Constant)")
    return value
