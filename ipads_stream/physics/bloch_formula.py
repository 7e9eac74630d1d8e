"""Isochromats as a formula: the Bloch equation in the array API and in float64, differentiable."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_torch, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.bloch_arguments import as_float64, columns, rows, tolerance_of

_TERMS = 14  # of the exponential of a generator whose norm is at most 1/2


def evolve_formula(
    M: Float[Any, "N 3"],
    b1: Complex[Any, " K"],
    gradient: Float[Any, "K 3"],
    dt: Any,
    *,
    position: Float[Any, "N 3"] | None = None,
    df: Any = 0,
    T1: Any = math.inf,
    T2: Any = math.inf,
    B1: Any = 1.0,
    M0: Any = 1.0,
    tolerance: float | None = None,
    halvings: tuple[int | None, ...] | None = None,
) -> Float[Any, "N 3"]:
    """The same in the array API and in float64, differentiable in all arrays; nothing checked.

    Args:
        M, b1, gradient, dt, position, df, T1, T2, B1, M0, tolerance: as above.
        halvings: per step None for one split, or how often to halve the generator before its
            exponential. Where None it is decided from the values, which vmap does not show.
    """
    xp = namespace(M)

    def float64(x: Any) -> Any:
        return as_float64(xp, x, M)

    half = -0.5 * GAMMA_1H * float64(dt)
    steps = columns(xp, float64(xp.real(b1)), float64(xp.imag(b1)), float64(gradient), half)
    x, y, z, f, B1, r1, r2, M0 = rows(xp, M, position, df, T1, T2, B1, M0)
    if halvings is None:
        halvings = _halvings(xp, steps, (x, y, z, f, B1, r1, r2), tolerance_of(M, tolerance))
    m = tuple(float64(M)[:, i] for i in range(3))
    for k, times in enumerate(halvings):
        hx, hy, gx, gy, gz, t = (steps[i][k] for i in range(6))
        angle = (2 * hx * B1, 2 * hy * B1, 2 * (gx * x + gy * y + gz * z + t * f))
        if times is None:
            m = _relaxed(xp, m, 0.5 * t * r1, 0.5 * t * r2, M0)
            m = _turned(xp, m, angle)
            m = _relaxed(xp, m, 0.5 * t * r1, 0.5 * t * r2, M0)
        else:
            m = _exponentiated(xp, m, angle, t * r1, t * r2, M0, times)
    return xp.astype(xp.stack(m, axis=-1), M.dtype)


def free_precession(
    M: Float[Any, "N 3"],
    t: Any,
    df: Any = 0,
    T1: Any = math.inf,
    T2: Any = math.inf,
    M0: Any = 1.0,
) -> Float[Any, "N 3"]:
    """The magnetisation after a time without RF or gradients; differentiable, nothing checked.

    M+(t) = M+(0) exp(-2 pi i df t - t / T2), Mz(t) = M0 + (Mz(0) - M0) exp(-t / T1)

    Args:
        M: magnetisation, (N, 3).
        t: s, a number or (N,).
        df, T1, T2, M0: off-resonance in Hz, relaxation times in s and equilibrium, as above.

    Source: Bloch, Physical Review 70, 460 (1946).
    """
    xp = namespace(M)
    *_, f, _, r1, r2, M0 = rows(xp, M, None, df, T1, T2, 1.0, M0)
    t = as_float64(xp, t, M)
    turns = t * f / math.pi
    angle = 2 * math.pi * (turns - xp.round(turns))
    x, y, z = (as_float64(xp, M, M)[:, i] for i in range(3))
    c, s, e2 = xp.cos(angle), xp.sin(angle), xp.exp(-t * r2)
    m = (e2 * (c * x - s * y), e2 * (s * x + c * y), M0 + (z - M0) * xp.exp(-t * r1))
    return xp.astype(xp.stack(m, axis=-1), M.dtype)


def _relaxed(xp: Any, m: Any, nepers1: Any, nepers2: Any, M0: Any) -> Any:
    e2 = xp.exp(-nepers2)
    return e2 * m[0], e2 * m[1], m[2] - xp.expm1(-nepers1) * (M0 - m[2])


def _turned(xp: Any, m: Any, angle: Any) -> Any:
    """Rotation by Rodrigues' formula, differentiable at no rotation as well."""
    square = angle[0] ** 2 + angle[1] ** 2 + angle[2] ** 2
    small = square < 1e-4
    some = xp.sqrt(xp.where(small, xp.ones_like(square), square))
    # 1 - cos is 2 sin^2: no difference of nearly equal numbers.
    a = xp.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), xp.sin(some) / some)
    b = xp.where(
        small,
        0.5 - square / 24 * (1 - square / 30 * (1 - square / 56)),
        2 * (xp.sin(0.5 * some) / some) ** 2,
    )
    once = _crossed(angle, m)
    twice = _crossed(angle, once)
    return tuple(m[i] + a * once[i] + b * twice[i] for i in range(3))


def _crossed(a: Any, b: Any) -> Any:
    return tuple(a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3))


def _exponentiated(
    xp: Any, m: Any, angle: Any, nepers1: Any, nepers2: Any, M0: Any, halvings: int
) -> Any:
    """Solution of constant fields: steady state, and the exponential of the generator.

    With its mean taken out, the 2^-n th part of the generator, A, has no trace: A^3 = p A + q, so
    its exponential is c0 + c1 A + c2 A^2; it is squared n times.
    """
    px, py, pz = angle
    rf, d = px * px + py * py, nepers2 * nepers2 + pz * pz
    below = nepers1 * d + rf * nepers2
    sz = xp.where(below > 0, nepers1 * M0 / xp.where(below > 0, below, xp.ones_like(below)), 0 * d)
    steady = (sz * (py * nepers2 + px * pz), sz * (py * pz - px * nepers2), sz * d)
    mean, scale = (2 * nepers2 + nepers1) / 3, 0.5**halvings
    px, py, pz, t = px * scale, py * scale, pz * scale, (nepers2 - nepers1) / 3 * scale
    p = 3 * t * t - (px * px + py * py + pz * pz)
    q = t * (2 * t * t - px * px - py * py + 2 * pz * pz)
    one = xp.ones_like(p)
    u = (0 * one, 0 * one, 0.5 * one)
    c = (one, one, 0.5 * one)
    for n in range(3, _TERMS):
        u = (u[2] * q / n, (u[0] + u[2] * p) / n, u[1] / n)
        c = tuple(c[i] + u[i] for i in range(3))
    flat = xp.stack((-t, -pz, py, pz, -t, -px, -py, px, 2 * t), axis=-1)
    a = xp.reshape(flat, (*flat.shape[:-1], 3, 3))
    c0, c1, c2 = (x[..., None, None] for x in c)
    identity = xp.eye(3, dtype=xp.float64, device=device_of(a))
    a = xp.exp(-mean * scale)[..., None, None] * (c0 * identity + c1 * a + c2 * xp.matmul(a, a))
    for _ in range(halvings):
        a = xp.matmul(a, a)
    rest = xp.stack([m[i] - steady[i] for i in range(3)], axis=-1)
    rest = xp.matmul(a, rest[..., None])[..., 0]
    return tuple(steady[i] + rest[..., i] for i in range(3))


def _halvings(xp: Any, steps: Any, spins: Any, tolerance: float) -> tuple[int | None, ...]:
    """Which steps need the exponential, by the rule of the kernel for all spins at once."""
    if spins[0].shape[0] == 0:
        return (None,) * steps[0].shape[0]
    x, y, z, f, B1, r1, r2 = (_numbers(xp.max(xp.abs(s))[None])[0] for s in spins)
    plan: list[int | None] = []
    for hx, hy, gx, gy, gz, t in zip(*(_numbers(column) for column in steps), strict=True):
        rf, rate = 2 * B1 * math.hypot(hx, hy), t * max(r1, r2)
        angle = math.hypot(rf, 2 * (abs(gx) * x + abs(gy) * y + abs(gz) * z + t * f))
        needed = rf * (angle + rate) * rate / 12 > tolerance
        plan.append(max(0, math.ceil(math.log2(2 * (angle + rate)))) if needed else None)
    return tuple(plan)


def _numbers(column: Any) -> list[float]:
    if is_torch(column):
        return column.detach().tolist()
    return [float(x) for x in column]
