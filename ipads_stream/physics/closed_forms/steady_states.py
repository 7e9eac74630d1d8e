"""Steady states that equal or alternating pulses have in closed form, by the array API.

Any argument but a whole number is a number or an array; arrays broadcast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import namespace
from ipads_stream.physics import arguments as checks
from ipads_stream.physics.arrays import as_float, on_host, phasor

# A steady state needs recovery: T1 is finite. Of a single excitation TR may be infinite.
_RANGES = {"T1": checks.POSITIVE_TIME, "TR": checks.RELAXATION, "ESP": checks.RELAXATION}


def prepared(**arguments: Any) -> tuple[Any, ...]:
    """The array library, and all ``arguments`` checked, as its arrays of the common floating dtype.

    Without any array that is NumPy's float64; whole numbers do not count for the dtype.
    """
    like = checks.leading_array(arguments)
    if "TR" in arguments:  # elsewhere TE has an axis of its own
        checks.common_shape(arguments)
    checks.check_values(arguments, _RANGES)
    values = on_host(arguments)
    for early in ("TE", "TI"):
        if not {early, "TR"} <= values.keys():
            continue
        first, TR = np.broadcast_arrays(values[early], values["TR"])
        late = first > TR * (1 + (1e-9 if TR.dtype != np.float32 else 1e-6))
        if np.any(late):
            TR = TR[late].flat[0]
            raise ValueError(f"{early}={first[late].flat[0]}: at most TR={TR} is allowed")
    return namespace(like), *(as_float(x, like) for x in arguments.values())


def spin_echo(TR: Any, TE: Any, T1: Any, T2: Any, M0: Any = 1.0) -> Float[Any, "..."]:
    """The steady state of a 90 and a 180 degree pulse, for TR much longer than TE.

    S = M0 (1 - exp(-TR / T1)) exp(-TE / T2)

    Args:
        TR, TE: from an excitation to the next and to its echo, s.
        T1, T2: relaxation times, s.
        M0: magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range.

    Source: Yang et al., Physics-driven synthetic data learning for biomedical magnetic resonance,
    IEEE Signal Processing Magazine 40(2), 2023, Eq. (3).
    """
    xp, TR, TE, T1, T2, M0 = prepared(TR=TR, TE=TE, T1=T1, T2=T2, M0=M0)
    return M0 * -xp.expm1(-TR / T1) * xp.exp(-TE / T2)


def spoiled_gradient_echo(
    flip: Any, TR: Any, TE: Any, T1: Any, T2s: Any, df: Any = 0.0, B1: Any = 1.0, M0: Any = 1.0
) -> Complex[Any, "..."]:
    """The steady state of equal pulses with ideal spoiling.

    S = M0 sin(a) (1 - E) / (1 - E cos(a)) exp(-TE / T2*) exp(-2 pi i df TE),
    a = B1 flip, E = exp(-TR / T1)

    The receiver is a quarter of a turn ahead of the pulse, so that a spin at df = 0 gives a real
    signal: M+ = i S for a pulse along x.

    Args:
        flip: nominal flip angle, rad.
        TR, TE: from a pulse to the next and to its echo, s.
        T1, T2s: relaxation times, s; T2* with what dephases within the voxel.
        df, B1, M0: off-resonance in Hz, RF relative to nominal, magnetisation in equilibrium.

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
    return phasor(xp, steady * xp.exp(-TE / T2s), -df * TE)


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

    The receiver follows the pulses a quarter of a turn ahead: bloch and epg, whose receiver stands
    still, give M+ = i exp(i phase of the pulse) S, the phases being 0, increment, 2 increment, ...
    With the increment of pi, df = 0 lies in the middle of the pass band and gives a real signal. T1
    is finite: what does not recover has no steady state.

    Args:
        flip: nominal flip angle, rad.
        TR, TE: from a pulse to the next and to its sample, s.
        T1, T2: relaxation times, s.
        df, B1, M0: off-resonance in Hz, RF relative to nominal, magnetisation in equilibrium.
        increment: of the phase of the pulses, rad.

    Raises:
        ValueError: a value is out of range.

    Source: Freeman and Hill, Journal of Magnetic Resonance 4, 366 (1971).
    """
    xp, flip, TR, TE, T1, T2, df, B1, M0, increment = prepared(
        flip=flip, TR=TR, TE=TE, T1=T1, T2=T2, df=df, B1=B1, M0=M0, increment=increment
    )
    checks.check_values({"TR": TR}, {"TR": checks.POSITIVE_TIME})
    turns = df * TR + increment / (2 * math.pi)
    b = 2 * math.pi * (turns - xp.round(turns))
    c, E1, E2 = xp.cos(B1 * flip), xp.exp(-TR / T1), xp.exp(-TR / T2)
    d = (1 - E1 * c) * (1 - E2 * xp.cos(b)) - (E1 - c) * (E2 - xp.cos(b)) * E2
    steady = M0 * xp.sin(B1 * flip) * -xp.expm1(-TR / T1) / d * xp.exp(-TE / T2)
    echo = -df * TE
    return phasor(xp, steady, echo) - phasor(xp, steady * E2, echo + turns)


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

    The sign is kept: negative before the zero crossing. For a = pi / 2 and f = 1 it is
    M0 (1 - 2 exp(-TI / T1) + exp(-TR / T1)).

    Args:
        TI: from the inversion to the excitation, s.
        TR: from an inversion to the next, s; inf where it starts from equilibrium.
        T1: longitudinal relaxation time, s.
        TE: from the excitation to the echo, s; an echo's refocusing leaves TR as it is.
        T2: of the echo's decay, T2 or T2*, s.
        flip: nominal flip angle of the excitation, rad.
        efficiency: f, Mz after the inversion is -f times that before; 1 inverts, 0 saturates. It is
            adiabatic: B1 leaves it.
        B1, M0: RF of the excitation relative to nominal, magnetisation in equilibrium.

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

    Arrays broadcast to (...,), the echoes come last. The sign is kept.

    Args:
        flip: nominal flip angle, rad.
        TI: from the inversion to the pulse of the central echo, s, at least centre ESP.
        TR: from an inversion to the next, s.
        ESP: from a pulse of the train to the next, s.
        num_echoes: N, pulses of the train.
        T1, T2s: longitudinal relaxation time and T2*, s.
        TE: from a pulse to its echo, s.
        centre: number of the central echo, from 0 on.
        efficiency: f, Mz after the inversion is -f times that before; B1 leaves it.
        B1, M0: RF of the train relative to nominal, magnetisation in equilibrium.

    Raises:
        ValueError: a value is out of range, or the train does not fit between inversions.

    Source: Deichmann and Haase, Journal of Magnetic Resonance 96, 608 (1992), for the approach to
    the driven equilibrium; Wang et al., PLoS ONE 9(5), e96899 (2014), for the steady state.
    """
    num_echoes = checks.whole_number("num_echoes", num_echoes)
    allowed = f"a whole number from 0 to {num_echoes - 1}"
    centre = checks.whole_number("centre", centre, 0, allowed, high=num_echoes - 1)
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
