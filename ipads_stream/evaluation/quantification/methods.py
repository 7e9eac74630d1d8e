"""The methods that estimate a system's quantities: its classical ones and a trained network."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Inputs of samples, batch first, to quantities in SI, batch first; NaN where it found none.
Method = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
NETWORK = "network"

# system -> module with classical_methods(system) -> {name: Method}, imported when it is asked for.
CLASSICAL = {
    "drone": "ipads_stream.evaluation.classical.fingerprints",
    "ann_mwf": "ipads_stream.evaluation.classical.myelin_water",
    "anncest": "ipads_stream.evaluation.classical.z_spectra",
    "qsmnet": "ipads_stream.evaluation.classical.dipole_inversion",
    "oled": "ipads_stream.evaluation.classical.overlapping_echoes",
    "deepspio": "ipads_stream.evaluation.classical.iron_oxide",
}


def classical_methods(system: Any) -> dict[str, Method]:
    """The classical methods for a system, by name; none for a system that has none."""
    module = CLASSICAL.get(system.name)
    if module is None:
        return {}
    found: dict[str, Method] = importlib.import_module(module).classical_methods(system)
    return found
