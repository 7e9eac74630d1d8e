"""Simulators: plain functions of SI arrays with leading batch axes, a room for every formalism.

    from ipads_stream.physics import bloch, epg, exchange

A room is imported, and its kernels with it, when it is used for the first time.
"""

from __future__ import annotations

import importlib
from typing import Any

ROOMS = [
    "bloch", "closed_forms", "cramer_rao", "epg", "exchange", "fields", "motion", "spectroscopy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
