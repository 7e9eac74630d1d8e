"""Classical methods that networks are compared with, by field.

A method maps inputs to estimates by the names of the targets. A system declares its methods by
name, each as the full name of a function ``make(system) -> method``; tables that take long are made
when a method first runs.
"""

import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.systems import System
from ipads_stream.systems.base import Compared

# Inputs of samples, batch first, to estimates, batch first and in SI; NaN where there is none.
Method = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def classical_methods(system: System) -> dict[str, Method]:
    """The methods that a system declares, by name; none where it declares none.

    Args:
        system: one with ``baselines`` (:class:`ipads_stream.systems.base.Compared`), or any other.

    Raises:
        ConfigError: a full name under which there is no function.
    """
    if not isinstance(system, Compared):
        return {}
    return {name: _factory(name, path)(system) for name, path in system.baselines.items()}


def _factory(name: str, path: str) -> Callable[[Any], Method]:
    try:
        return pkgutil.resolve_name(path)  # type: ignore[no-any-return]
    except (ImportError, ValueError, AttributeError):
        allowed = "the full name of a function make(system) -> method"
        raise ConfigError(f"baselines.{name}", path, allowed) from None
