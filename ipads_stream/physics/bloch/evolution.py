"""Isochromats: the Bloch equation under RF, gradients and off-resonance, with relaxation.

Axes: N spin, K step. Signs: dM/dt = gamma M x B, M+ = Mx + i My, so that M+ of a spin at +df turns
as exp(-2 pi i df t). Fields are constant within a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arguments import check_values, numbers_of
from ipads_stream.physics.arrays import as_float64, precision, rotated
from ipads_stream.physics.bloch.adjoint import slopes
from ipads_stream.physics.bloch.arguments import (
    SPINS,
    check_kinds,
    columns,
    merged,
    played,
    rows,
    tolerance_of,
)
from ipads_stream.physics.bloch.kernels import evolve as lanes
from ipads_stream.physics.bloch.on_gpu import evolve_planned, planned, shaped
from ipads_stream.physics.dispatch import dispatched

_TERMS = 14  # of the exponential of a generator whose norm is at most 1/2


def evolve(
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
) -> Float[Any, "N 3"]:
    """The magnetisation after K steps of constant RF and gradients.

    dM/dt = gamma M x B - (Mx, My, 0) / T2 + (0, 0, M0 - Mz) / T1,
    B = (B1 Re b1, B1 Im b1, 2 pi df / gamma + G . r)

    A step without RF is exact whatever its length. A step with RF is a rotation between two halves
    of relaxation, cut into equal parts or replaced by the exponential of its generator where that
    would be off by more than the tolerance. In float32 roundings of steps that are alike add up, to
    at most about 1.5e-7 of all the angle turned in steps with RF: 1e-4 after 1,000 steps of 10 us
    at 10 kHz. A pulse along x leaves M+ = i sin(flip), which closed forms count as real.

    Of tensors it is differentiable in all arguments: once by the kernel's adjoint, and as often as
    wanted, forward and in vmap by ``evolve_formula``.

    Args:
        M: magnetisation at the start, (N, 3); the result has its dtype and its precision.
        b1: RF in the rotating frame, T, complex, (K,); its real part along x.
        gradient: G, T/m, (K, 3).
        dt: length of the steps, s, a number or (K,), from 0 on: a step of 0 s changes nothing.
        position: r, m, (N, 3); the isocentre where None.
        df: off-resonance, Hz, a number or (N,).
        T1, T2: relaxation times, s, a number or (N,), T2 at most 2 T1; inf where there is none.
        B1, M0: RF relative to nominal and equilibrium magnetisation, a number or (N,).
        tolerance: estimated error of relaxation allowed per step with RF; 1e-6 in float32 and 1e-8
            in float64 where None.

    Raises:
        TypeError: an argument is a list, or arrays are of several libraries.
        ValueError: an argument is not finite or out of range, or the shapes do not fit. Values of
            arrays are checked on the host only: on a GPU it would stop the stream.

    Source: Bloch, Physical Review 70, 460 (1946); splitting: Strang, SIAM Journal on Numerical
    Analysis 5, 506 (1968).
    """
    spins = dict(zip(SPINS, (position, df, T1, T2, B1, M0), strict=True))
    check_kinds(M, b1, gradient, dt, spins)
    arguments = {"M": M, "b1": b1, "gradient": gradient, "dt": dt, **spins}
    check_values({**arguments, "tolerance": tolerance})

    def kernel(out: Any, given: Mapping[str, Any]) -> None:
        out[...] = given["M"]
        play(*played(namespace(out), given), tolerance_of(out, tolerance), out)

    return dispatched(
        arguments,
        kernel,
        lambda: evolve_formula(M, b1, gradient, dt, **spins, tolerance=tolerance),
        like=M,
        shape=tuple(M.shape),
        dtype=precision(M),
        adjoint=lambda cotangent, given, wanted: slopes(cotangent, given, tolerance, wanted=wanted),
    )


def play(steps: Any, spins: Any, tolerance: float, M: Float[Any, "N 3"]) -> None:
    """Evolve M, contiguous, in place through steps, (K, 6), and spins, (8, N), of ``played``."""
    if M.shape[0] == 0 or steps.shape[0] == 0:
        return
    if is_numpy(steps):
        steps, _ = merged(steps)
    if is_numpy(M):
        lanes.bloch(steps, shaped(steps, M.dtype), spins, tolerance, M)
    else:
        evolve_planned(planned(steps, spins, tolerance, False, M), M)


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
    """:func:`evolve` in the array API and in float64, differentiable; nothing checked.

    Args:
        halvings: per step None for one split, or how often to halve the generator before its
            exponential. Where None it is decided from the values, which vmap does not show.
    """
    xp = namespace(M)
    half = -0.5 * GAMMA_1H * as_float64(dt, M)
    real, imaginary, gradient = (as_float64(x, M) for x in (xp.real(b1), xp.imag(b1), gradient))
    steps = columns(xp, real, imaginary, gradient, half)
    x, y, z, f, B1, r1, r2, M0 = rows(xp, M, position, df, T1, T2, B1, M0)
    if halvings is None:
        halvings = _halvings(xp, steps, (x, y, z, f, B1, r1, r2), tolerance_of(M, tolerance))
    m = tuple(as_float64(M, M)[:, i] for i in range(3))
    for k, times in enumerate(halvings):
        hx, hy, gx, gy, gz, t = (steps[i][k] for i in range(6))
        angle = (2 * hx * B1, 2 * hy * B1, 2 * (gx * x + gy * y + gz * z + t * f))
        if times is not None:
            m = _exponentiated(xp, m, angle, t * r1, t * r2, M0, times)
            continue
        e2, lost = xp.exp(-0.5 * t * r2), -xp.expm1(-0.5 * t * r1)
        m = e2 * m[0], e2 * m[1], m[2] + lost * (M0 - m[2])
        m = rotated(xp, m, angle)
        m = e2 * m[0], e2 * m[1], m[2] + lost * (M0 - m[2])
    return xp.astype(xp.stack(m, axis=-1), M.dtype)


def free_precession(
    M: Float[Any, "N 3"], t: Any, df: Any = 0, T1: Any = math.inf, T2: Any = math.inf, M0: Any = 1.0
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
    t = as_float64(t, M)
    turns = t * f / math.pi
    angle = 2 * math.pi * (turns - xp.round(turns))
    x, y, z = (as_float64(M, M)[:, i] for i in range(3))
    c, s, e2 = xp.cos(angle), xp.sin(angle), xp.exp(-t * r2)
    m = (e2 * (c * x - s * y), e2 * (s * x + c * y), M0 + (z - M0) * xp.exp(-t * r1))
    return xp.astype(xp.stack(m, axis=-1), M.dtype)


def _exponentiated(xp: Any, m: Any, angle: Any, r1: Any, r2: Any, M0: Any, halvings: int) -> Any:
    """Solution of constant fields: steady state, and the exponential of the generator; r: nepers.

    With its mean taken out, the 2^-n th part of the generator, A, has no trace: A^3 = p A + q, so
    its exponential is c0 + c1 A + c2 A^2; it is squared n times.
    """
    px, py, pz = angle
    rf, d = px * px + py * py, r2 * r2 + pz * pz
    below = r1 * d + rf * r2
    sz = xp.where(below > 0, r1 * M0 / xp.where(below > 0, below, xp.ones_like(below)), 0 * d)
    steady = (sz * (py * r2 + px * pz), sz * (py * pz - px * r2), sz * d)
    mean, scale = (2 * r2 + r1) / 3, 0.5**halvings
    px, py, pz, t = px * scale, py * scale, pz * scale, (r2 - r1) / 3 * scale
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
    deviation = xp.stack([m[i] - steady[i] for i in range(3)], axis=-1)
    deviation = xp.matmul(a, deviation[..., None])[..., 0]
    return tuple(steady[i] + deviation[..., i] for i in range(3))


def _halvings(xp: Any, steps: Any, spins: Any, tolerance: float) -> tuple[int | None, ...]:
    """Which steps need the exponential, by the rule of the kernel for all spins at once."""
    if spins[0].shape[0] == 0:
        return (None,) * steps[0].shape[0]
    x, y, z, f, B1, r1, r2 = (float(numbers_of("spins", xp.max(xp.abs(s)))) for s in spins)
    plan: list[int | None] = []
    numbers = (numbers_of("steps", column).tolist() for column in steps)
    for hx, hy, gx, gy, gz, t in zip(*numbers, strict=True):
        rf, rate = 2 * B1 * math.hypot(hx, hy), t * max(r1, r2)
        angle = math.hypot(rf, 2 * (abs(gx) * x + abs(gy) * y + abs(gz) * z + t * f))
        needed = rf * (angle + rate) * rate / 12 > tolerance
        plan.append(max(0, math.ceil(math.log2(2 * (angle + rate)))) if needed else None)
    return tuple(plan)
