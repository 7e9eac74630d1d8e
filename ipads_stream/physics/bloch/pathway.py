"""The coherence pathway of a sequence: what gradients and time have done to it at every sample.

An excitation starts it, refocusing conjugates it; pulses act at their centre, in no time. Axes: K
step, S sample, J piece of time between pulses, samples and changes of the gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.arguments import check_values, numbers_of
from ipads_stream.physics.arrays import as_float64
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
    centres = [float(numbers_of("centre", p.centre)) for p in waveforms.pulses]
    pulses = tuple(replace(p, centre=t) for p, t in zip(waveforms.pulses, centres, strict=True))
    acting = [n for n, p in enumerate(pulses) if p.use in ("excitation", "refocusing")]
    gradient, dt = (numbers_of(name, getattr(waveforms, name)) for name in ("gradient", "dt"))
    ends = np.concatenate(([0.0], np.cumsum(dt)))
    sampled = np.flatnonzero(np.asarray(waveforms.sampled, bool))
    _check(pulses, ends[sampled + 1], memory)
    # Edges of steps and centres of pulses in order of time, and where each of them went.
    times = np.concatenate((ends, [centres[n] for n in acting]))
    ranks = np.concatenate((np.arange(len(ends)), [pulses[n].first - 0.5 for n in acting]))
    order = np.lexsort((ranks, times))
    place = np.argsort(order)
    step = np.clip(np.cumsum(order < len(ends))[:-1] - 1, 0, max(len(dt) - 1, 0))
    exact: Sequence[Any] = (gradient, dt, *(np.asarray(centres[n]) for n in acting))
    if like is not None:
        followed = (waveforms.pulses[n].centre for n in acting)
        exact = [as_float64(x, like) for x in (waveforms.gradient, waveforms.dt, *followed)]
    kinds = [pulses[n].use for n in acting]
    events, at = place[len(ends) :], place[sampled + 1]
    return _summed(exact, order, step, events, kinds, at)


def _summed(exact: Any, order: Any, step: Any, events: Any, kinds: list[Use], at: Any) -> Pathway:
    """The pathway as sums over pieces of time.

    exact: gradient, dt and centres of pulses; order: of the edges of steps and, after them, the
    centres, in time, (J + 1,); step: of each piece, (J,); events, kinds: edges at which pulses act,
    and how; at: edges of samples.
    """
    gradient, dt, *centres = exact
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


def _check(pulses: tuple[Pulse, ...], samples: np.ndarray, memory: float) -> None:
    """Refuse pulses and samples that do not make a single pathway."""
    check_values({"memory": memory})
    for early, late in itertools.pairwise(pulses):
        if late.centre <= early.centre:
            given = f"pulses at {early.centre} s, {late.centre} s"
            raise ValueError(f"{given}: pulses in order of time are allowed")
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
        elif excitation is not None and np.any(
            (samples > pulse.centre) & (samples < _first(pulses[n:]))
        ):
            given = f"{at} comes between an excitation and its samples"
            raise ValueError(f"{given}; only refocusing is allowed")
    if samples.size and samples[0] < _first(pulses):
        raise ValueError(f"sample at {samples[0]} s: samples after an excitation are allowed")


def _first(pulses: tuple[Pulse, ...]) -> float:
    """Time of the first excitation, s; inf where there is none."""
    return min((p.centre for p in pulses if p.use == "excitation"), default=math.inf)
