"""Rigid motion of the body: given by knots in time, or drawn by keys.

Axes: B sample, N spin, T knot in time. Positions in m, time in s, rotation vectors in rad,
right-handed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import namespace
from ipads_stream.core.random import Keys, normal, uniform
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.epg_arguments import whole_number
from ipads_stream.physics.motion import Course, check_interval, check_knots, knots_at


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
        for name in ("translation", "rotation"):
            check_knots(self.times, name, getattr(self, name), -2)
        check_interval(self.interval)

    def position(self, rest: Float[Any, "*batch N 3"], time: float) -> Float[Any, "..."]:
        """As of :class:`Course`."""
        xp = namespace(rest)
        theta = knots_at(self.times, self.rotation, time, -2)[..., None, :]
        moved = knots_at(self.times, self.translation, time, -2)[..., None, :]
        centre = as_float(self.centre, rest)[..., None, :]
        return centre + _rotated(xp, rest - centre, theta) + moved


def random_rigid_motion(
    keys: Keys,
    name: str,
    *,
    duration: float,
    spacing: float,
    translation: float,
    rotation: float,
    like: Any,
    centre: Any = (0.0, 0.0, 0.0),
    interval: float = 1e-3,
) -> RigidMotion:
    """A body that wanders: translation and rotation are random walks from rest.

    u_x(t + spacing) = u_x(t) + translation sqrt(spacing) n, and so on for y, z and the rotation
    vector; n standard normal, each a function of (seed, split, name, sample, knot, axis).

    Args:
        keys: random streams of the samples, B of them.
        name: of the draw.
        duration: until which it wanders, s.
        spacing: of the knots, s.
        translation: standard deviation of a coordinate after 1 s, m.
        rotation: standard deviation of a component of the rotation vector after 1 s, rad.
        like: floating array whose library, dtype and device the motion takes.
        centre: of the rotation, m, three numbers.
        interval: longest time in which a position is held, s.

    Returns:
        of knots (B, T, 3); of a single sample (T, 3).

    Raises:
        ValueError: an argument is not a finite number, or out of range.
    """
    positive = {"duration": duration, "spacing": spacing}
    for argument, x in {**positive, "translation": translation, "rotation": rotation}.items():
        if not (0 <= x < math.inf and (x or argument not in positive)):
            raise ValueError(f"{argument}={x}: a finite, positive number is allowed")
    count = math.ceil(duration / spacing * (1 - 1e-12))
    steps = normal(keys[name], (count, 6)).astype(float) * math.sqrt(spacing)
    walk = np.zeros((len(keys.indices), count + 1, 6))
    np.cumsum(steps, axis=1, out=walk[:, 1:])
    walk = walk[0] if len(walk) == 1 else walk
    u, theta = (
        as_float(scale * part, like)
        for scale, part in ((translation, walk[..., :3]), (rotation, walk[..., 3:]))
    )
    return RigidMotion(spacing * np.arange(count + 1), u, theta, centre, interval)


def breathing(
    keys: Keys,
    name: str,
    *,
    duration: float,
    spacing: float,
    amplitude: tuple[float, float],
    period: tuple[float, float],
    like: Any,
    direction: tuple[float, float, float] = (0.0, 0.0, 1.0),
    power: int = 2,
    interval: float = 1e-3,
) -> RigidMotion:
    """Translation to and fro, with the rest at expiration.

    u(t) = direction a (1 - cos^(2 power)(pi t / tau - phi)), its value at time 0 taken off; a, tau
    and phi are uniform in their ranges, phi in 0 ... pi, each sample's own.

    Args:
        keys: random streams of the samples, B of them.
        name: of the draw.
        duration: until which it goes on, s; constant afterwards.
        spacing: of the knots, s, between which it is linear.
        amplitude: lowest and highest a, m.
        period: lowest and highest tau, s.
        like: floating array whose library, dtype and device the motion takes.
        direction: of the translation, a vector of length 1.
        power: how much of the period is spent at expiration, from 1 on.
        interval: longest time in which a position is held, s.

    Returns:
        of knots (B, T, 3); of a single sample (T, 3).

    Raises:
        ValueError: an argument is not a finite number, or out of range.

    Source: Lujan et al., Medical Physics 26, 715 (1999).
    """
    for argument, low in (("amplitude", 0.0), ("period", 1e-9)):
        a, b = {"amplitude": amplitude, "period": period}[argument]
        if not low <= a <= b < math.inf:
            raise ValueError(
                f"{argument}=({a}, {b}): a range of finite, positive numbers is allowed"
            )
    for argument, x in (("duration", duration), ("spacing", spacing)):
        if not 0 < x < math.inf:
            raise ValueError(f"{argument}={x}: a positive and finite time in s is allowed")
    if not abs(math.hypot(*direction) - 1) < 1e-6:
        raise ValueError(f"direction={direction}: a vector of length 1 is allowed")
    power = whole_number("power", power)
    share = uniform(keys[name], (3,))
    a = amplitude[0] + (amplitude[1] - amplitude[0]) * share[:, :1]
    tau = period[0] + (period[1] - period[0]) * share[:, 1:2]
    times = spacing * np.arange(math.ceil(duration / spacing * (1 - 1e-12)) + 1)
    course = 1 - np.cos(math.pi * (times / tau - share[:, 2:])) ** (2 * power)
    knots = (a * (course - course[:, :1]))[..., None] * np.array(direction)
    knots = knots[0] if len(knots) == 1 else knots
    u = as_float(knots, like)
    return RigidMotion(times, u, 0 * u, interval=interval)


def _rotated(xp: Any, r: Any, theta: Any) -> Any:
    """Rotation by Rodrigues' formula, differentiable at no rotation as well."""
    square = xp.sum(theta * theta, axis=-1, keepdims=True)
    small = square < 1e-6
    some = xp.sqrt(xp.where(small, xp.ones_like(square), square))
    a = xp.where(small, 1 - square / 6 * (1 - square / 20), xp.sin(some) / some)
    b = xp.where(small, 0.5 - square / 24, 2 * (xp.sin(0.5 * some) / some) ** 2)
    once = _crossed(xp, theta, r)
    return r + a * once + b * _crossed(xp, theta, once)


def _crossed(xp: Any, a: Any, b: Any) -> Any:
    parts = (a[..., i - 2] * b[..., i - 1] - a[..., i - 1] * b[..., i - 2] for i in range(3))
    return xp.stack(tuple(parts), axis=-1)
