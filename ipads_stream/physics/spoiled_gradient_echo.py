"""Spoiled gradient echo: the steady state without transverse magnetisation before a pulse."""

from __future__ import annotations

from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.physics.closed_form_arguments import as_phasor, prepared


def spoiled_gradient_echo(
    flip: Any,
    TR: Any,
    TE: Any,
    T1: Any,
    T2s: Any,
    df: Any = 0.0,
    B1: Any = 1.0,
    M0: Any = 1.0,
) -> Complex[Any, "..."]:
    """The steady state of equal pulses with ideal spoiling.

    S = M0 sin(a) (1 - E) / (1 - E cos(a)) exp(-TE / T2*) exp(-2 pi i df TE),
    a = B1 flip, E = exp(-TR / T1)

    Any argument is a number or an array; arrays broadcast. The receiver is a quarter of a turn
    ahead of the pulse, so that a spin at df = 0 gives a real signal: M+ = i S for a pulse along x.

    Args:
        flip: nominal flip angle, rad.
        TR: from a pulse to the next, s.
        TE: from a pulse to its echo, s.
        T1, T2s: relaxation times, s; T2* with what dephases within the voxel.
        df: off-resonance, Hz.
        B1: RF relative to nominal.
        M0: magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range.

    Source: Ernst and Anderson, Review of Scientific Instruments 37, 93 (1966).
    """
    xp, flip, TR, TE, T1, T2s, df, B1, M0 = prepared(
        flip=flip, TR=TR, TE=TE, T1=T1, T2s=T2s, df=df, B1=B1, M0=M0
    )
    a, regained = B1 * flip, -xp.expm1(-TR / T1)
    # 1 - E cos(a) without a difference of nearly equal numbers.
    below = 2 * xp.sin(0.5 * a) ** 2 + xp.cos(a) * regained
    steady = M0 * xp.sin(a) * regained / below
    return as_phasor(xp, steady * xp.exp(-TE / T2s), -df * TE)


def ernst_angle(TR: Any, T1: Any) -> Float[Any, "..."]:
    """The flip angle of the largest signal, rad: arccos(exp(-TR / T1)).

    Args:
        TR: from a pulse to the next, s.
        T1: longitudinal relaxation time, s.

    Raises:
        ValueError: a value is out of range.

    Source: Ernst and Anderson, Review of Scientific Instruments 37, 93 (1966).
    """
    xp, TR, T1 = prepared(TR=TR, T1=T1)
    return xp.acos(xp.exp(-TR / T1))
