"""Magnetisation-prepared rapid gradient echo: a spoiled train of pulses after an inversion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.physics.closed_form_arguments import on_host, prepared
from ipads_stream.physics.epg_arguments import whole_number


def mprage(
    flip: Any,
    TI: Any,
    TR: Any,
    ESP: Any,
    num_echoes: Any,
    T1: Any,
    TE: Any = 0.0,
    T2s: Any = math.inf,
    centre: Any = 0,
    efficiency: Any = 1.0,
    B1: Any = 1.0,
    M0: Any = 1.0,
) -> Float[Any, "... {num_echoes}"]:
    """The steady state of every echo of the train.

    S_n = M0 sin(a) exp(-TE / T2*) (m + (m_0 - m) q^n), n = 0 ... N - 1,
    q = cos(a) u, m = (1 - u) / (1 - q), m_0 = 1 - e - f e m_TR,
    m_TR = 1 - g + g (m + (m_0 - m) q^N),
    a = B1 flip, u = exp(-ESP / T1), e = exp(-(TI - centre ESP) / T1),
    g = exp(-(TR - TI - (N - centre) ESP) / T1)

    Any argument but the whole numbers is a number or an array; arrays broadcast to (...,), the
    echoes come last. The sign is kept.

    Args:
        flip: nominal flip angle, rad.
        TI: from the inversion to the pulse of the central echo, s, at least centre ESP.
        TR: from an inversion to the next, s.
        ESP: from a pulse of the train to the next, s.
        num_echoes: N, pulses of the train.
        T1: longitudinal relaxation time, s.
        TE: from a pulse to its echo, s.
        T2s: T2*, s.
        centre: number of the central echo, from 0 on.
        efficiency: f, Mz after the inversion is -f times that before; B1 leaves it.
        B1: RF relative to nominal, of the train.
        M0: magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range, or the train does not fit between inversions.

    Source: Deichmann and Haase, Journal of Magnetic Resonance 96, 608 (1992), for the approach to
    the driven equilibrium; Wang et al., PLoS ONE 9(5), e96899 (2014), for the steady state.
    """
    num_echoes = whole_number("num_echoes", num_echoes)
    allowed = f"a whole number from 0 to {num_echoes - 1}"
    centre = whole_number("centre", centre, 0, allowed, most=num_echoes - 1)
    given = {"TI": TI, "TR": TR, "ESP": ESP}
    xp, flip, TI, TR, ESP, T1, TE, T2s, f, B1, M0 = prepared(
        flip=flip, TI=TI, TR=TR, ESP=ESP, T1=T1, TE=TE, T2s=T2s, efficiency=efficiency, B1=B1, M0=M0
    )
    _check_fit(given, num_echoes, centre)
    lost, c = -xp.expm1(-ESP / T1), xp.cos(B1 * flip)
    e = xp.exp(-(TI - centre * ESP) / T1)
    g = xp.exp(-(TR - TI - (num_echoes - centre) * ESP) / T1)
    q = c * (1 - lost)
    # 1 - q without a difference of nearly equal numbers.
    m = lost / (2 * xp.sin(0.5 * B1 * flip) ** 2 + c * lost)
    last = q**num_echoes
    # m_TR holds m_0 times g q^N: one linear equation.
    start = (1 - e - f * e * (1 - g + g * m * (1 - last))) / (1 + f * e * g * last)
    powers = [xp.ones_like(q)]
    for _ in range(num_echoes - 1):
        powers.append(powers[-1] * q)
    mz = m[..., None] + (start - m)[..., None] * xp.stack(powers, axis=-1)
    return (M0 * xp.sin(B1 * flip) * xp.exp(-TE / T2s))[..., None] * mz


def _check_fit(given: dict[str, Any], num_echoes: int, centre: int) -> None:
    """Refuses TI, TR, ESP between which a train does not fit, where their values are known."""
    values = on_host(given)
    if len(values) < len(given):
        return
    TI, TR, ESP = np.broadcast_arrays(*(x.astype(float) for x in values.values()))
    before, after = TI - centre * ESP, TR - TI - (num_echoes - centre) * ESP
    rounding = 1e-6 if any(x.dtype == np.float32 for x in values.values()) else 1e-9
    wrong = ~(np.minimum(before, after) >= -rounding * TR)
    if np.any(wrong):
        TI, TR, ESP, before, after = (x[wrong].flat[0] for x in (TI, TR, ESP, before, after))
        raise ValueError(
            f"TI={TI}, TR={TR}: a train of {num_echoes} x ESP={ESP} s between inversions, echo "
            f"{centre} at TI, is allowed; {before:.6g} s are left before it, {after:.6g} after"
        )
