"""An endless, reproducible stream of physically simulated magnetic-resonance training data."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module. Imported on first use: torch and Hydra take seconds, --help must not.
_PUBLIC = {
    "ConfigError": "ipads_stream.core.errors",
    "Frozen": "ipads_stream.stream.freeze",
    "Sample": "ipads_stream.core.sample",
    "Stored": "ipads_stream.stream.stored",
    "Stream": "ipads_stream.stream.stream",
    "freeze": "ipads_stream.stream.freeze",
    "load_model": "ipads_stream.config",
    "load_system": "ipads_stream.config",
    "replay": "ipads_stream.stream.replay",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
