"""Diffusion: walks of the spins with keyed steps, and the attenuation of a Gaussian phase.

Axes: B sample, N spin, J segment, S sample in time of a signal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import is_cupy, namespace
from ipads_stream.core.random import Keys, normal
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.motion import check_interval
from ipads_stream.physics.pathway import along
from ipads_stream.physics.waveforms import Waveforms

_REFLECTIONS = 4  # in one segment; what is left of a step after them is dropped at the wall


@dataclass(frozen=True)
class Walls:
    """An impermeable ball, cylinder or pair of planes around every spin: |r - c| <= radius.

    Attributes:
        radius: m, a number or (*batch, N).
        centre: c, m, (*batch, N, 3) or (3,).
        axes: in which |r - c| is taken: all three for a ball, two for a cylinder along the third,
            one for planes across it.
    """

    radius: Any
    centre: Any = (0.0, 0.0, 0.0)
    axes: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        if not hasattr(self.radius, "shape") and not 0 < self.radius < math.inf:
            raise ValueError(f"radius={self.radius}: a positive length in m is allowed")
        if not self.axes or len({*self.axes} & {0, 1, 2}) != len(self.axes):
            raise ValueError(f"axes={self.axes}: one to three different ones of 0, 1, 2 is allowed")

    def reflected(
        self, start: Float[Any, "*batch N 3"], step: Float[Any, "*batch N 3"]
    ) -> Float[Any, "*batch N 3"]:
        """Where a straight step ends that the walls reflect like a mirror.

        Args:
            start: within the walls, m, (*batch, N, 3).
            step: m, (*batch, N, 3), shorter than the radius.
        """
        xp = namespace(start)
        across = [float(axis in self.axes) for axis in range(3)]
        across = as_float(across, start)
        centre = as_float(self.centre, start)
        radius = as_float(self.radius, start)[..., None]
        place, left = (start - centre) * across, step * across
        for _ in range(_REFLECTIONS):
            end = place + left
            outside = _square(xp, end) > radius**2
            length = xp.where(outside, _square(xp, left), xp.ones_like(end[..., :1]))
            along_step = xp.sum(place * left, axis=-1, keepdims=True)
            room = xp.clip(radius**2 - _square(xp, place), 0.0, None)
            # The positive root, without a difference of nearly equal numbers where it moves out.
            root = xp.sqrt(along_step**2 + length * room)
            forward = along_step > 0
            sum_of = xp.where(forward & outside, along_step + root, xp.ones_like(root))
            share = xp.where(forward, room / sum_of, (root - along_step) / length)
            hit = place + share * left
            rest = (1 - share) * left
            inward = xp.sum(rest * hit, axis=-1, keepdims=True) / radius**2
            place = xp.where(outside, hit, end)
            left = xp.where(outside, rest - 2 * inward * hit, 0 * rest)
        return place + centre * across + (start + step) * (1 - across)


@dataclass(frozen=True)
class RandomWalk:
    """Free or restricted diffusion: Brownian motion with keyed steps.

    r(t + h) = r(t) + sqrt(2 D h) n. Free, the mean position over h is drawn together with the step:
    r(t) + step / 2 + sqrt(2 D h / 12) n', which is exact for segments of any length. Between walls
    it is the mean of both ends, and h is to be short against radius^2 / D.

    n and n' are functions of (seed, split, name, sample, segment, spin, axis): another division of
    time into segments draws another walk from the same law.

    Attributes:
        keys: random streams of the samples; as many as the batch axes of the spins hold.
        D: diffusion coefficient, m^2/s, a number or (*batch, N).
        interval: longest time in which a position is held, s.
        walls: around the spins, in which they rest; None where they are free.
        name: of the draw.

    Source: Einstein, Annalen der Physik 322, 549 (1905).
    """

    keys: Keys
    D: Any
    interval: float = 1e-3
    walls: Walls | None = None
    name: str = "random walk"

    def __post_init__(self) -> None:
        check_interval(self.interval)
        if hasattr(self.D, "shape"):
            return
        if not 0 <= self.D < math.inf:
            raise ValueError(f"D={self.D}: a finite number from 0 on, in m^2/s, is allowed")
        if self.walls is not None and not hasattr(self.walls.radius, "shape"):
            longest = self.walls.radius**2 / (32 * self.D) if self.D else math.inf
            if self.interval > longest:
                raise ValueError(
                    f"interval={self.interval}: at most radius^2 / (32 D) = {longest:.3g} s is "
                    "allowed, for steps of a quarter of the radius"
                )

    def path(
        self, rest: Float[Any, "*batch N 3"], edges: Float[np.ndarray, " edges"]
    ) -> Iterator[Float[Any, "*batch N 3"]]:
        """The mean position of every spin in each segment, in the order of time.

        Args:
            rest: position at the start, m, (*batch, N, 3).
            edges: of the segments, s, ascending, on the host, (J + 1,).

        Raises:
            ValueError: there are not as many keys as samples in the batch.
        """
        samples = math.prod(rest.shape[:-2])
        if len(self.keys.indices) != samples:
            raise ValueError(
                f"keys: {len(self.keys.indices)} samples; {samples} are allowed for positions of "
                f"shape {tuple(rest.shape)}"
            )
        place = rest
        for j, (start, stop) in enumerate(itertools.pairwise(edges)):
            deviation = self._deviation(rest, float(stop - start))
            step, bridge = (deviation * n for n in self._normals(rest, j))
            if self.walls is None:
                yield place + 0.5 * step + 12**-0.5 * bridge
                place = place + step
            else:
                end = self.walls.reflected(place, step)
                yield 0.5 * (place + end)
                place = end

    def _deviation(self, rest: Any, time: float) -> Any:
        xp = namespace(rest)
        D = as_float(self.D, rest)
        return xp.sqrt(2 * time * D)[..., None]

    def _normals(self, rest: Any, j: int) -> tuple[Any, Any]:
        """Two normal numbers for every coordinate, drawn on the host or by CuPy."""
        xp = namespace(rest)
        key = self.keys[f"{self.name}/{j}"]
        drawn = normal(key, (rest.shape[-2], 3, 2), xp if is_cupy(rest) else np)
        n = xp.reshape(as_float(drawn, rest), (*rest.shape, 2))
        return n[..., 0], n[..., 1]


def b_value(waveforms: Waveforms, memory: float = math.inf) -> Float[np.ndarray, " S"]:
    """How much the gradients weight diffusion at every sample, s/m^2, (S,), on the host.

    b = (2 pi)^2 integral of |k|^2 dt from the excitation on

    Args:
        waveforms: of one coherence pathway.
        memory: after which no transverse magnetisation of an excitation is left, s.

    Raises:
        ValueError: there is no single pathway, and why.

    Source: Stejskal and Tanner, Journal of Chemical Physics 42, 288 (1965).
    """
    return along(waveforms, memory).b


def gaussian_phase(b: Float[Any, "..."], D: Any) -> Float[Any, "..."]:
    """The attenuation by diffusion whose phase is Gaussian, exact where it is free: exp(-b D).

    Args:
        b: s/m^2, any shape.
        D: m^2/s, a number or any shape that broadcasts with it.

    Source: Stejskal and Tanner, Journal of Chemical Physics 42, 288 (1965).
    """
    return namespace(b).exp(-b * D)


def _square(xp: Any, r: Any) -> Any:
    return xp.sum(r * r, axis=-1, keepdims=True)
