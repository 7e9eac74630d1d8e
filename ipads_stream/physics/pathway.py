"""The coherence pathway of a sequence: what gradients and time have done to it at every sample.

Where one pathway makes the signal, a voxel's dephasing and diffusion have closed forms in it. An
excitation starts it, refocusing conjugates it; pulses act at their centre, in no time.

Axes: K step, S sample, J piece of time between pulses, samples and changes of the gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.arrays import is_array
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.waveforms import Pulse, Use, Waveforms

_BEFORE_EXCITATION = ("inversion", "saturation", "preparation")


@dataclass(frozen=True)
class Pathway:
    """State of the main coherence pathway at every sample.

    Attributes:
        k: gammabar times the integral of G since the excitation, negated by refocusing, 1/m,
            (S, 3); a spin at r is detected with the phase exp(-2 pi i k.r).
        tau: time since the excitation, negated by refocusing, s, (S,): 0 at a spin echo; a spin at
            df is detected with exp(-2 pi i df tau).
        b: (2 pi)^2 times the integral of |k|^2 since the excitation, s/m^2, (S,).
    """

    k: Float[Any, "S 3"]
    tau: Float[Any, " S"]
    b: Float[Any, " S"]


def along(waveforms: Waveforms, memory: float = math.inf, like: Any = None) -> Pathway:
    """The main coherence pathway, exact for gradients that are constant within steps.

    dk/dt = gammabar G, dtau/dt = 1, db/dt = (2 pi)^2 |k|^2; (k, tau, b) -> 0 at the centre of an
    excitation, (k, tau) -> -(k, tau) at that of a refocusing pulse

    Which piece of time belongs to which step is read from the numbers; of these pieces k, tau and b
    are sums, differentiable in gradient, dt and the centres of pulses.

    Args:
        waveforms: what is played; arrays of any library.
        memory: time after which no transverse magnetisation of an excitation is left, s: a few T2,
            or 0 where it is ideally spoiled. With inf only one excitation makes one pathway.
        like: array of whose library and device the result is to be, waveforms being of it or of
            NumPy; where None the result is on the host, and nothing is differentiated.

    Raises:
        ValueError: there is no single pathway, and why: a sample or refocusing comes before an
            excitation, excitations follow one another within the memory, a pulse other than
            refocusing falls between an excitation and its samples, or the use of a pulse is not
            known.

    Source: Stejskal and Tanner, Journal of Chemical Physics 42, 288 (1965), for b; Hennig, Concepts
    in Magnetic Resonance 3, 125 (1991), for pathways.
    """
    pulses = tuple(replace(p, centre=float(_host("centre", p.centre))) for p in waveforms.pulses)
    acting = [n for n, p in enumerate(pulses) if p.use in ("excitation", "refocusing")]
    gradient, dt = _host("gradient", waveforms.gradient), _host("dt", waveforms.dt)
    ends = np.concatenate(([0.0], np.cumsum(dt)))
    sampled = np.flatnonzero(np.asarray(waveforms.sampled, bool))
    _check(pulses, ends[sampled + 1], memory)
    # Edges of steps and centres of pulses in order of time, and where each of them went.
    times = np.concatenate((ends, [pulses[n].centre for n in acting]))
    ranks = np.concatenate((np.arange(len(ends)), [pulses[n].first - 0.5 for n in acting]))
    order = np.lexsort((ranks, times))
    place = np.argsort(order)
    step = np.clip(np.cumsum(order < len(ends))[:-1] - 1, 0, max(len(dt) - 1, 0))
    exact: Sequence[Any] = (gradient, dt, *(np.asarray(pulses[n].centre) for n in acting))
    if like is not None:
        centres = (waveforms.pulses[n].centre for n in acting)
        exact = [_as_float64(x, like) for x in (waveforms.gradient, waveforms.dt, *centres)]
    kinds = [pulses[n].use for n in acting]
    events, at = place[len(ends) :], place[sampled + 1]
    return _summed(exact[0], exact[1], exact[2:], order, step, events, kinds, at)


def _summed(
    gradient: Any,
    dt: Any,
    centres: Sequence[Any],
    order: np.ndarray,
    step: np.ndarray,
    events: np.ndarray,
    kinds: list[Use],
    at: np.ndarray,
) -> Pathway:
    """The pathway as sums over pieces of time.

    Args:
        gradient, dt, centres: of the steps, and of the pulses that act, in one library.
        order: of the edges of steps and, after them, the centres, in time, (J + 1,).
        step: to which each piece belongs, (J,).
        events, kinds, at: the edges at which pulses act and what they do; those of samples.
    """
    xp = namespace(dt)

    def picked(x: Any, index: np.ndarray) -> Any:
        where = xp.asarray(np.asarray(index, np.int64), dtype=xp.int64, device=device_of(dt))
        return xp.take(x, where, axis=0)

    times = (xp.cumulative_sum(dt, include_initial=True), *(c[None] for c in centres))
    times = picked(xp.concat(times), order)
    t = (times[1:] - times[:-1])[:, None]
    v = picked(GAMMA_BAR_1H * gradient, step)
    moved = xp.concat((v * t, t), axis=-1)  # (k, tau)
    passed = xp.cumulative_sum(moved, axis=0, include_initial=True)
    shift = xp.zeros_like(passed[0, :])
    shifts = [shift]
    for event, kind in zip(events, kinds, strict=True):
        here = passed[int(event), :]
        shift = -here if kind == "excitation" else -2 * here - shift
        shifts.append(shift)
    acted = np.searchsorted(events, np.arange(len(order)), side="right")
    # Refocusing negates what is there already, not what is still to come.
    state = passed + picked(xp.stack(shifts), acted)
    k = state[:-1, :3]
    grown = xp.sum(k * k + k * v * t + v * v * t * t / 3, axis=1) * t[:, 0]
    b = (2 * math.pi) ** 2 * xp.cumulative_sum(grown, include_initial=True)
    starts = np.array([e for e, kind in zip(events, kinds, strict=True) if kind == "excitation"])
    since = starts[np.maximum(np.searchsorted(starts, at, side="right") - 1, 0)] if len(at) else at
    state = picked(state, at)
    return Pathway(state[:, :3], state[:, 3], picked(b, at) - picked(b, since))


def _as_float64(x: Any, like: Any) -> Any:
    xp = namespace(like)
    if is_array(x) and not is_numpy(x):
        return xp.astype(x, xp.float64)
    return xp.asarray(x, dtype=xp.float64, device=device_of(like))


def _host(name: str, x: Any) -> np.ndarray:
    values = host(x)
    if values is None:
        raise ValueError(f"{name}: numbers are needed, they are hidden by a transform of torch")
    return np.asarray(values, float)


def check_memory(memory: float) -> None:
    """Refuse a memory of transverse magnetisation that is no time.

    Args:
        memory: s.

    Raises:
        ValueError: it is negative or nan.
    """
    if not memory >= 0:
        raise ValueError(f"memory={memory}: a time in s from 0 on is allowed")


def _check(pulses: tuple[Pulse, ...], samples: np.ndarray, memory: float) -> None:
    """Refuse pulses and samples that do not make a single pathway."""
    check_memory(memory)
    for early, late in itertools.pairwise(pulses):
        if late.centre <= early.centre:
            raise ValueError(
                f"pulses at {early.centre} s, {late.centre} s: pulses in order of time are allowed"
            )
    excitation: Pulse | None = None
    for n, pulse in enumerate(pulses):
        at = f"pulse {n} ({pulse.use}, at {pulse.centre} s)"
        if pulse.use == "excitation":
            if excitation is not None and pulse.centre - excitation.centre < memory:
                raise ValueError(
                    f"{at} comes {pulse.centre - excitation.centre:.6g} s after another: its "
                    f"transverse magnetisation makes further pathways; a memory={memory} of at "
                    "most that time is allowed, where it has decayed or is spoiled"
                )
            excitation = pulse
        elif pulse.use == "refocusing":
            if excitation is None:
                raise ValueError(f"{at}: refocusing after an excitation is allowed")
        elif pulse.use not in _BEFORE_EXCITATION:
            raise ValueError(f"{at}: its action on a pathway is not known; no such use is allowed")
        elif excitation is not None and _listens(pulses[n:], pulse.centre, samples):
            raise ValueError(
                f"{at} comes between an excitation and its samples; only refocusing is allowed"
            )
    first = math.inf if excitation is None else _first(pulses)
    if samples.size and samples[0] < first:
        raise ValueError(f"sample at {samples[0]} s: samples after an excitation are allowed")


def _listens(pulses: tuple[Pulse, ...], start: float, samples: np.ndarray) -> bool:
    """Whether there are samples from start to the next excitation."""
    stop = min((p.centre for p in pulses if p.use == "excitation"), default=math.inf)
    return bool(np.any((samples > start) & (samples < stop)))


def _first(pulses: tuple[Pulse, ...]) -> float:
    return next(p.centre for p in pulses if p.use == "excitation")
