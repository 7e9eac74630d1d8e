"""A configured object as plain data: written, hashed, and read back by the configuration."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any


def describe(thing: Any) -> Any:
    """A frozen dataclass as nested plain values with its class under ``_target_``.

    Fields are given as written (in the unit of the YAML), so that
    ``instantiate(describe(x)) == x``.
    """
    if hasattr(thing, "describe"):  # stands for another object, as a frozen set does for its system
        return thing.describe()
    if is_dataclass(thing) and not isinstance(thing, type):
        values = {f.name: describe(getattr(thing, f.name)) for f in fields(thing)}
        return {"_target_": f"{type(thing).__module__}.{type(thing).__qualname__}", **values}
    if isinstance(thing, dict):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [describe(value) for value in thing]
    return thing


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested plain data, by dotted key."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    parts = [flat(x, f"{prefix}.{key}" if prefix else str(key)) for key, x in node.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def config_hash(thing: Any) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of ``describe(thing)``."""
    text = json.dumps(describe(thing), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
