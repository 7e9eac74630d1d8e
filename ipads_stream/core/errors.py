"""Errors that tell a user which key is wrong, what it holds and what is allowed."""

from typing import Any


class ConfigError(ValueError):
    """A configuration value that cannot be used.

    Args:
        key: dotted name of the offending value, e.g. ``decay.low``.
        value: what it holds.
        allowed: what may stand there.
    """

    def __init__(self, key: str, value: Any, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={value!r}: {allowed}")

    def under(self, parent: str) -> "ConfigError":
        """The same error seen from one level further up: ``low`` under ``decay``: ``decay.low``."""
        return ConfigError(f"{parent}.{self.key}" if self.key else parent, self.value, self.allowed)

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, Any, str]]:
        return ConfigError, (self.key, self.value, self.allowed)
