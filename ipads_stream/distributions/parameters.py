"""The parameters of a system, checked together before anything is drawn."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import check, keep
from ipads_stream.core.units import dimension, units_of
from ipads_stream.distributions.joint import links_of, plan
from ipads_stream.distributions.parts import as_distribution_or_number
from ipads_stream.distributions.univariate import Distribution, Interval

PARAMETER = "parameter"  # key of a field's metadata


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a parameter of a system may be.

    Attributes:
        quantity: dimension that its unit must have, e.g. ``time``; None: any.
        within: closed interval (SI) that must hold the whole support.
        integer: whether only whole numbers make sense.
        axes: names of the axes of one sample's draw, e.g. ("peak",).
        optional: whether it may be left out (None).
    """

    quantity: str | None = "number"
    within: Interval = (-math.inf, math.inf)
    integer: bool = False
    axes: tuple[str, ...] = ()
    optional: bool = False


def parameter(
    default: Any = MISSING,
    *,
    quantity: str | None = "number",
    within: Interval = (-math.inf, math.inf),
    integer: bool = False,
    axes: tuple[str, ...] = (),
    optional: bool = False,
) -> Any:
    """A field for a drawn parameter; the arguments are those of :class:`Parameter`.

    An optional one is None unless a default is given.
    """
    rule = Parameter(
        quantity=quantity, within=within, integer=integer, axes=axes, optional=optional
    )
    default = None if optional and default is MISSING else default
    return field(default=default, metadata={PARAMETER: rule})


def rules_of(thing: Any) -> dict[str, Parameter]:
    """The drawn parameters among the fields of a dataclass, and what they may be."""
    return _rules(thing if isinstance(thing, type) else type(thing))


@cache
def _rules(kind: type) -> dict[str, Parameter]:
    described = {each.name: each.metadata for each in fields(kind)}
    return {name: x[PARAMETER] for name, x in described.items() if PARAMETER in x}


def check_fields(thing: Any) -> None:
    """Checks all fields of a dataclass: drawn parameters together, the others by their rules;
    ConfigError by the name of the field."""
    check(thing)
    rules = rules_of(thing)
    keep(thing, **as_parameters({name: getattr(thing, name) for name in rules}, rules))


def check_each(thing: Any) -> None:
    """As :func:`check_fields`, of what draws its parameters one by one: none may need another."""
    check(thing)
    for name, rule in rules_of(thing).items():
        keep(thing, **as_parameters({name: getattr(thing, name)}, {name: rule}))


def distributions_of(thing: Any) -> dict[str, Distribution]:
    """The distributions of the drawn parameters that are there, by name."""
    values = {name: getattr(thing, name) for name in rules_of(thing)}
    return {name: value for name, value in values.items() if value is not None}


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
    parameters: dict[str, Distribution] = {}
    for name, rule in rules.items():
        if rule.optional and values[name] is None:
            continue
        value = parameters[name] = as_distribution_or_number(name, values[name])
        if rule.quantity not in (None, dimension(value.unit)) and value.unit != "":
            allowed = f"one of {units_of(str(rule.quantity))} ({rule.quantity})"
            raise ConfigError(f"{name}.unit", value.unit, allowed)
    for name in parameters:
        _check_references(name, parameters, rules)
    supports: dict[str, tuple[float, float]] = {}
    for name in plan(links_of(parameters)).order:
        (lowest, highest), value = rules[name].within, parameters[name]
        try:
            low, high = supports[name] = value.support_given(supports)
        except ConfigError as error:
            raise error.under(name) from None
        if low < lowest or high > highest:
            allowed = f"support within [{lowest:g}, {highest:g}] (SI)"
            raise ConfigError(name, (low, high), allowed)
        if rules[name].integer and not value.is_integer:
            allowed = "whole numbers only (DiscreteUniform, Choice, Constant)"
            raise ConfigError(name, type(value).__name__, allowed)
    return parameters


def as_distribution(
    name: str,
    value: Any,
    *,
    within: Interval,
    quantity: str | None = "number",
    integer: bool = False,
) -> Distribution:
    """The distribution of one parameter by itself, checked; a bare number is a Constant in SI.

    ``name`` is for errors; ``within``, ``quantity`` and ``integer`` are as of :class:`Parameter`.

    Raises:
        ConfigError: neither a number nor a distribution, wrong unit, support outside ``within``.
    """
    rule = Parameter(quantity=quantity, within=within, integer=integer)
    return as_parameters({name: value}, {name: rule})[name]


def _check_references(
    name: str, parameters: Mapping[str, Distribution], rules: Mapping[str, Parameter]
) -> None:
    value = parameters[name]
    ranks = {f"correlation.{other}": other for other in value.correlations}
    for path, other in (dict(value.conditions) | ranks).items():
        key = f"{name}.{path}"
        known = [n for n in parameters if n != name]
        if other not in known:
            raise ConfigError(key, other, f"another parameter: {', '.join(known) or 'none'}")
        axes = rules[other].axes
        if axes != rules[name].axes[: len(axes)]:
            allowed = f"a parameter with one value per sample; it has one per {', '.join(axes)}"
            raise ConfigError(key, other, allowed)
        if path in ranks and parameters[other].is_weighted:
            raise ConfigError(key, other, "a parameter that is not weighted")
    try:
        value.check_references({other: str(rule.quantity) for other, rule in rules.items()})
    except ConfigError as error:
        raise error.under(name) from None
