"""Exchanging pools: the Bloch-McConnell equations and z-spectra."""

from __future__ import annotations

from ipads_stream.physics.exchange.arguments import Pulses, Semisolid, Solute, Water
from ipads_stream.physics.exchange.course import magnetisation
from ipads_stream.physics.exchange.generator import expm
from ipads_stream.physics.exchange.saturation import (
    z_spectra,
    z_spectrum,
    z_spectrum_formula,
)

__all__ = [
    "Pulses",
    "Semisolid",
    "Solute",
    "Water",
    "expm",
    "magnetisation",
    "z_spectra",
    "z_spectrum",
    "z_spectrum_formula",
]
