"""Objects that a configuration or a system names: imported only from packages that may run."""

import importlib
from collections.abc import Sequence
from typing import Any

from ipads_stream.core.errors import ConfigError


def packages(trusted: Any) -> tuple[str, ...]:
    """Names of packages that may run besides this one; ConfigError of all but a list of names."""
    names = trusted if isinstance(trusted, (list, tuple)) else [None]
    if not all(isinstance(x, str) and all(map(str.isidentifier, x.split("."))) for x in names):
        raise ConfigError("trusted", trusted, "a list of packages, as in 'trusted=[mylab]'")
    return tuple(names)


def imported(target: Any, key: str, within: Sequence[str], allowed: str) -> Any:
    """What a full name such as "my_package.methods.fit" stands for, under ``key``.

    Only what one of the packages that may run, or a part of one, defines itself is given: a module
    also holds what it imported, such as os or numpy.

    Raises:
        ConfigError: a name of another package, or of nothing that can be imported.
    """
    module, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if not _within(module, within):
        raise ConfigError(key, target, allowed)
    try:
        thing = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        is_absent = isinstance(error, AttributeError) or f"{module}.".startswith(f"{error.name}.")
        reason = "a name that exists" if is_absent else f"a name that can be imported ({error})"
        raise ConfigError(key, target, reason) from error
    if not _within(getattr(thing, "__module__", None) or "", within):
        raise ConfigError(key, target, allowed)
    return thing


def _within(module: str, names: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)
