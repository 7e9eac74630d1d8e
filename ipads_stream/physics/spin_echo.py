"""Spin echo: contrast by repetition and echo time."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float

from ipads_stream.physics.closed_form_arguments import prepared


def spin_echo(TR: Any, TE: Any, T1: Any, T2: Any, M0: Any = 1.0) -> Float[Any, "..."]:
    """The steady state of a 90 and a 180 degree pulse, for TR much longer than TE.

    S = M0 (1 - exp(-TR / T1)) exp(-TE / T2)

    Any argument is a number or an array; arrays broadcast.

    Args:
        TR: from an excitation to the next, s.
        TE: from the excitation to the echo, s.
        T1, T2: relaxation times, s.
        M0: magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range.

    Source: Yang et al., Physics-driven synthetic data learning for biomedical magnetic resonance,
    IEEE Signal Processing Magazine 40(2), 2023, Eq. (3).
    """
    xp, TR, TE, T1, T2, M0 = prepared(TR=TR, TE=TE, T1=T1, T2=T2, M0=M0)
    return M0 * -xp.expm1(-TR / T1) * xp.exp(-TE / T2)


def exact_spin_echo(
    TR: Any, TE: Any, T1: Any, T2: Any, B1: Any = 1.0, M0: Any = 1.0
) -> Float[Any, "..."]:
    """The same with the recovery before and after the refocusing pulse, and with B1.

    S = M0 sin(a) sin^2(r / 2) exp(-TE / T2) (1 - e + cos(r) (e - E)) / (1 - cos(a) cos(r) E),
    a = B1 pi / 2, r = B1 pi, E = exp(-TR / T1), e = exp(-(TR - TE / 2) / T1)

    All other pathways are spoiled, as by crushers about the refocusing pulse and at the end of TR.
    For B1 = 1 it is M0 (1 - 2 exp(-(TR - TE / 2) / T1) + exp(-TR / T1)) exp(-TE / T2).

    Args:
        TR, TE, T1, T2, M0: as above; TE / 2 after the excitation comes the refocusing pulse.
        B1: RF relative to nominal, of both pulses.

    Raises:
        ValueError: a value is out of range.

    Source: Bernstein, King and Zhou, Handbook of MRI Pulse Sequences, 2004, section 14.3.
    """
    xp, TR, TE, T1, T2, B1, M0 = prepared(TR=TR, TE=TE, T1=T1, T2=T2, B1=B1, M0=M0)
    a, r = 0.5 * xp.pi * B1, xp.pi * B1
    E, e = xp.exp(-TR / T1), xp.exp(-(TR - 0.5 * TE) / T1)
    steady = (1 - e + xp.cos(r) * (e - E)) / (1 - xp.cos(a) * xp.cos(r) * E)
    return M0 * steady * xp.sin(a) * xp.sin(0.5 * r) ** 2 * xp.exp(-TE / T2)
