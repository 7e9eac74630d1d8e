"""Motion of the spins during a sequence: rigid, deforming, and drawn at random by keys.

Context: fields are constant within a piece of time, and so is the position that a simulator gives a
spin there. The phase by a constant gradient needs the mean position alone; the others err by the
motion within the piece, which ``interval`` bounds. Off-resonance, B1 and sensitivity of a spin stay
those of its place at rest.

Axes: N spin, T knot in time, J segment of time. Time runs from the start of the waveforms, in s;
positions are in m. Rotations are right-handed.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.physics.epg_arguments import host
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


class Course(abc.ABC):
    """A motion that is known at any time, without a past.

    A position held at the middle of a segment of length h is off by at most |acceleration| h^2 / 24
    in the mean, and by |velocity| h / 2 within.

    Attributes:
        interval: as of :class:`Motion`, s.
    """

    interval: float

    @abc.abstractmethod
    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        """Where the spins are at a time, m.

        Args:
            rest: position at rest, m, (*batch, N, 3).
            time: s.
        """

    def path(
        self, rest: Float[Any, "*batch N 3"], edges: Float[np.ndarray, " edges"]
    ) -> Iterator[Float[Any, "..."]]:
        """As of :class:`Motion`: the position in the middle of every segment."""
        for start, stop in itertools.pairwise(edges):
            yield self.position(rest, 0.5 * float(start + stop))


class Sequentially:
    """Motions one after another, as of a walk within a body that moves.

    r(t) = r_n(r_(n-1)(... r_1(r, t) ..., t), t)

    Args:
        first: any motion, of spins within the body.
        others: what happens to where it brings them, in this order.
    """

    def __init__(self, first: Motion, *others: Course) -> None:
        self.first, self.others = first, others
        self.interval = min(m.interval for m in (first, *others))

    def path(
        self, rest: Float[Any, "*batch N 3"], edges: Float[np.ndarray, " edges"]
    ) -> Iterator[Float[Any, "..."]]:
        """As of :class:`Motion`."""
        places = self.first.path(rest, edges)
        for (start, stop), place in zip(itertools.pairwise(edges), places, strict=True):
            for other in self.others:
                place = other.position(place, 0.5 * float(start + stop))
            yield place


@dataclass(frozen=True)
class Segments:
    """Waveforms in pieces that are short against motion.

    Attributes:
        waveforms: the same, with long steps cut into equal parts.
        first: the first step of each of J segments, and the number of steps, (J + 1,).
        edges: of the segments, s, (J + 1,).
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
    check_interval(interval)
    dt = host(waveforms.dt)
    if dt is None:
        raise ValueError("dt: numbers are needed, they are hidden by a transform of torch")
    parts = np.maximum(1, np.ceil(np.asarray(dt, float) / interval - _ROUNDING)).astype(int)
    starts = np.concatenate(([0], np.cumsum(parts)))
    step = np.repeat(np.arange(len(parts)), parts)
    xp = namespace(waveforms.dt)
    index = xp.asarray(step, device=device_of(waveforms.dt))
    count = xp.astype(xp.asarray(parts[step], device=device_of(waveforms.dt)), waveforms.dt.dtype)
    sampled = np.zeros(len(step), bool)
    sampled[starts[1:] - 1] = np.asarray(waveforms.sampled, bool)
    pulses = tuple(
        replace(p, first=int(starts[p.first]), stop=int(starts[p.stop])) for p in waveforms.pulses
    )
    cut = replace(
        waveforms,
        b1=xp.take(waveforms.b1, index, axis=0),
        gradient=xp.take(waveforms.gradient, index, axis=0),
        dt=xp.take(waveforms.dt, index, axis=0) / count,
        sampled=sampled,
        pulses=pulses,
    )
    times = np.concatenate(([0.0], np.cumsum((np.asarray(dt, float) / parts)[step])))
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


def knots_at(times: Float[np.ndarray, " T"], values: Any, time: float, axis: int) -> Any:
    """Values between knots: linear in time, constant beyond the first and the last.

    Args:
        times: of the knots, s, ascending, on the host, (T,).
        values: at the knots, T of them along the axis.
        time: s.
        axis: of the knots among the axes of values, negative.
    """
    after = int(np.searchsorted(times, time))
    rest = (slice(None),) * (-axis - 1)
    if after in (0, len(times)):
        return values[(..., min(after, len(times) - 1), *rest)]
    share = float((time - times[after - 1]) / (times[after] - times[after - 1]))
    return (1 - share) * values[(..., after - 1, *rest)] + share * values[(..., after, *rest)]


def check_knots(times: Any, name: str, values: Any, axis: int) -> None:
    """Refuse knots that are not in order, or not as many as there are values.

    Args:
        times: of the knots, s, (T,).
        name, values: what is given at them, and T such along the axis, negative.
        axis: as above.
    """
    good = np.ndim(times) == 1 and len(times) > 0 and np.all(np.isfinite(times))
    if not good or np.any(np.diff(times) <= 0):
        raise ValueError(f"times={times}: finite times in s that ascend are allowed")
    if values.ndim < -axis or values.shape[axis] != len(times) or values.shape[-1] != 3:
        raise ValueError(
            f"{name}: shape {tuple(values.shape)}; {len(times)} knots on axis {axis} and 3 numbers "
            "on the last are allowed"
        )


def check_interval(interval: float) -> None:
    """Refuse an interval, s, that is not positive."""
    if not interval > 0:
        raise ValueError(f"interval={interval}: a positive time in s is allowed")
