"""Isochromats: the Bloch equation played to spins, and the signal of a sequence and a phantom."""

from __future__ import annotations

from ipads_stream.physics.bloch.evolution import evolve, evolve_formula, free_precession
from ipads_stream.physics.bloch.sequence_signal import magnetisation, signal
from ipads_stream.physics.bloch.sequence_signal_formula import signal_formula

__all__ = [
    "evolve",
    "evolve_formula",
    "free_precession",
    "magnetisation",
    "signal",
    "signal_formula",
]
