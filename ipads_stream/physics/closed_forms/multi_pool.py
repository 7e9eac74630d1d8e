"""Pools of water without exchange: the decay of a voxel in which each has its own T2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Num

from ipads_stream.core.backend import is_torch, namespace
from ipads_stream.physics.arrays import as_float, host, is_array, phasor
from ipads_stream.physics.closed_forms.steady_states import prepared
from ipads_stream.physics.epg.regular import cpmg

_EQUAL = 1e-6  # of the echo spacing, between echo times of single precision


def decay(
    TE: Any, fractions: Any, T2: Any, B1: Any = None, *, df: Any = None, T1: Any = 1.0
) -> Num[Any, "... echoes"]:
    """The echoes of a voxel: those of its pools, added in proportion to their fractions.

    Without B1, of gradient echoes (T2 is T2*) or ideal 180 degree pulses:

        s_n = sum_p f_p exp(-TE_n / T2_p) [exp(-2 pi i df_p TE_n)]

    With B1, of a train 90 B1 - 180 B1 - 180 B1 ... degrees with its stimulated echoes:

        s_n = sum_p f_p EPG_n(T1_p, T2_p, B1)

    Args:
        TE: from the excitation to every echo, s, (echoes,), also a list or of NumPy; with B1 n ESP,
            n = 1, 2, ..., which can be read.
        fractions: of the pools, (*batch, pools); they need not add up to 1.
        T2: relaxation time of the pools, s, (*batch, pools); T2* of gradient echoes.
        B1: factor of all flip angles, number or (*batch,); None: no train of pulses.
        df: off-resonance of the pools, Hz, (*batch, pools), without B1 only; None: real signals.
        T1: of the pools, s, number or (*batch, pools); stimulated echoes alone feel it.

    Returns:
        (*batch, echoes), real, with df complex, of the library and precision of the arguments.

    Raises:
        ValueError: a value is out of range, the shapes do not fit, df given with B1, or echo times
            that are no train.
        TypeError: an argument is neither an array nor a number, or arrays of several libraries.

    Source: Mackay et al., In vivo visualization of myelin water in brain by magnetic resonance,
    Magnetic Resonance in Medicine 31(6), 1994; the train: physics/epg/regular.py.
    """
    if B1 is None:
        arrays = [x for x in (fractions, T2) if is_array(x)]
        floating = [x for x in arrays if namespace(x).isdtype(x.dtype, "real floating")]
        if floating and isinstance(TE, (np.ndarray, Sequence)):
            TE = as_float(TE, floating[0])
        given = {"TE": TE, "fractions": fractions, "T2": T2} | ({} if df is None else {"df": df})
        xp, TE, fractions, T2, *shifts = prepared(**given)
        _check_pools(fractions, T2, *shifts)
        echoes = fractions[..., None] * xp.exp(-TE / T2[..., None])
        if shifts:
            echoes = phasor(xp, echoes, -shifts[0][..., None] * TE)
        return xp.sum(echoes, axis=-2)
    if df is not None:
        raise ValueError("df: None is allowed with B1, spin echoes refocus it")
    ESP, num_echoes = _train(TE)
    xp, fractions, T2, B1, T1 = prepared(fractions=fractions, T2=T2, B1=B1, T1=T1)
    _check_pools(fractions, T2)
    echoes = xp.real(cpmg(ESP, num_echoes, T1, T2, B1[..., None]))
    return xp.sum(fractions[..., None] * echoes, axis=-2)


def _check_pools(fractions: Any, *others: Any) -> None:
    if fractions.ndim == 0 or any(x.ndim and x.shape[-1] != fractions.shape[-1] for x in others):
        shapes = ", ".join(str(tuple(x.shape)) for x in (fractions, *others))
        raise ValueError(f"fractions, T2, df: shapes {shapes}; the same number of pools is allowed")


def _train(TE: Any) -> tuple[Any, int]:
    """Echo spacing, by which torch differentiates where it holds the times, and their number."""
    times = host(TE) if is_array(TE) else np.atleast_1d(np.asarray(TE, float))
    if times is None or times.ndim != 1 or times.size == 0:
        raise ValueError("TE: one axis of times that can be read is allowed with B1")
    ESP = float(times[0])
    expected = ESP * np.arange(1, times.size + 1)
    if not (ESP > 0 and np.abs(times - expected).max() <= _EQUAL * ESP * times.size):
        raise ValueError(f"TE={times[:3].tolist()}...: ESP, 2 ESP, 3 ESP, ... is allowed with B1")
    return TE[0] if is_torch(TE) else ESP, int(times.size)
