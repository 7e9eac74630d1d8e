"""How spins move during a sequence, as its simulators take it, and diffusion by keyed random walks.

Fields and positions are constant within a segment of time. The phase by a constant gradient needs
the mean position alone; the others err by the motion within, which ``interval`` bounds.
Off-resonance, B1 and sensitivity of a spin stay those of its place at rest. Axes: N spin, J segment
of time from the start of the waveforms, s; positions in m.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ipads_stream.core.backend import device_of, is_cupy, namespace
from ipads_stream.core.random import Keys, normal
from ipads_stream.physics.arguments import check_values, numbers_of
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.waveforms import Waveforms

_ROUNDING = 1e-9  # of a segment; steps of equal length fill it whatever their last digits


@runtime_checkable
class Motion(Protocol):
    """Where spins are, segment by segment.

    Attributes:
        interval: longest time in which a position may be held constant, s.
    """

    interval: float

    def path(
        self, rest: Float[Any, "*batch N 3"], edges: Float[np.ndarray, " edges"]
    ) -> Iterator[Float[Any, "..."]]:
        """The mean position of every spin in each segment, in the order of time.

        Args:
            rest: position at rest, m, (*batch, N, 3).
            edges: of the J segments, s, ascending, on the host, (J + 1,).
        """
        ...


@dataclass(frozen=True)
class RandomWalk:
    """Free diffusion: Brownian motion with keyed steps.

    r(t + h) = r(t) + sqrt(2 D h) n; the mean position over h is drawn together with the step:
    r(t) + step / 2 + sqrt(2 D h / 12) n', which is exact for segments of any length.

    n and n' are functions of (seed, split, name, sample, segment, spin, axis): another division of
    time into segments draws another walk from the same law.

    Attributes:
        keys: random streams of the samples; as many as the batch axes of the spins hold.
        D: diffusion coefficient, m^2/s, a number or (*batch, N).
        interval: longest time in which a position is held, s.
        name: of the draw.

    Source: Einstein, Annalen der Physik 322, 549 (1905).
    """

    keys: Keys
    D: Any
    interval: float = 1e-3
    name: str = "random walk"

    def __post_init__(self) -> None:
        check_values({"interval": self.interval, "D": self.D})

    def path(
        self, rest: Float[Any, "*batch N 3"], edges: Float[np.ndarray, " edges"]
    ) -> Iterator[Float[Any, "*batch N 3"]]:
        """As of :class:`Motion`; ValueError where keys are not as many as samples in the batch."""
        samples = math.prod(rest.shape[:-2])
        if len(self.keys.indices) != samples:
            given = f"{len(self.keys.indices)} samples; {samples} are allowed"
            raise ValueError(f"keys: {given} for positions of shape {tuple(rest.shape)}")
        xp, place, D = namespace(rest), rest, as_float(self.D, rest)
        for j, (start, stop) in enumerate(itertools.pairwise(edges)):
            key = self.keys[f"{self.name}/{j}"]
            drawn = normal(key, (rest.shape[-2], 3, 2), xp if is_cupy(rest) else np)
            normals = xp.reshape(as_float(drawn, rest), (*rest.shape, 2))
            deviation = xp.sqrt(2 * float(stop - start) * D)[..., None]
            step, bridge = (deviation * normals[..., i] for i in range(2))
            yield place + 0.5 * step + 12**-0.5 * bridge
            place = place + step


@dataclass(frozen=True)
class Segments:
    """Waveforms in pieces that are short against motion.

    waveforms: the same, with long steps cut into equal parts; first: the first step of each of J
    segments, and the number of steps; edges: of the segments, s.
    """

    waveforms: Waveforms
    first: Int[np.ndarray, " edges"]
    edges: Float[np.ndarray, " edges"]


def segments(waveforms: Waveforms, interval: float) -> Segments:
    """Cut waveforms into segments of at most a time: runs of short steps, or parts of a long one.

    Args:
        waveforms: of any library; times of the edges are numbers, b1, gradient and dt keep their
            gradients. A sample stays at the end of its step.
        interval: longest segment, s; inf makes one.

    Raises:
        ValueError: the interval is not positive, or the lengths are hidden by torch.
    """
    check_values({"interval": interval})
    dt = numbers_of("dt", waveforms.dt)
    parts = np.maximum(1, np.ceil(dt / interval - _ROUNDING)).astype(int)
    starts = np.concatenate(([0], np.cumsum(parts)))
    step = np.repeat(np.arange(len(parts)), parts)
    xp, device = namespace(waveforms.dt), device_of(waveforms.dt)
    index, count = (xp.asarray(x, device=device) for x in (step, parts[step]))
    played = waveforms.b1, waveforms.gradient, waveforms.dt
    b1, gradient, lengths = (xp.take(x, index, axis=0) for x in played)
    sampled = np.zeros(len(step), bool)
    sampled[starts[1:] - 1] = np.asarray(waveforms.sampled, bool)
    pulses = tuple(
        replace(p, first=int(starts[p.first]), stop=int(starts[p.stop])) for p in waveforms.pulses
    )
    parted = lengths / xp.astype(count, lengths.dtype)
    cut = Waveforms(b1, gradient, parted, sampled, waveforms.receiver, pulses)
    times = np.concatenate(([0.0], np.cumsum((dt / parts)[step])))
    ends = np.unique(np.concatenate((starts[:-1][parts > 1], starts[1:][parts > 1], starts[-1:])))
    first = _runs(times, ends, interval * (1 + _ROUNDING))
    return Segments(cut, first, times[first])


def _runs(times: np.ndarray, ends: np.ndarray, interval: float) -> np.ndarray:
    """Where segments start and the last one stops; none goes on across one of the ends."""
    first = [0]
    while first[-1] < len(times) - 1:
        furthest = int(np.searchsorted(times, times[first[-1]] + interval, side="right")) - 1
        end = int(ends[np.searchsorted(ends, first[-1], side="right")])
        first.append(min(max(first[-1] + 1, furthest), end))
    return np.array(first)
