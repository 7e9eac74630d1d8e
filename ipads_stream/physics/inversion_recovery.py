"""Inversion recovery: contrast by the time that an inversion has had to recover."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Float

from ipads_stream.physics.closed_form_arguments import prepared


def inversion_recovery(
    TI: Any,
    TR: Any,
    T1: Any,
    TE: Any = 0.0,
    T2: Any = math.inf,
    flip: Any = 0.5 * math.pi,
    efficiency: Any = 1.0,
    B1: Any = 1.0,
    M0: Any = 1.0,
) -> Float[Any, "..."]:
    """The steady state of an inversion and an excitation in every TR, ideally spoiled.

    S = M0 sin(a) (1 - e - f e (1 - g)) / (1 + f cos(a) e g) exp(-TE / T2),
    a = B1 flip, e = exp(-TI / T1), g = exp(-(TR - TI) / T1)

    Any argument is a number or an array; arrays broadcast. The sign is kept: negative before the
    zero crossing. For a = pi / 2 and f = 1 it is M0 (1 - 2 exp(-TI / T1) + exp(-TR / T1)).

    Args:
        TI: from the inversion to the excitation, s.
        TR: from an inversion to the next, s; inf where it starts from equilibrium.
        T1: longitudinal relaxation time, s.
        TE: from the excitation to the echo, s; an echo's refocusing leaves TR as it is.
        T2: of the echo's decay, T2 or T2*, s.
        flip: nominal flip angle of the excitation, rad.
        efficiency: f, Mz after the inversion is -f times that before; 1 inverts, 0 saturates. It is
            adiabatic: B1 leaves it.
        B1: RF relative to nominal, of the excitation.
        M0: magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range.

    Source: Barral et al., Magnetic Resonance in Medicine 64, 1057 (2010).
    """
    xp, TI, TR, T1, TE, T2, flip, f, B1, M0 = prepared(
        TI=TI, TR=TR, T1=T1, TE=TE, T2=T2, flip=flip, efficiency=efficiency, B1=B1, M0=M0
    )
    a, e, g = B1 * flip, xp.exp(-TI / T1), xp.exp(-(TR - TI) / T1)
    recovered = (1 - e - f * e * (1 - g)) / (1 + f * xp.cos(a) * e * g)
    return M0 * xp.sin(a) * recovered * xp.exp(-TE / T2)
