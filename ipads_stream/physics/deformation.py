"""Motion that deforms the body: displacement fields, and the contraction of a heart.

Axes: N spin, T knot in time, XYZ grid. Positions and displacements in m, time in s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import namespace
from ipads_stream.physics.motion import Course, check_interval, check_knots, knots_at


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
        check_knots(self.times, "displacement", self.displacement, -3)
        check_interval(self.interval)

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        """As of :class:`Course`."""
        return rest + knots_at(self.times, self.displacement, time, -3)


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
        check_knots(self.times, "displacement", self.displacement, -5)
        check_interval(self.interval)
        if not all(0 < x < math.inf for x in self.spacing):
            raise ValueError(f"spacing={self.spacing}: three positive lengths in m are allowed")

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        """As of :class:`Course`."""
        xp, field = namespace(rest), knots_at(self.times, self.displacement, time, -5)
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

    inner: float
    shortening: float
    twist: float = 0.0
    longitudinal: float = 0.0
    period: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)
    interval: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("inner", "period"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: a positive number is allowed")
        for name in ("shortening", "longitudinal"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: from 0 to below 1 is allowed")
        check_interval(self.interval)

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        """As of :class:`Course`."""
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
