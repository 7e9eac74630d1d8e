"""Nested or dotted YAML as the overrides that compose a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ipads_stream.core.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
TYPED = {"null", "true", "false", "nan", "inf", "yes", "no", "on", "off"}


def flat(node: Any, key: str) -> dict[str, Any]:
    """Dotted key -> value: ``{net: {phases: 6}}`` and ``{net.phases: 6}`` both give net.phases.

    What stands under a dotted key is one value, and so is what has a ``_target_``: it replaces what
    the key held, instead of merging with it.

    Args:
        node: mapping from the configuration, or None.
        key: its own dotted name, for errors.

    Raises:
        ConfigError: no mapping, or one key both as a class and by its parts.
    """
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise ConfigError(key, node, "a mapping of keys of conf/train.yaml to values")
    found: dict[str, Any] = {}
    for name, value in node.items():
        is_whole = "." in str(name) or not isinstance(value, Mapping) or "_target_" in value
        if not is_whole and value:
            found |= {f"{name}.{k}": v for k, v in flat(value, f"{key}.{name}").items()}
        else:
            found[str(name)] = value
    return found


def merged(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The overrides of several layers; of the same key, the last layer's value.

    Args:
        layers: dotted key -> value, see :func:`flat`.

    Raises:
        ConfigError: a layer changes a part of what an earlier one gives as a whole.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            for whole in values:
                if key.startswith(f"{whole}.") and isinstance(values[whole], Mapping):
                    raise ConfigError(key, value, f"{whole} as a whole, as it is given before")
            if isinstance(value, Mapping):  # else the name of a file, whose keys can be changed
                values = {k: v for k, v in values.items() if not k.startswith(f"{key}.")}
            values[key] = value
    return [f"{key}={literal(value)}" for key, value in values.items()]


def literal(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(literal(item) for item in value) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in TYPED:
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
