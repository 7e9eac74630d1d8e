"""Motions known at any time: of a rigid body, displacement fields, a heart that contracts.

Axes: N spin, T knot in time, XYZ grid. Positions and displacements in m, time in s, rotation
vectors in rad, right-handed.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import namespace
from ipads_stream.core.fields import check, number
from ipads_stream.physics.arguments import check_values
from ipads_stream.physics.arrays import as_float, rotated


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
        for start, stop in itertools.pairwise(edges):
            yield self.position(rest, 0.5 * float(start + stop))


@dataclass(frozen=True)
class RigidMotion(Course):
    """Rotation about a centre and translation, linear in time between knots, constant beyond them.

    r(t) = c + R(t) (r - c) + u(t), R(t) the rotation by |theta(t)| about theta(t)

    Attributes:
        times: of the knots, s, ascending, on the host, (T,).
        translation: u, m, (*batch, T, 3).
        rotation: theta, rotation vectors, rad, (*batch, T, 3).
        centre: c, m, (*batch, 3).
        interval: longest time in which a position is held, s.
    """

    times: Float[np.ndarray, " T"]
    translation: Any
    rotation: Any
    centre: Any = (0.0, 0.0, 0.0)
    interval: float = 1e-3

    def __post_init__(self) -> None:
        _check_knots(self, -2, "translation", "rotation")

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        xp = namespace(rest)
        given = (_between(self.times, x, time, -2) for x in (self.rotation, self.translation))
        theta, moved, centre = (x[..., None, :] for x in (*given, as_float(self.centre, rest)))
        parts = ([x[..., i] for i in range(3)] for x in (rest - centre, theta))
        return centre + xp.stack(rotated(xp, *parts), axis=-1) + moved


@dataclass(frozen=True)
class Deformation(Course):
    """A displacement of every spin, linear in time between knots, constant beyond them.

    r(t) = r + u(t, spin)

    Attributes:
        times: of the knots, s, ascending, on the host, (T,).
        displacement: u, m, (*batch, T, N, 3).
        interval: longest time in which a position is held, s.
    """

    times: Float[np.ndarray, " T"]
    displacement: Any
    interval: float = 1e-3

    def __post_init__(self) -> None:
        _check_knots(self, -3, "displacement")

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        return rest + _between(self.times, self.displacement, time, -3)


@dataclass(frozen=True)
class GridDeformation(Course):
    """A displacement field on a grid, linear between its points and between knots in time.

    r(t) = r + u(t, r); a spin beyond the grid moves as the grid's edge does.

    Attributes:
        times: of the knots, s, ascending, on the host, (T,).
        displacement: u, m, (T, X, Y, Z, 3).
        origin: position of the grid's first point, m, three numbers.
        spacing: of its points, m, three positive numbers.
        interval: longest time in which a position is held, s.
    """

    times: Float[np.ndarray, " T"]
    displacement: Any
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    interval: float = 1e-3

    def __post_init__(self) -> None:
        _check_knots(self, -5, "displacement")
        if not all(0 < x < math.inf for x in self.spacing):
            raise ValueError(f"spacing={self.spacing}: three positive lengths in m are allowed")

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        xp, field = namespace(rest), _between(self.times, self.displacement, time, -5)
        shape = field.shape[:3]
        flat = xp.reshape(field, (-1, 3))
        lower, share = [], []
        for axis in range(3):
            place = (rest[..., axis] - self.origin[axis]) / self.spacing[axis]
            place = xp.clip(place, 0.0, float(shape[axis] - 1))
            below = xp.clip(xp.floor(place), 0.0, float(max(shape[axis] - 2, 0)))
            lower.append(xp.astype(below, xp.int64))
            share.append(place - below)
        moved = rest
        for corner in range(8):
            index: Any = 0
            weight: Any = 1.0
            for axis in range(3):
                upper = (corner >> axis) & 1
                point = xp.clip(lower[axis] + upper, 0, shape[axis] - 1)
                index = index * shape[axis] + point
                weight = weight * (share[axis] if upper else 1 - share[axis])
            value = xp.take(flat, xp.reshape(index, (-1,)), axis=0)
            moved = moved + weight[..., None] * xp.reshape(value, (*index.shape, 3))
        return moved


@dataclass(frozen=True)
class Contraction(Course):
    """A thick-walled cylinder about z, like a short axis of the heart, that contracts and twists.

    rho(t)^2 = inner(t)^2 + (rho^2 - inner^2) / lambda, phi(t) = phi + twist(t),
    z(t) = lambda z, inner(t) = inner (1 - shortening s(t)), twist(t) = twist s(t),
    lambda = 1 - longitudinal s(t), s(t) = (1 - cos(2 pi t / period)) / 2

    It keeps volume. Its stretch is rho(t) / rho around and rho / (lambda rho(t)) along the radius;
    the strain of Lagrange is (stretch^2 - 1) / 2.

    Attributes:
        inner: inner radius at rest, m; what lies within it moves as the wall's edge does.
        shortening: of the inner radius at the peak, 0 to 1 without 1.
        twist: at the peak, rad.
        longitudinal: shortening along z at the peak, 0 to 1 without 1.
        period: of the beat, s.
        centre: x and y of the axis, m.
        interval: longest time in which a position is held, s.

    Source: incompressible cylinder: Guccione, McCulloch and Waldman, Journal of Biomechanical
    Engineering 113, 42 (1991).
    """

    inner: float = number(above=0.0)
    shortening: float = number(low=0.0, below=1.0)
    twist: float = number(0.0)
    longitudinal: float = number(0.0, low=0.0, below=1.0)
    period: float = number(1.0, above=0.0)
    centre: tuple[float, float] = (0.0, 0.0)
    interval: float = number(1e-3, above=0.0, infinite=True)

    def __post_init__(self) -> None:
        check(self)

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        xp = namespace(rest)
        s = math.sin(math.pi * time / self.period) ** 2
        stretch, inner = 1 - self.longitudinal * s, self.inner * (1 - self.shortening * s)
        c, d = math.cos(self.twist * s), math.sin(self.twist * s)
        x, y = rest[..., 0] - self.centre[0], rest[..., 1] - self.centre[1]
        square = x * x + y * y
        outside = square > self.inner**2
        wall = xp.where(outside, square, xp.full_like(square, self.inner**2))
        scale = xp.sqrt((inner**2 + (wall - self.inner**2) / stretch) / wall)
        x, y = scale * (c * x - d * y), scale * (d * x + c * y)
        moved = (x + self.centre[0], y + self.centre[1], stretch * rest[..., 2])
        return xp.stack(moved, axis=-1)


def _between(times: Float[np.ndarray, " T"], values: Any, time: float, axis: int) -> Any:
    """Values between the knots on an axis, negative: linear, constant beyond first and last."""
    after = int(np.searchsorted(times, time))
    inner = (slice(None),) * (-axis - 1)
    if after in (0, len(times)):
        return values[(..., min(after, len(times) - 1), *inner)]
    share = float((time - times[after - 1]) / (times[after] - times[after - 1]))
    return (1 - share) * values[(..., after - 1, *inner)] + share * values[(..., after, *inner)]


def _check_knots(course: Any, axis: int, *names: str) -> None:
    """Refuse times that do not ascend, and fields without 3 numbers for each on an axis."""
    times = course.times
    good = np.ndim(times) == 1 and len(times) > 0 and np.all(np.isfinite(times))
    if not good or np.any(np.diff(times) <= 0):
        raise ValueError(f"times={times}: finite times in s that ascend are allowed")
    for name in names:
        shape = tuple(getattr(course, name).shape)
        if len(shape) < -axis or shape[axis] != len(times) or shape[-1] != 3:
            allowed = f"{len(times)} knots on axis {axis} and 3 numbers on the last are allowed"
            raise ValueError(f"{name}: shape {shape}; {allowed}")
    check_values({"interval": course.interval})
