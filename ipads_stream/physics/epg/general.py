"""Extended phase graphs of any train: pulses of any angle and phase, gradients, diffusion, df.

A train is a list of steps. A step is a pulse, then an interval of free precession in which the
gradients add a whole number m of turns across the voxel, then an echo where one is asked for:

    F_k -> F_(k + m) exp(-t / T2 - 2 pi i df t - D q^2 t (k^2 + k m + m^2 / 3))
    Z_k -> Z_k exp(-t / T1 - D q^2 t k^2) + (1 - exp(-t / T1)) [k = 0]

q, rad/m, is the dephasing of one order; the gradient is constant in its interval, so that a short
lobe is a step of its own. What a sequence is called is a matter of its steps (gradient_echoes,
spin_echoes): a magnetisation along i exp(i phase) follows an excitation of that phase, so that the
condition of Carr, Purcell, Meiboom and Gill is an excitation a quarter turn behind the refocusing.

Source: Weigel et al., Extended phase graphs with anisotropic diffusion, Journal of Magnetic
Resonance 205(2), 2010; Weigel, Journal of Magnetic Resonance Imaging 41(2), 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Num

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.arguments import leading_array
from ipads_stream.physics.arrays import as_float, as_sequence, complex_of, on_host
from ipads_stream.physics.dispatch import dispatched
from ipads_stream.physics.epg.arguments import CRUSHED, steps_of, tissue_of
from ipads_stream.physics.epg.formula import conjugate, pulse, whole_turns_off
from ipads_stream.physics.epg.launch import fill_train


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
        run in the kernel of the device; what torch differentiates is computed by the formula, in
        every argument but shift, echo and twist.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit; values of the tissue are
            checked on the host only.
        TypeError: as for fisp.
    """
    flip, phase, duration = map(as_sequence, (flip, phase, duration))
    pulses = {"flip": flip, "phase": phase, "duration": duration}
    atoms = {"df": df, "D": D, "initial": initial}
    tissue = tissue_of(T1, T2, B1, pulses, atoms)
    shift, echo, orders = steps_of(flip, phase, duration, shift, echo, orders)
    if float(twist) == 0 and any(np.any(x > 0) for x in on_host({"D": D}).values()):
        raise ValueError(f"twist={twist}: with D the dephasing of one order in rad/m is needed")
    xp, steps = namespace(tissue.like), (flip, phase, duration, shift, echo)
    names = ("T1", "T2", "B1", *atoms)
    columns = dict(zip(names, tissue.columns(*atoms.values()), strict=True))
    counts, num_echoes = _counts(shift, echo, orders), int(echo.sum())
    echoes = dispatched(
        {**pulses, **columns},
        lambda out, x: fill_train(steps, [x[name] for name in names], twist, counts, out),
        lambda: train_formula(*steps, *tissue.values, *atoms.values(), twist=twist, orders=orders),
        like=tissue.like,
        shape=(math.prod(tissue.shape), num_echoes),
        dtype=complex_of(tissue.kind),
    )
    return xp.reshape(echoes, (*tissue.shape, num_echoes))


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
    """:func:`train` in the array API, differentiable by torch; nothing checked."""
    given = {"flip": flip, "phase": phase, "duration": duration}
    more = {"df": df, "D": D, "initial": initial}
    tissue = tissue_of(T1, T2, B1, given, more, check=False)
    like, xp = tissue.like, namespace(tissue.like)
    columns = [as_float(x, like)[..., None] for x in (*tissue.values, df, D)]
    pulses = [as_float(x, like) for x in (flip, whole_turns_off(phase), duration)]
    silent = flip == 0 if is_numpy(flip) else np.zeros(shift.shape, bool)
    Z = xp.broadcast_to(as_float(initial, like)[..., None], (*tissue.shape, 1))
    Z = xp.astype(Z, getattr(xp, complex_of(tissue.kind)))
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
        crossed = _resized(xp, down, shift + 1)[..., 1:]
        up = xp.concat([conjugate(xp, xp.flip(crossed, axis=-1)), up], axis=-1)
        higher = down[..., min(shift + 1, down.shape[-1]) :]
        down = xp.concat([conjugate(xp, up[..., :1]), higher], axis=-1)
    return tuple(_resized(xp, x, count) for x in (up, down, Z))  # type: ignore[return-value]


def _resized(xp: Any, x: Any, count: int) -> Any:
    """The first ``count`` orders; zeros where there are fewer."""
    return xp.concat([x, *[x[..., :1] * 0.0] * (count - x.shape[-1])], axis=-1)[..., :count]


def quadratic_phase(num: int, increment: float) -> np.ndarray:
    """Phases of RF spoiling, increment n (n + 1) / 2, less whole turns, rad, (num,).

    Args:
        num: of pulses.
        increment: by which the step of the phase grows from pulse to pulse, rad (117 degrees).

    Source: Zur et al., Spoiling of transverse magnetization in steady-state sequences, Magnetic
    Resonance in Medicine 21(2), 1991.
    """
    n = np.arange(num)
    return np.mod(increment * (n * (n + 1) // 2), 2 * math.pi)


def gradient_echoes(flip: Any, phase: Any, TR: Any, TE: Any, shift: int = 1) -> Train:
    """Pulse, echo, then dephasing: FISP, RF-spoiled with quadratic_phase, balanced with shift 0.

    Args:
        flip, phase: of the pulses, rad, (TRs,).
        TR: from a pulse to the next, s, number or (TRs,).
        TE: from a pulse to its echo, s, number or (TRs,).
        shift: turns of dephasing after the echo; 0 is a balanced train (of one isochromat, see
            train); CRUSHED: ideal spoiling.
    """
    flip, phase, TR, TE = _columns(flip, phase, TR, TE)
    return _steps([(flip, phase, TE, 0, True), (0 * flip, 0 * phase, TR - TE, shift, False)])


def spin_echoes(
    flip: Any,
    phase: Any,
    ESP: Any,
    excitation: Any = math.pi / 2,
    excitation_phase: Any = -math.pi / 2,
    crusher: int = 1,
) -> Train:
    """Excitation, then refocusing pulses with an echo half way between: multi-echo, TSE, non-CPMG.

    Args:
        flip, phase: of the refocusing pulses, rad, (echoes,).
        ESP: from echo to echo, s, number or (echoes,).
        excitation, excitation_phase: of the first pulse, rad; with -pi/2 and refocusing pulses of
            phase 0 the train meets the CPMG condition.
        crusher: turns of dephasing on each side of a refocusing pulse.
    """
    flip, phase, ESP = _columns(flip, phase, ESP)
    first = _columns(flip[:1] * 0 + excitation, excitation_phase, ESP[:1] / 2)
    refocused = _steps([(flip, phase, ESP / 2, crusher, True),
                        (0 * flip, 0 * phase, ESP / 2, crusher, False)])  # fmt: skip
    start, xp = _steps([(*first, crusher, False)]), namespace(flip)
    numbers = (xp.concat(pair) for pair in zip(start[:3], refocused[:3], strict=True))
    whole = (np.concatenate(pair) for pair in zip(start[3:], refocused[3:], strict=True))
    return Train(*numbers, *whole)


def _columns(flip: Any, *others: Any) -> list[Any]:
    """All as arrays of the library of flip, of its length; whole numbers in float64."""
    flip = as_sequence(flip)
    xp, like = namespace(flip), leading_array({"flip": flip})
    return [xp.broadcast_to(as_float(x, like), flip.shape) for x in (flip, *others)]


def _steps(parts: list[Any]) -> Train:
    """The parts of every pulse as steps, one pulse after the other."""
    xp, num = namespace(parts[0][0]), parts[0][0].shape[0]
    turn = [xp.reshape(xp.stack([part[i] for part in parts], axis=-1), (-1,)) for i in range(3)]
    return Train(*turn, *(np.tile([part[i] for part in parts], num) for i in (3, 4)))
