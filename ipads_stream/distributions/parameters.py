"""The parameters of a system, checked together before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, units_of
from ipads_stream.distributions.conditional import Conditional
from ipads_stream.distributions.constant import Constant
from ipads_stream.distributions.correlated import Correlated
from ipads_stream.distributions.order import links_of, plan
from ipads_stream.distributions.regions import Reshared
from ipads_stream.distributions.truncated import Truncated
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a parameter of a system may be.

    Attributes:
        quantity: dimension that its unit must have, e.g. ``time``.
        within: closed interval (SI) that must hold the whole support.
        integer: whether only whole numbers make sense.
        axes: names of the axes of one sample's draw, e.g. ("peak",).
        optional: whether it may be left out (None).
    """

    quantity: str = "number"
    within: tuple[float, float] = (-math.inf, math.inf)
    integer: bool = False
    axes: tuple[str, ...] = ()
    optional: bool = False


def as_parameters(
    values: Mapping[str, Any], rules: Mapping[str, Parameter]
) -> dict[str, Distribution]:
    """The distributions of a system's parameters; bare numbers are Constants in SI.

    Args:
        values: name of the parameter -> a distribution, a number, or None where it may be left out.
        rules: name of the parameter -> what is allowed.

    Raises:
        ConfigError: a value that is none of these, a wrong unit, a support outside what is allowed,
            a condition on what is not there or that runs in a circle, correlations that no joint
            distribution has.
    """
    parameters = {
        name: _typed(name, values[name], rule)
        for name, rule in rules.items()
        if not (rule.optional and values[name] is None)
    }
    for name in parameters:
        _check_references(name, parameters, rules)
    supports: dict[str, tuple[float, float]] = {}
    for name in plan(links_of(parameters)).order:
        try:
            supports[name] = parameters[name].support_given(supports)
        except ConfigError as error:
            raise error.under(name) from None
        _check_support(name, parameters[name], supports[name], rules[name])
        _check_bounds(name, parameters[name], rules)
    return parameters


def as_distribution(
    name: str,
    value: Any,
    *,
    within: tuple[float, float],
    quantity: str = "number",
    integer: bool = False,
) -> Distribution:
    """The distribution of one parameter by itself, checked; a bare number is a Constant in SI.

    Args:
        name: key of the parameter, for errors.
        value: a distribution or a number.
        within: closed interval (SI) that must hold the whole support.
        quantity: dimension that the unit must have, e.g. ``time``.
        integer: whether only whole numbers make sense.

    Raises:
        ConfigError: neither a number nor a distribution, wrong unit, support outside ``within``.
    """
    rule = Parameter(quantity=quantity, within=within, integer=integer)
    return as_parameters({name: value}, {name: rule})[name]


def _typed(name: str, value: Any, rule: Parameter) -> Distribution:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant.bare(name, value)
    if not isinstance(value, Distribution):
        raise ConfigError(name, value, "a number or a distribution")
    if dimension(value.unit) != rule.quantity and value.unit != "":
        allowed = f"one of {units_of(rule.quantity)} ({rule.quantity})"
        raise ConfigError(f"{name}.unit", value.unit, allowed)
    return value


def _check_support(
    name: str, value: Distribution, support: tuple[float, float], rule: Parameter
) -> None:
    low, high = support
    if low < rule.within[0] or high > rule.within[1]:
        allowed = f"support within [{rule.within[0]:g}, {rule.within[1]:g}] (SI)"
        raise ConfigError(name, (low, high), allowed)
    if rule.integer and not value.is_integer:
        kind = type(value).__name__
        raise ConfigError(name, kind, "whole numbers only (DiscreteUniform, Choice, Constant)")


def _check_references(
    name: str, parameters: Mapping[str, Distribution], rules: Mapping[str, Parameter]
) -> None:
    value = parameters[name]
    needed = dict(value.conditions)
    if isinstance(value, Correlated):
        needed |= {f"correlation.{other}": other for other in value.correlation}
    for path, other in needed.items():
        key = f"{name}.{path}"
        known = [n for n in parameters if n != name]
        if other not in known:
            raise ConfigError(key, other, f"another parameter: {', '.join(known) or 'none'}")
        axes = rules[other].axes
        if axes != rules[name].axes[: len(axes)]:
            allowed = f"a parameter with one value per sample; it has one per {', '.join(axes)}"
            raise ConfigError(key, other, allowed)
        if path.startswith("correlation."):
            part = parameters[other]
            if isinstance(part, Reshared) and part.weighted:
                raise ConfigError(key, other, "a parameter that is not weighted")
    _check_edges(name, parameters[name], rules)


def _check_edges(name: str, value: Distribution, rules: Mapping[str, Parameter]) -> None:
    """The unit of a Conditional's edges is that of the parameter they divide."""
    if isinstance(value, Conditional) and value.given_unit:
        quantity = rules[value.given].quantity
        if dimension(value.given_unit) != quantity:
            allowed = f"one of {units_of(quantity)} ({quantity}, as {value.given})"
            raise ConfigError(f"{name}.given_unit", value.given_unit, allowed)
    for key, part in value.parts.items():
        _check_edges(f"{name}.{key}", part, rules)


def _check_bounds(name: str, value: Distribution, rules: Mapping[str, Parameter]) -> None:
    """A Truncated in a unit is bounded by parameters of its own quantity."""
    if isinstance(value, Truncated) and value.unit:
        quantity = dimension(value.unit)
        for key, other in (("above", value.above), ("below", value.below)):
            if other is not None and rules[other].quantity != quantity:
                allowed = f"a parameter of quantity {quantity}; this one is {rules[other].quantity}"
                raise ConfigError(f"{name}.{key}", other, allowed)
    for key, part in value.parts.items():
        _check_bounds(f"{name}.{key}", part, rules)
