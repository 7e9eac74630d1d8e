"""Derivatives of isochromats in reverse mode: kernels backward, and the chain rule around them.

Memory stays bounded: on the CPU blocks of spins follow one another, on the GPU chunks of them.

Source: adjoint of the Bloch equation: Conolly, Nishimura and Macovski, IEEE Transactions on Medical
Imaging 5, 106 (1986); checkpoints: Griewank, Optimization Methods and Software 1, 35 (1992).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int

from ipads_stream.core.backend import cuda_module, device_of, is_cupy, launch, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.bloch_arguments import SPINS, as_float64, merged, played, tolerance_of
from ipads_stream.physics.kernels import bloch as lanes
from ipads_stream.physics.kernels import bloch_adjoint as backward

_CUDA_TEXT = Path(__file__).parent / "kernels" / "bloch_adjoint.cu"
_CHUNK = 1 << 18  # of spins on the GPU: more than it runs at a time
# s, of steps of 0 s, whose slopes with respect to dt are ratios to it; no float64 shows the step
_SHORTEST = 1e-20


def slopes(
    slope: Float[Any, "N 3"],
    arguments: dict[str, Any],
    tolerance: float | None = None,
    *,
    wanted: frozenset[str],
    at: Int[np.ndarray, " K"] | None = None,
    cotangents: Complex[np.ndarray, "S C"] | None = None,
    weights: Complex[np.ndarray, "C N"] | None = None,
) -> dict[str, Any]:
    """Slopes of a scalar with respect to the arguments of evolve, each in the shape of its own.

    The scalar depends on M after the last step and, where samples are given, on the signals
    s_jc = sum_n weights_cn M+_n(t_j); it is real, and slopes of complex quantities are conjugate:
    d/d(real part) + i d/d(imaginary part).

    Args:
        slope: with respect to M after the last step, (N, 3).
        arguments: of evolve by name, arrays of one library.
        tolerance: as of evolve.
        wanted: names of arguments, and weights; slopes of the others are left out.
        at: which sample is taken at the end of a step, or -1, (K,); NumPy only.
        cotangents: slopes with respect to the samples of the coils, (S, C).
        weights: of the spins in the coils, (C, N).

    Raises:
        TypeError: samples are asked for of CuPy arrays, for which the text has no place yet.
    """
    M = arguments["M"]
    xp, tolerance = namespace(M), tolerance_of(M, tolerance)
    steps, spins = played(xp, arguments, _SHORTEST)
    N, K = M.shape[0], steps.shape[0]
    host, device = not is_cupy(M), device_of(M)
    if at is not None and not host:
        raise TypeError("at: samples are followed back for NumPy arrays alone")
    group = None
    if host and "b1" not in wanted and at is None:
        steps, group = merged(steps)
    start = xp.astype(slope, xp.float64, copy=True)
    of_steps = xp.zeros((steps.shape[0], 6), dtype=xp.float64, device=device)
    of_spins = xp.zeros((8, N), dtype=xp.float64, device=device)
    shape = (0, N) if weights is None else weights.shape
    of_weights = np.zeros(shape, np.complex128)
    if N and K and host:
        table = np.empty((steps.shape[0], lanes.COLUMNS), M.dtype)
        lanes.shaped(steps, table)
        backward.bloch_adjoint(
            steps,
            table,
            spins,
            tolerance,
            "b1" in wanted,
            M,
            np.full(steps.shape[0], -1) if at is None else at,
            np.zeros((0, 0), np.complex128) if cotangents is None else cotangents,
            np.zeros(shape, np.complex128) if weights is None else weights,
            start,
            of_steps,
            of_spins,
            of_weights,
        )
    elif N and K:
        real = {"float32": "float", "float64": "double"}[str(M.dtype)]
        module = cuda_module(_CUDA_TEXT, (f"-DREAL={real}",))

        def run(name: str, num_items: int, *given: Any) -> None:
            launch(module, name, num_items, *given)

        by_segments(
            run, steps, spins, tolerance, "b1" in wanted, M, start, of_steps, of_spins, _CHUNK
        )
    found = _chained(xp, arguments, steps, of_steps, of_spins, group)
    found |= {"M": start, "weights": of_weights}
    return {name: x for name, x in found.items() if name in wanted}


def by_segments(
    run: Callable[..., None],
    steps: Float[Any, "K 6"],
    spins: Float[Any, "8 N"],
    tolerance: float,
    follow_rf: bool,
    M: Float[Any, "N 3"],
    slope: Float[Any, "N 3"],
    of_steps: Float[Any, "K 6"],
    of_spins: Float[Any, "8 N"],
    chunk: int,
) -> None:
    """Go back by the CUDA text: chunks of spins, and in each the segments from last to first.

    Args:
        run: (name, number of items, *arguments), which runs a kernel.
        steps, spins, tolerance, follow_rf, M: as of the kernel on the CPU.
        slope: with respect to M at the end, becomes that at the start.
        of_steps, of_spins: written.
        chunk: number of spins at a time, which bounds the memory.
    """
    xp = namespace(M)
    brief, K = xp.astype(steps, M.dtype), steps.shape[0]
    segment = math.isqrt(K - 1) + 1
    for begin in range(0, M.shape[0], chunk):
        here = slice(begin, min(begin + chunk, M.shape[0]))
        n = here.stop - begin
        some, sums = xp.asarray(spins[:, here], order="C"), xp.zeros_like(spins[:, here], order="C")
        turned = xp.asarray(slope[here].T, dtype=M.dtype, order="C")
        kept = xp.empty((-(-K // segment), 3, n), dtype=M.dtype)
        path = xp.empty((segment, 3, n), dtype=M.dtype)
        found = xp.empty((segment, 6, n), dtype=M.dtype)
        fixed = (some, np.int64(n), np.float64(tolerance), np.int32(follow_rf))
        start = xp.asarray(M[here], order="C")
        waveforms = (steps, brief)
        run("bloch_checkpoints", n, *waveforms, np.int64(K), *fixed, np.int64(segment), start, kept)
        for s in reversed(range(kept.shape[0])):
            first, last = s * segment, min((s + 1) * segment, K)
            ends = (np.int64(first), np.int64(last))
            run("bloch_back", n, *waveforms, *ends, *fixed, kept[s], path, turned, found, sums)
            of_steps[first:last] += xp.sum(found[: last - first], axis=-1, dtype=xp.float64)
        slope[here], of_spins[:, here] = turned.T, sums


def _chained(
    xp: Any, arguments: dict[str, Any], steps: Any, of_steps: Any, of_spins: Any, group: Any
) -> dict[str, Any]:
    """Slopes with respect to arguments from those to the columns of steps and rows of spins."""
    of_dt = of_steps[:, 5] / steps[:, 5] if steps.shape[0] else of_steps[:, 5]
    if group is not None:
        of_steps, of_dt = of_steps[group], of_dt[group]
    b1, gradient = arguments["b1"], arguments["gradient"]
    half = -0.5 * GAMMA_1H * xp.broadcast_to(as_float64(xp, arguments["dt"], b1), b1.shape)
    fields = xp.concat((xp.real(b1)[:, None], xp.imag(b1)[:, None], gradient), axis=1)
    of_dt = of_dt - 0.5 * GAMMA_1H * xp.sum(of_steps[:, :5] * fields, axis=1)
    of_fields = half[:, None] * of_steps[:, :5]
    place, (f, B1, r1, r2, M0) = of_spins[:3], of_spins[3:]
    T1, T2 = (as_float64(xp, arguments[name], b1) for name in ("T1", "T2"))
    found = {
        "b1": of_fields[:, 0] + 1j * of_fields[:, 1],
        "gradient": of_fields[:, 2:],
        "dt": of_dt,
        "position": place.T,
        "df": -math.pi * f,
        "T1": -r1 / T1**2,
        "T2": -r2 / T2**2,
        "B1": B1,
        "M0": M0,
    }
    for name in ("dt", *SPINS):
        x = arguments[name]
        if x is not None and getattr(x, "shape", ()) == ():
            found[name] = xp.sum(found[name])[...]
    return found
