"""Derivatives of isochromats in reverse mode: kernels backward, and the chain rule around them.

Memory stays bounded: on the CPU blocks of spins follow one another, on the GPU chunks of them.

Source: adjoint of the Bloch equation: Conolly, Nishimura and Macovski, IEEE Transactions on Medical
Imaging 5, 106 (1986); checkpoints: Griewank, Optimization Methods and Software 1, 35 (1992).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import cuda_module, device_of, is_cupy, launch, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arrays import as_float64
from ipads_stream.physics.bloch.arguments import SPINS, merged, played, tolerance_of
from ipads_stream.physics.bloch.kernels import adjoint as backward
from ipads_stream.physics.bloch.on_gpu import evolve_planned, planned, shaped
from ipads_stream.physics.dispatch import real_option

_CUDA_TEXT = Path(__file__).parent / "kernels" / "adjoint.cu"
_CHUNK = 1 << 18  # of spins on the GPU: more than it runs at a time
_WARP = 32  # spins whose slopes of steps the kernel sums
_SHORTEST = 1e-20  # s, in place of 0, to which the slopes of dt are ratios; no float64 shows it


def slopes(
    slope: Float[Any, "N 3"],
    arguments: Mapping[str, Any],
    tolerance: float | None = None,
    *,
    wanted: frozenset[str],
) -> dict[str, Any]:
    """Slopes of a real scalar with respect to the wanted arguments of evolve, in their shapes.

    slope: with respect to M after the last step. Slopes of complex quantities are conjugate:
    d/d(real part) + i d/d(imaginary part).
    """
    M = arguments["M"]
    xp, tolerance, device = namespace(M), tolerance_of(M, tolerance), device_of(M)
    steps, spins = played(xp, arguments, _SHORTEST)
    N, K, group = M.shape[0], steps.shape[0], None
    if not is_cupy(M) and "b1" not in wanted:
        steps, group = merged(steps)
    start = xp.astype(slope, xp.float64, copy=True)
    of_steps = xp.zeros((steps.shape[0], 6), dtype=xp.float64, device=device)
    of_spins = xp.zeros((8, N), dtype=xp.float64, device=device)
    given = spins, tolerance, "b1" in wanted, M, start, of_steps, of_spins
    if N and K and is_cupy(M):
        _by_segments(steps, *given)
    elif N and K:
        backward.bloch_adjoint(steps, shaped(steps, M.dtype), *given)
    chained = _chained(xp, arguments, steps, of_steps, of_spins, group) | {"M": start}
    return {name: x for name, x in chained.items() if name in wanted}


def _by_segments(
    steps: Float[Any, "K 6"],
    spins: Float[Any, "8 N"],
    tolerance: float,
    follow_rf: bool,
    M: Float[Any, "N 3"],
    slope: Float[Any, "N 3"],
    of_steps: Float[Any, "K 6"],
    of_spins: Float[Any, "8 N"],
) -> None:
    """Go back by the CUDA text: chunks of spins, and in each the segments from last to first.

    slope becomes that with respect to M at the start; of_steps, of_spins: written.
    """
    xp, module, K = namespace(M), cuda_module(_CUDA_TEXT, real_option(M)), steps.shape[0]
    segment = math.isqrt(K - 1) + 1
    for begin in range(0, M.shape[0], _CHUNK):
        here = slice(begin, min(begin + _CHUNK, M.shape[0]))
        n = here.stop - begin
        tissue = xp.asarray(spins[:, here], order="C")
        start = xp.empty((n, 3), dtype=M.dtype)
        start[...] = M[here]
        given = planned(steps, tissue, tolerance, follow_rf, start)
        sums = xp.zeros_like(tissue)
        turned = xp.asarray(slope[here].T, dtype=M.dtype, order="C")
        kept = xp.empty((-(-K // segment), 3, n), dtype=M.dtype)
        path = xp.empty((segment, 3, n), dtype=M.dtype)
        by_step = xp.empty((segment, 6, -(-n // _WARP)), dtype=M.dtype)
        evolve_planned(given, start, segment, kept)
        for s in reversed(range(kept.shape[0])):
            first, last = s * segment, min((s + 1) * segment, K)
            ends = (np.int64(first), np.int64(last))
            launch(
                module, "bloch_back", n, *given, *ends, kept[s], path, turned, by_step, sums
            )  # fmt: skip
            of_steps[first:last] += xp.sum(by_step[: last - first], axis=-1, dtype=xp.float64)
        slope[here], of_spins[:, here] = turned.T, sums


def _chained(
    xp: Any, arguments: Any, steps: Any, of_steps: Any, of_spins: Any, group: Any
) -> dict[str, Any]:
    """Slopes with respect to arguments from those to the columns of steps and rows of spins."""
    of_dt = of_steps[:, 5] / steps[:, 5]
    if group is not None:
        of_steps, of_dt = of_steps[group], of_dt[group]
    b1, gradient = arguments["b1"], arguments["gradient"]
    half = -0.5 * GAMMA_1H * xp.broadcast_to(as_float64(arguments["dt"], b1), b1.shape)
    fields = xp.concat((xp.real(b1)[:, None], xp.imag(b1)[:, None], gradient), axis=1)
    of_dt = of_dt - 0.5 * GAMMA_1H * xp.sum(of_steps[:, :5] * fields, axis=1)
    of_fields = half[:, None] * of_steps[:, :5]
    place, (f, B1, r1, r2, M0) = of_spins[:3], of_spins[3:]
    T1, T2 = (as_float64(arguments[name], b1) for name in ("T1", "T2"))
    chained = {
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
            chained[name] = xp.sum(chained[name])[...]
    return chained
