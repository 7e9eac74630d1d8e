"""Balanced steady-state free precession: all gradients are rewound in every TR."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Complex

from ipads_stream.physics.closed_form_arguments import as_phasor, on_host, prepared
from ipads_stream.physics.epg_arguments import refuse


def bssfp(
    flip: Any,
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    df: Any = 0.0,
    B1: Any = 1.0,
    M0: Any = 1.0,
    increment: Any = math.pi,
) -> Complex[Any, "..."]:
    """The steady state of equal pulses whose phase grows by an increment.

    S = M0 sin(a) (1 - E1) (1 - E2 exp(i b)) / d exp(-TE / T2) exp(-2 pi i df TE),
    d = (1 - E1 cos(a)) (1 - E2 cos(b)) - (E1 - cos(a)) (E2 - cos(b)) E2,
    a = B1 flip, b = 2 pi df TR + increment, E1 = exp(-TR / T1), E2 = exp(-TR / T2)

    Any argument is a number or an array; arrays broadcast. The receiver follows the pulses a
    quarter of a turn ahead: bloch and epg, whose receiver stands still, give
    M+ = i exp(i phase of the pulse) S, the phases being 0, increment, 2 increment, ... With the
    increment of pi, df = 0 lies in the middle of the pass band and gives a real signal. T1 is
    finite: what does not recover has no steady state.

    Args:
        flip: nominal flip angle, rad.
        TR: from a pulse to the next, s.
        TE: from a pulse to its sample, s.
        T1, T2: relaxation times, s.
        df: off-resonance, Hz.
        B1: RF relative to nominal.
        M0: magnetisation in equilibrium.
        increment: of the phase of the pulses, rad.

    Raises:
        ValueError: a value is out of range.

    Source: Freeman and Hill, Journal of Magnetic Resonance 4, 366 (1971).
    """
    xp, flip, TR, TE, T1, T2, df, B1, M0, increment = prepared(
        flip=flip, TR=TR, TE=TE, T1=T1, T2=T2, df=df, B1=B1, M0=M0, increment=increment
    )
    for x in on_host({"TR": TR}).values():
        refuse("TR", x, x < math.inf, "a positive and finite time in s")
    turns = df * TR + increment / (2 * math.pi)
    b = 2 * math.pi * (turns - xp.round(turns))
    c, E1, E2 = xp.cos(B1 * flip), xp.exp(-TR / T1), xp.exp(-TR / T2)
    d = (1 - E1 * c) * (1 - E2 * xp.cos(b)) - (E1 - c) * (E2 - xp.cos(b)) * E2
    steady = M0 * xp.sin(B1 * flip) * -xp.expm1(-TR / T1) / d * xp.exp(-TE / T2)
    echo = -df * TE
    return as_phasor(xp, steady, echo) - as_phasor(xp, steady * E2, echo + turns)
