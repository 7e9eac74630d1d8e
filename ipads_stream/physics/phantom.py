"""An object to be imaged: spins, each of which stands for a piece of tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Complex, Float


@dataclass(frozen=True)
class Phantom:
    """Spins at positions, with their tissue and what the scanner does to them there.

    Any field but position is a number or an array that broadcasts to (*batch, N).

    Attributes:
        position: m, (*batch, N, 3).
        M0: magnetisation in equilibrium: proton density times the volume that the spin stands for.
        T1, T2: relaxation times, s; inf where there is none.
        df: off-resonance, by the field and by chemical shift, Hz.
        B1: RF relative to nominal.
        T2p: T2', of the Lorentzian line of frequencies within the piece of tissue, s.
        D: diffusion coefficient, m^2/s.
        sensitivity: of the receiving coils, complex, (*batch, coils, N); None: one coil of 1.
    """

    position: Float[Any, "*batch N 3"]
    M0: Any = 1.0
    T1: Any = math.inf
    T2: Any = math.inf
    df: Any = 0.0
    B1: Any = 1.0
    T2p: Any = math.inf
    D: Any = 0.0
    sensitivity: Complex[Any, "*batch coils N"] | None = None
