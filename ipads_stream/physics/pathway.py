"""The coherence pathway of a sequence: what gradients and time have done to it at every sample.

Where one pathway makes the signal, a voxel's dephasing and diffusion have closed forms in it. An
excitation starts it, refocusing conjugates it; pulses act at their centre, in no time.

Axes: K step, S sample, J piece of time between pulses, samples and changes of the gradient.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.waveforms import Pulse, Waveforms

_BEFORE_EXCITATION = ("inversion", "saturation", "preparation")


@dataclass(frozen=True)
class Pathway:
    """State of the main coherence pathway at every sample, on the host.

    Attributes:
        k: gammabar times the integral of G since the excitation, negated by refocusing, 1/m,
            (S, 3); a spin at r is detected with the phase exp(-2 pi i k.r).
        tau: time since the excitation, negated by refocusing, s, (S,): 0 at a spin echo; a spin at
            df is detected with exp(-2 pi i df tau).
        b: (2 pi)^2 times the integral of |k|^2 since the excitation, s/m^2, (S,).
    """

    k: Float[np.ndarray, "S 3"]
    tau: Float[np.ndarray, " S"]
    b: Float[np.ndarray, " S"]


def along(waveforms: Waveforms, memory: float = math.inf) -> Pathway:
    """The main coherence pathway, exact for gradients that are constant within steps.

    dk/dt = gammabar G, dtau/dt = 1, db/dt = (2 pi)^2 |k|^2; (k, tau, b) -> 0 at the centre of an
    excitation, (k, tau) -> -(k, tau) at that of a refocusing pulse

    Args:
        waveforms: what is played; arrays of any library, of which the numbers are taken: nothing is
            differentiated.
        memory: time after which no transverse magnetisation of an excitation is left, s: a few T2,
            or 0 where it is ideally spoiled. With inf only one excitation makes one pathway.

    Raises:
        ValueError: there is no single pathway, and why: a sample or refocusing comes before an
            excitation, excitations follow one another within the memory, a pulse other than
            refocusing falls between an excitation and its samples, or the use of a pulse is not
            known.

    Source: Stejskal and Tanner, Journal of Chemical Physics 42, 288 (1965), for b; Hennig, Concepts
    in Magnetic Resonance 3, 125 (1991), for pathways.
    """
    gradient, dt = _host("gradient", waveforms.gradient), _host("dt", waveforms.dt)
    steps = np.concatenate(([0.0], np.cumsum(dt)))
    samples = steps[1:][np.asarray(waveforms.sampled, bool)]
    _check(waveforms.pulses, samples, memory)
    acting = [p for p in waveforms.pulses if p.use in ("excitation", "refocusing")]
    edges = np.unique(np.concatenate((steps, [p.centre for p in acting])))
    step = np.clip(np.searchsorted(steps, edges[:-1], side="right") - 1, 0, len(dt) - 1)
    rate = np.column_stack((GAMMA_BAR_1H * gradient[step], np.ones(len(step))))  # of (k, tau)
    t = np.diff(edges)[:, None]
    state = np.concatenate((np.zeros((1, 4)), np.cumsum(rate * t, axis=0)))
    events = [*np.searchsorted(edges, [p.centre for p in acting]), len(edges)]
    before = state[events[:-1]]
    after = np.zeros(4)
    for n, pulse in enumerate(acting):
        first, stop = events[n], events[n + 1]
        after = 0 * after if pulse.use == "excitation" else -after
        state[first:stop] += after - before[n]
        if n + 1 < len(acting):
            after = after + before[n + 1] - before[n]
    k, v = state[:-1, :3], rate[:, :3]
    grown = np.sum(k * k + k * v * t + v * v * t * t / 3, axis=1) * t[:, 0]
    b = (2 * math.pi) ** 2 * np.concatenate(([0.0], np.cumsum(grown)))
    at = np.searchsorted(edges, samples)
    starts = np.array(
        [i for i, p in zip(events, acting, strict=False) if p.use == "excitation"], int
    )
    since = starts[np.searchsorted(starts, at, side="right") - 1] if len(at) else at
    return Pathway(state[at, :3], state[at, 3], b[at] - b[since])


def _host(name: str, x: Any) -> np.ndarray:
    values = host(x)
    if values is None:
        raise ValueError(f"{name}: numbers are needed, they are hidden by a transform of torch")
    return np.asarray(values, float)


def _check(pulses: tuple[Pulse, ...], samples: np.ndarray, memory: float) -> None:
    """Refuse pulses and samples that do not make a single pathway."""
    if not memory >= 0:
        raise ValueError(f"memory={memory}: a time in s from 0 on is allowed")
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
