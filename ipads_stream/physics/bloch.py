"""Isochromats: the Bloch equation under RF, gradients and off-resonance, with relaxation.

Axes: N spin, K step. Signs: dM/dt = gamma M x B, M+ = Mx + i My, so that M+ of a spin at +df turns
as exp(-2 pi i df t). Fields are constant within a step.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    is_cupy,
    is_numpy,
    is_torch,
    launch,
    namespace,
)
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.kernels import bloch as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "bloch.cu"
_STRONGEST_GRADIENT = 1.0  # T/m; head-only and preclinical coils reach 0.5 and 1.0
_TERMS = 14  # of the exponential of a generator whose norm is at most 1/2
_SPINS = ("position", "df", "T1", "T2", "B1", "M0")


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
    would be off by more than the tolerance.

    Args:
        M: magnetisation at the start, (N, 3); the result has its dtype and its precision.
        b1: RF in the rotating frame, T, complex, (K,); its real part along x.
        gradient: G, T/m, (K, 3).
        dt: length of the steps, s, a number or (K,).
        position: r, m, (N, 3); the isocentre where None.
        df: off-resonance, Hz, a number or (N,).
        T1: longitudinal relaxation time, s, a number or (N,); inf where there is none.
        T2: transverse relaxation time, s, a number or (N,), at most 2 T1; inf leaves it out.
        B1: RF relative to nominal, a number or (N,).
        M0: equilibrium magnetisation, a number or (N,).
        tolerance: estimated error of relaxation allowed per step with RF; 1e-6 in float32 and 1e-8
            in float64 where None.

    Raises:
        ValueError: an argument is not finite or out of range, or the shapes do not fit. Values of
            arrays are checked on the host only: on a GPU it would stop the stream.

    Source: Bloch, Physical Review 70, 460 (1946); splitting: Strang, SIAM Journal on Numerical
    Analysis 5, 506 (1968).
    """
    spins = dict(zip(_SPINS, (position, df, T1, T2, B1, M0), strict=True))
    _check_shapes(M, b1, gradient, dt, spins)
    _check_values({"dt": dt, "tolerance": tolerance, **spins}, arrays=False)
    arguments = {"M": M, "b1": b1, "gradient": gradient, "dt": dt, **spins}
    if is_numpy(M) or is_cupy(M):
        xp = namespace(M)
        out = xp.array(M, order="C")
        _fill(out, arguments, tolerance)
        return out
    if is_torch(M):
        from ipads_stream.core.handover import is_traced, views

        tensors = {name: x for name, x in arguments.items() if is_torch(x)}
        if not any(is_traced(x) for x in tensors.values()):
            out = namespace(M).asarray(M, copy=True).contiguous()
            with views(*tensors.values(), out) as (*arrays, target):
                _fill(target, arguments | dict(zip(tensors, arrays, strict=True)), tolerance)
            return out
    return evolve_formula(M, b1, gradient, dt, **spins, tolerance=tolerance)


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
        return _as_float64(xp, x, M)

    half = -0.5 * GAMMA_1H * float64(dt)
    steps = _columns(xp, float64(xp.real(b1)), float64(xp.imag(b1)), float64(gradient), half)
    x, y, z, f, B1, r1, r2, M0 = _rows(xp, M, position, df, T1, T2, B1, M0)
    if halvings is None:
        halvings = _halvings(xp, steps, (x, y, z, f, B1, r1, r2), _tolerance(M, tolerance))
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
    *_, f, _, r1, r2, M0 = _rows(xp, M, None, df, T1, T2, 1.0, M0)
    t = _as_float64(xp, t, M)
    turns = t * f / math.pi
    angle = 2 * math.pi * (turns - xp.round(turns))
    x, y, z = (_as_float64(xp, M, M)[:, i] for i in range(3))
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


def _as_float64(xp: Any, x: Any, like: Any) -> Any:
    if hasattr(x, "shape"):
        return xp.astype(x, xp.float64)
    return xp.asarray(float(x), dtype=xp.float64, device=device_of(like))


def _columns(xp: Any, real: Any, imaginary: Any, gradient: Any, half: Any) -> Any:
    """Per step the half angles by RF about x and y, by gradients per metre, and dt."""
    waveforms = (real, imaginary, *(gradient[:, i] for i in range(3)))
    dt = half / (-0.5 * GAMMA_1H)
    return (*(half * w for w in waveforms), xp.broadcast_to(dt, real.shape))


def _rows(xp: Any, M: Any, position: Any, df: Any, T1: Any, T2: Any, B1: Any, M0: Any) -> Any:
    """Per spin x, y, z, half angle by df per second, B1, 1/T1, 1/T2 and M0, (N,) in float64."""

    def row(x: Any) -> Any:
        return xp.broadcast_to(_as_float64(xp, x, M), M.shape[:1])

    place = (0.0, 0.0, 0.0) if position is None else (position[:, i] for i in range(3))
    return tuple(map(row, (*place, -math.pi * df, B1, 1 / T1, 1 / T2, M0)))


def _fill(out: Any, arguments: dict[str, Any], tolerance: float | None) -> None:
    """Evolve out, which holds M, by the kernel of its library."""
    xp, tolerance = namespace(out), _tolerance(out, tolerance)
    if is_numpy(out):
        _check_values(arguments, arrays=True)
    b1, gradient, dt = (arguments[name] for name in ("b1", "gradient", "dt"))
    half = -0.5 * GAMMA_1H * _as_float64(xp, dt, out)
    real, imaginary, slope = (
        xp.astype(x, xp.float64) for x in (xp.real(b1), xp.imag(b1), gradient)
    )
    steps = xp.stack(_columns(xp, real, imaginary, slope, half), axis=-1)
    spins = xp.stack(_rows(xp, out, **{name: arguments[name] for name in _SPINS}))
    if out.shape[0] == 0:
        return
    if is_cupy(out):
        real = {"float32": "float", "float64": "double"}[str(out.dtype)]
        launch(
            cuda_module(_CUDA_TEXT, (f"-DREAL={real}",)),
            "bloch",
            out.shape[0],
            steps,
            xp.astype(steps, out.dtype),
            np.int64(steps.shape[0]),
            spins,
            np.int64(out.shape[0]),
            np.float64(tolerance),
            out,
        )
        return
    steps = _merged(steps)
    table = np.empty((steps.shape[0], lanes.COLUMNS), out.dtype)
    lanes.shaped(steps, table)
    lanes.bloch(steps, table, spins, tolerance, out)


def _merged(steps: np.ndarray) -> np.ndarray:
    """Make one step of those without RF that follow one another: they commute."""
    free = (steps[:, 0] == 0) & (steps[:, 1] == 0)
    if not np.any(free[1:] & free[:-1]):
        return steps
    first = np.flatnonzero(np.concatenate(([True], ~(free[1:] & free[:-1]))))
    return np.add.reduceat(steps, first, axis=0)


def _tolerance(M: Any, tolerance: float | None) -> float:
    if tolerance is not None:
        return tolerance
    return 1e-6 if str(M.dtype).endswith("float32") else 1e-8


def _check_shapes(M: Any, b1: Any, gradient: Any, dt: Any, spins: dict[str, Any]) -> None:
    xp = namespace(*(x for x in (M, b1, gradient, dt, *spins.values()) if hasattr(x, "shape")))
    if not (M.ndim == 2 and M.shape[1] == 3):
        raise ValueError(f"M: shape {tuple(M.shape)}; (N, 3) is allowed")
    if M.dtype not in (xp.float32, xp.float64):
        raise ValueError(f"M: {M.dtype}; float32 and float64 are allowed")
    if b1.ndim != 1 or not xp.isdtype(b1.dtype, "complex floating"):
        raise ValueError(f"b1: shape {tuple(b1.shape)} of {b1.dtype}; complex (K,) is allowed")
    N, K = M.shape[0], b1.shape[0]
    allowed = {"gradient": [(K, 3)], "dt": [(), (K,)], "position": [(N, 3)]}
    for name, x in {"gradient": gradient, "dt": dt, **spins}.items():
        shapes = allowed.get(name, [(), (N,)])
        if x is None and name == "position":
            continue
        shape = tuple(x.shape) if hasattr(x, "shape") else ()
        if shape not in shapes or (name == "gradient" and not hasattr(x, "shape")):
            wanted = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name}: shape {shape}; {wanted} is allowed for {N} spins and {K} steps"
            )


def _check_values(arguments: dict[str, Any], arrays: bool) -> None:
    """Refuse values that make no sense, of numbers or also of NumPy arrays."""
    rules = {
        "dt": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite time in s"),
        "T1": (lambda x: x > 0, "a positive time in s"),
        "T2": (lambda x: x > 0, "a positive time in s"),
        "gradient": (
            lambda x: np.abs(x) <= _STRONGEST_GRADIENT,
            f"at most {_STRONGEST_GRADIENT} T/m",
        ),
        "M0": (lambda x: (x >= 0) & np.isfinite(x), "a finite number from 0"),
        "tolerance": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite number"),
    }
    known = {k: x for k, x in arguments.items() if x is not None and (arrays or not _is_array(x))}
    for name, x in known.items():
        rule, allowed = rules.get(name, (np.isfinite, "finite numbers"))
        good = rule(np.asarray(x))
        if not np.all(good):
            wrong = np.asarray(x)[~good].flat[0]
            raise ValueError(f"{name}={wrong}: {allowed} is allowed")
    if "T1" in known and "T2" in known:
        T1, T2 = np.broadcast_arrays(known["T1"], known["T2"])
        wrong = (T2 > 2 * T1) & np.isfinite(T2)  # infinite: transverse relaxation is left out
        if np.any(wrong):
            at = np.flatnonzero(wrong)[0]
            raise ValueError(f"T2={T2.flat[at]}: at most 2 T1 = {2 * T1.flat[at]} s is allowed")


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape")
