"""Extended phase graphs as formulas of the array API: readable, exact, differentiable by torch.

The equations and signs are those of epg.py; F_k, conj(F_-k) and Z_k lie along the last axis.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.epg_arguments import tissue_of


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
    """The same train in the array API, differentiable in every argument; nothing checked.

    s_n = F_0(n) exp(-TE_n / T2), with the rotations and shifts above.

    Args:
        flip, phase, TR, TE, T1, T2, B1, TI: as above.
        orders: how many are kept; None: all that can reach an echo.
    """
    pulses = {"flip": flip, "phase": phase, "TR": TR, "TE": TE}
    xp, kind, shape, (T1, T2, B1) = tissue_of(T1, T2, B1, pulses, {"TI": TI}, check=False)
    like = next(x for x in (T1, T2, B1) if hasattr(x, "shape"))
    number = functools.partial(as_array, xp, kind, like)
    T1, T2, B1 = (number(x)[..., None] for x in (T1, T2, B1))
    num = flip.shape[0]
    flip, phase, TR, TE = (
        xp.broadcast_to(number(x), (num,)) for x in (flip, whole_turns_off(phase), TR, TE)
    )
    orders = orders or all_orders(flip)
    start = xp.ones(T1.shape, dtype=kind, device=device_of(like))
    if TI is not None:
        start = 1.0 - 2.0 * xp.exp(-number(TI)[..., None] / T1)
    Z = xp.astype(xp.broadcast_to(start, (*shape, 1)), complex_of(xp, kind))
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
    """The same echoes in the array API, differentiable; nothing checked.

    Orders move by one every ESP / 2; odd ones are filled at a pulse, F_0 at an echo.

    Args:
        ESP, num_echoes, T1, T2, B1: as above.
    """
    xp, kind, shape, (T1, T2, B1) = tissue_of(T1, T2, B1, {"ESP": ESP}, {}, check=False)
    like = next(x for x in (T1, T2, B1) if hasattr(x, "shape"))
    number = functools.partial(as_array, xp, kind, like)
    T1, T2, B1, ESP = (number(x)[..., None] for x in (T1, T2, B1, ESP))
    e1, e2, half = xp.exp(-ESP / T1), xp.exp(-ESP / T2), xp.exp(-0.5 * ESP / T2)
    zero = number(0.0)
    up = xp.broadcast_to(xp.sin(0.5 * math.pi * B1) * half, (*shape, 1))
    up = xp.astype(up, complex_of(xp, kind))
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


def all_orders(flip: Any) -> int:
    """How many orders can reach an echo of a train of pulses with these angles, flip (TRs,)."""
    return (len(flip) + 1) // 2


def whole_turns_off(phase: Any) -> Any:
    """The phase, rad, less whole turns, which float32 would not resolve."""
    return phase - 2 * math.pi * namespace(phase).round(phase / (2 * math.pi))


def pulse(xp: Any, angle: Any, phase: Any, up: Any, down: Any, Z: Any) -> tuple[Any, Any, Any]:
    """F_k, conj(F_-k) and Z_k after a pulse.

    Args:
        xp: array library.
        angle, phase: of the pulse, rad.
        up, down, Z: F_k, conj(F_-k), Z_k before it.
    """
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


def as_array(xp: Any, kind: Any, like: Any, x: Any) -> Any:
    """x, of xp or of NumPy or a number, as an array of xp, of dtype kind, where like lies."""
    if hasattr(x, "shape") and not is_numpy(x):
        return xp.astype(x, kind)
    return xp.asarray(x, dtype=kind, device=device_of(like))


def complex_of(xp: Any, kind: Any) -> Any:
    """The complex dtype of xp of the precision of the real dtype kind."""
    return xp.complex128 if kind == xp.float64 else xp.complex64
