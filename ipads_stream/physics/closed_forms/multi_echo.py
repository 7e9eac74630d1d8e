"""Echoes after one excitation: decay with T2, and with T2* and off-resonance."""

from __future__ import annotations

from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.physics.arrays import phasor
from ipads_stream.physics.closed_forms.steady_states import prepared


def spin_echoes(TE: Any, T2: Any, M0: Any = 1.0) -> Float[Any, "... echoes"]:
    """The echoes of ideal 180 degree pulses: S_n = M0 exp(-TE_n / T2).

    Args:
        TE: from the excitation to every echo, s, (echoes,).
        T2: relaxation time, s, a number or any shape (...,).
        M0: transverse magnetisation after the excitation, a number or (...,).

    Raises:
        ValueError: a value is out of range.

    Source: Carr and Purcell, Physical Review 94, 630 (1954).
    """
    xp, TE, T2, M0 = prepared(TE=TE, T2=T2, M0=M0)
    return M0[..., None] * xp.exp(-TE / T2[..., None])


def gradient_echoes(TE: Any, T2s: Any, df: Any = 0.0, M0: Any = 1.0) -> Complex[Any, "... echoes"]:
    """The echoes of alternating gradients: S_n = M0 exp(-TE_n / T2*) exp(-2 pi i df TE_n).

    The receiver is in phase with the magnetisation after the excitation.

    Args:
        TE: from the excitation to every echo, s, (echoes,).
        T2s: T2*, s, a number or any shape (...,).
        df: off-resonance, Hz, a number or (...,).
        M0: transverse magnetisation after the excitation, a number or (...,).

    Raises:
        ValueError: a value is out of range.

    Source: Ma and Wehrli, Journal of Magnetic Resonance B 111, 61 (1996).
    """
    xp, TE, T2s, df, M0 = prepared(TE=TE, T2s=T2s, df=df, M0=M0)
    decay = M0[..., None] * xp.exp(-TE / T2s[..., None])
    return phasor(xp, decay, -df[..., None] * TE)
