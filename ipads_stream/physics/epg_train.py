"""Extended phase graphs of any train: pulses of any angle and phase, gradients, diffusion, df.

A train is a list of steps. A step is a pulse, then an interval of free precession in which the
gradients add a whole number m of turns across the voxel, then an echo where one is asked for:

    F_k -> F_(k + m) exp(-t / T2 - 2 pi i df t - D q^2 t (k^2 + k m + m^2 / 3))
    Z_k -> Z_k exp(-t / T1 - D q^2 t k^2) + (1 - exp(-t / T1)) [k = 0]

q, rad/m, is the dephasing of one order; the gradient is constant in its interval, so that a short
lobe is a step of its own. What a sequence is called is a matter of its steps: see epg_schedules.py.

Source: Weigel et al., Extended phase graphs with anisotropic diffusion, Journal of Magnetic
Resonance 205(2), 2010; Weigel, Journal of Magnetic Resonance Imaging 41(2), 2015.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Num

from ipads_stream.core.backend import device_of, is_numpy
from ipads_stream.physics.epg_arguments import (
    CRUSHED,
    as_sequence,
    check_diffusion,
    steps_of,
    tissue_of,
)
from ipads_stream.physics.epg_formula import as_array, complex_of, conjugate, pulse, whole_turns_off
from ipads_stream.physics.epg_kernels import columns_of, fill_train, runs_in_kernel


class Train(NamedTuple):
    """Steps of a train; ``epg.train(*steps, T1=..., T2=...)`` runs it.

    flip, phase: of the pulse that begins the step, rad, (steps,); a flip of 0 is no pulse.
    duration: of the interval after it, s, (steps,).
    shift: whole turns that the gradients of the interval add, (steps,), on the host.
    echo: whether the end of the interval is recorded, (steps,), on the host.
    """

    flip: Any
    phase: Any
    duration: Any
    shift: Any
    echo: Any


def train(
    flip: Num[Any, " steps"] | Sequence[float],
    phase: Num[Any, " steps"] | Sequence[float],
    duration: Num[Any, " steps"] | Sequence[float],
    shift: np.ndarray,
    echo: np.ndarray,
    *,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    df: Any = 0.0,
    D: Any = 0.0,
    twist: float = 0.0,
    initial: Any = 1.0,
    orders: Any = None,
) -> Complex[Any, "... echoes"]:
    """F_0 at the end of every step that records an echo.

    A balanced train shifts nothing: then F_0 is the isochromat of that df, and the signal of a
    voxel the mean over the df in it. M0 = 1.

    Args:
        flip, phase: of the pulses, rad, (steps,); the echoes are not demodulated.
        duration: of the intervals, s, (steps,).
        shift: whole turns of dephasing in each interval, (steps,), NumPy; CRUSHED: nothing
            transverse is left.
        echo: which steps record, (steps,), NumPy, bool.
        T1, T2: s, numbers or (*atoms,); any shapes that broadcast; inf where nothing relaxes, else
            T2 at most 2 T1.
        B1: factor of the flip angles; a negative one turns by the phase pi.
        df: off-resonance, Hz.
        D: diffusion coefficient along the gradient, m^2/s.
        twist: dephasing of one order, rad/m: 2 pi over the length that it takes for a turn.
        initial: Mz before the first pulse.
        orders: how many are kept, from 0 on; None: all that can reach an echo.

    Returns:
        complex, (*atoms, echoes), of the precision and library of T1, T2, B1; where they are
        numbers of those of the other arrays; whole numbers count as float64. NumPy, CuPy and torch
        run in the kernel of the device; what torch follows is computed as formula, differentiable
        in every argument but shift, echo and twist.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit; values of the tissue are
            checked on the host only.
        TypeError: as for fisp.
    """
    flip, phase, duration = map(as_sequence, (flip, phase, duration))
    pulses = {"flip": flip, "phase": phase, "duration": duration}
    more = {"df": df, "D": D, "initial": initial}
    xp, kind, shape, tissue = tissue_of(T1, T2, B1, pulses, more)
    shift, echo, orders = steps_of(flip, phase, duration, shift, echo, orders)
    check_diffusion(df, D, twist, initial)
    counts = _counts(shift, echo, orders)
    steps, atoms = (flip, phase, duration, shift, echo), (*tissue, df, D, initial)
    given = (*steps[:3], *atoms)
    if runs_in_kernel(tissue, given):
        like = next(x for x in tissue if hasattr(x, "shape"))
        atoms = tuple(as_array(xp, kind, like, x) if hasattr(x, "shape") else x for x in atoms)
        size = (*shape, int(echo.sum()))
        out = xp.empty(size, dtype=complex_of(xp, kind), device=device_of(like))
        with columns_of(*atoms, out, shape=shape) as (*columns, target):
            fill_train(steps, columns, twist, counts, target)
        return out
    return train_formula(*steps, *atoms, twist=twist, orders=orders)


def train_formula(
    flip: Any,
    phase: Any,
    duration: Any,
    shift: np.ndarray,
    echo: np.ndarray,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    df: Any = 0.0,
    D: Any = 0.0,
    initial: Any = 1.0,
    *,
    twist: float = 0.0,
    orders: int | None = None,
) -> Any:
    """The same echoes in the array API, differentiable by torch; nothing checked.

    Args:
        flip, phase, duration, shift, echo, T1, T2, B1, df, D, initial, twist, orders: as for train.
    """
    given = {"flip": flip, "phase": phase, "duration": duration}
    more = {"df": df, "D": D, "initial": initial}
    xp, kind, shape, tissue = tissue_of(T1, T2, B1, given, more, check=False)
    like = next(x for x in tissue if hasattr(x, "shape"))
    number = functools.partial(as_array, xp, kind, like)
    columns = [number(x)[..., None] for x in (*tissue, df, D)]
    pulses = [number(x) for x in (flip, whole_turns_off(phase), duration)]
    silent = flip == 0 if is_numpy(flip) else np.zeros(shift.shape, bool)
    Z = xp.broadcast_to(number(initial)[..., None], (*shape, 1))
    Z = xp.astype(Z, complex_of(xp, kind))
    up, down, echoes = Z * 0.0, Z * 0.0, []
    for n, count in enumerate(_counts(shift, echo, orders)):
        angle, axis, time = (x[n] for x in pulses)
        if not silent[n]:
            up, down, Z = pulse(xp, angle * columns[2], axis, up, down, Z)
        state = _relaxed(xp, up, down, Z, time, int(shift[n]), columns, twist)
        up, down, Z = _shifted(xp, *state, int(shift[n]), count)
        if echo[n]:
            echoes.append(up[..., 0])
    return xp.stack(echoes, axis=-1)


def _counts(shift: np.ndarray, echo: np.ndarray, orders: int | None) -> list[int]:
    """Orders after each step up to the last echo that are filled and can return to an echo."""
    last = int(np.flatnonzero(echo)[-1]) + 1
    moved = np.where(shift == CRUSHED, 0, np.abs(shift))[:last]
    filled = np.cumsum(moved)
    counts = 1 + np.minimum(filled, filled[-1] - filled)
    return [int(x) for x in (counts if orders is None else np.minimum(counts, orders))]


def _relaxed(
    xp: Any, up: Any, down: Any, Z: Any, time: Any, shift: int, columns: Any, twist: float
) -> tuple[Any, Any, Any]:
    """F_k, conj(F_-k), Z_k after an interval, before they are shifted."""
    T1, T2, _, df, D = columns
    e1, e2, turns = xp.exp(-time / T1), xp.exp(-time / T2), 2 * math.pi * df * time
    turned = xp.astype(e2 * xp.cos(turns), Z.dtype) - 1j * xp.astype(e2 * xp.sin(turns), Z.dtype)
    k = xp.arange(Z.shape[-1], dtype=T1.dtype, device=device_of(T1))
    per_order = D * (twist**2 * time)
    along, against = (k * k + sign * shift * k + shift**2 / 3 for sign in (1, -1))
    up = xp.exp(-per_order * along) * (turned * up)
    down = xp.exp(-per_order * against) * (conjugate(xp, turned) * down)
    Z = xp.exp(-per_order * k * k) * (e1 * Z)
    return up, down, xp.concat([Z[..., :1] + (1.0 - e1), Z[..., 1:]], axis=-1)


def _shifted(xp: Any, up: Any, down: Any, Z: Any, shift: int, count: int) -> tuple[Any, Any, Any]:
    """The same after F_k -> F_(k + shift), for the orders below count."""
    if shift == CRUSHED:
        up, down, shift = up * 0.0, down * 0.0, 0
    if shift < 0:
        down, up, Z = _shifted(xp, down, up, Z, -shift, count)
        return up, down, Z
    if shift:
        crossed = [conjugate(xp, _at(xp, down, i)) for i in range(shift, 0, -1)]
        up = xp.concat([*crossed, up], axis=-1)
        rest = down[..., min(shift + 1, down.shape[-1]) :]
        down = xp.concat([conjugate(xp, up[..., :1]), rest], axis=-1)
    return tuple(_resized(xp, x, count) for x in (up, down, Z))  # type: ignore[return-value]


def _at(xp: Any, x: Any, i: int) -> Any:
    return x[..., i : i + 1] if i < x.shape[-1] else x[..., :1] * 0.0


def _resized(xp: Any, x: Any, count: int) -> Any:
    """The first so many orders; zeros where there are fewer."""
    lacking = count - x.shape[-1]
    if lacking > 0:
        return xp.concat([x, *[x[..., :1] * 0.0] * lacking], axis=-1)
    return x[..., :count]
