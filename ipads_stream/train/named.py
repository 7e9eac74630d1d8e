"""Parameters of a network by patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ipads_stream.core.errors import ConfigError


def matching(names: Iterable[str], patterns: Sequence[str], *, key: str) -> list[str]:
    """The names that one of the patterns (``*``, ``?``, ``[...]``) matches, in their order.

    Args:
        names: of parameters, e.g. "blocks.0.layers.1.weight".
        patterns: e.g. ("blocks.0.*", "*.bias").
        key: of the patterns in the configuration, for errors.

    Raises:
        ConfigError: patterns that are no list of text, or one that matches no name.
    """
    names = list(names)
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise ConfigError(key, patterns, 'a list of patterns such as ["blocks.0.*"]')
    for pattern in patterns:
        if not isinstance(pattern, str) or not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:3] + (["..."] if len(names) > 4 else []) + names[-1:])
            raise ConfigError(key, pattern, f"a pattern that matches a parameter: {shown}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
