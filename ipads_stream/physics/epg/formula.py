"""Extended phase graphs as formulas of the array API: readable, exact, differentiable by torch.

The equations and signs are those of regular.py; F_k, conj(F_-k) and Z_k lie along the last axis.
"""

from __future__ import annotations

import math
from typing import Any

from ipads_stream.core.backend import namespace
from ipads_stream.physics.arrays import as_float, complex_of
from ipads_stream.physics.epg.arguments import Tissue, tissue_of


def fisp_formula(
    flip: Any,
    phase: Any,
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    TI: Any = None,
    orders: int | None = None,
) -> Any:
    """:func:`fisp` in the array API, differentiable in every argument; nothing checked.

    orders: how many are kept; None: all that can reach an echo.
    """
    pulses = {"flip": flip, "phase": phase, "TR": TR, "TE": TE}
    tissue = tissue_of(T1, T2, B1, pulses, {"TI": TI}, check=False)
    like, num = tissue.like, flip.shape[0]
    xp = namespace(like)
    T1, T2, B1 = (x[..., None] for x in tissue.values)
    flip, phase, TR, TE = (
        xp.broadcast_to(as_float(x, like), (num,)) for x in (flip, whole_turns_off(phase), TR, TE)
    )
    orders = orders or all_orders(flip)
    start = xp.broadcast_to(as_float(start_of(tissue, TI), like)[..., None], (*tissue.shape, 1))
    Z = xp.astype(start, getattr(xp, complex_of(tissue.kind)))
    empty = Z * 0.0
    up, down, echoes = empty, empty, []
    for n in range(num):
        e1, e2, echo = xp.exp(-TR[n] / T1), xp.exp(-TR[n] / T2), xp.exp(-TE[n] / T2)
        up, down, Z = pulse(xp, flip[n] * B1, phase[n], up, down, Z)
        echoes.append(up[..., 0] * echo[..., 0])
        count = max(1, min(orders, n + 2, num - 1 - n))
        down = xp.concat([e2 * down[..., 1:], empty, empty], axis=-1)[..., :count]
        up = xp.concat([conjugate(xp, down[..., :1]), e2 * up], axis=-1)[..., :count]
        Z = xp.concat([e1 * Z[..., :1] + (1.0 - e1), e1 * Z[..., 1:], empty], axis=-1)[..., :count]
    return xp.stack(echoes, axis=-1)


def cpmg_formula(ESP: Any, num_echoes: int, T1: Any, T2: Any, B1: Any = 1.0) -> Any:
    """:func:`cpmg` in the array API, differentiable; nothing checked.

    Orders move by one every ESP / 2; odd ones are filled at a pulse, F_0 at an echo.
    """
    tissue = tissue_of(T1, T2, B1, {"ESP": ESP}, {}, check=False)
    xp = namespace(tissue.like)
    T1, T2, B1, ESP = (x[..., None] for x in (*tissue.values, as_float(ESP, tissue.like)))
    e1, e2, half = xp.exp(-ESP / T1), xp.exp(-ESP / T2), xp.exp(-0.5 * ESP / T2)
    zero = as_float(0.0, tissue.like)
    up = xp.broadcast_to(xp.sin(0.5 * math.pi * B1) * half, (*tissue.shape, 1))
    up = xp.astype(up, getattr(xp, complex_of(tissue.kind)))
    empty = up * 0.0
    down, Z, echoes = empty, empty, []
    for n in range(num_echoes):
        up, down, Z = pulse(xp, math.pi * B1, zero, up, down, Z)
        echoes.append(conjugate(xp, down[..., 0]) * half[..., 0])
        count = max(1, min(n + 2, num_echoes - 1 - n))
        up = xp.concat([conjugate(xp, e2 * down[..., :1]), e2 * up], axis=-1)[..., :count]
        down = xp.concat([e2 * down[..., 1:], empty, empty], axis=-1)[..., :count]
        Z = xp.concat([e1 * Z, empty], axis=-1)[..., :count]
    return xp.stack(echoes, axis=-1)


def start_of(tissue: Tissue, TI: Any) -> Any:
    """The Mz before a train: 1, or that a time TI, s, after an inversion."""
    if TI is None:
        return 1.0
    return 1.0 - 2.0 * namespace(tissue.like).exp(-as_float(TI, tissue.like) / tissue.values[0])


def all_orders(flip: Any) -> int:
    """How many orders can reach an echo of a train of pulses with these angles, flip (TRs,)."""
    return (len(flip) + 1) // 2


def whole_turns_off(phase: Any) -> Any:
    """The phase, rad, less whole turns, which float32 would not resolve."""
    return phase - 2 * math.pi * namespace(phase).round(phase / (2 * math.pi))


def pulse(xp: Any, angle: Any, phase: Any, up: Any, down: Any, Z: Any) -> tuple[Any, Any, Any]:
    """F_k, conj(F_-k) and Z_k (up, down, Z) after a pulse of an angle and a phase, rad."""
    c, s = xp.cos(angle), xp.sin(angle)
    kept, swapped = 0.5 * (1.0 + c), 0.5 * (1.0 - c)
    turned = xp.astype(xp.cos(phase), Z.dtype) + 1j * xp.astype(xp.sin(phase), Z.dtype)
    back = conjugate(xp, turned)
    return (
        kept * up + swapped * (turned * turned * down) + s * (1j * turned * Z),
        kept * down + swapped * (back * back * up) - s * (1j * back * Z),
        c * Z + (0.5 * s) * (1j * (back * up - turned * down)),
    )


def conjugate(xp: Any, x: Any) -> Any:
    """As xp.conj of x, which torch's vmap does not know."""
    return xp.astype(xp.real(x), x.dtype) - 1j * xp.astype(xp.imag(x), x.dtype)
