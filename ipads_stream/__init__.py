"""An endless, reproducible stream of physically simulated magnetic-resonance training data."""

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
    "StreamDataModule": "ipads_stream.train.lightning_data",
    "freeze": "ipads_stream.stream.freeze",
    "load_model": "ipads_stream.config",
    "load_system": "ipads_stream.config",
    "replay": "ipads_stream.stream.replay",
}

# Public module -> where it lies: what those need who only simulate.
_MODULES = {
    "bloch": "ipads_stream.physics.bloch",
    "epg": "ipads_stream.physics.epg",
    "sequences": "ipads_stream.sequences",
}

__all__ = [*_PUBLIC, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
