"""Bloch-McConnell by affine matrices in the array API: what torch follows, and an oracle.

The state is (Mx, My, Mz) of every pool and a 1, which the last column multiplies by the recovery.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.bloch_mcconnell_arguments import (
    Pool,
    Pulses,
    Semisolid,
    library_of,
    numbers_of,
    pools_of,
    pulses_of,
    settings_of,
)
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.line_shape import gaussian, lorentzian, super_lorentzian

SHAPES = {"Lorentzian": lorentzian, "Gaussian": gaussian, "super-Lorentzian": super_lorentzian}
_TERMS, _REACH, _MOST_HALVINGS = 10, 0.1, 26


def z_spectrum_formula(
    pools: Any,
    offsets_ppm: Any,
    pulses: Any,
    B0: Any,
    df_ppm: Any = 0.0,
    B1: Any = 1.0,
    *,
    Mz0: Any = 1.0,
) -> Float[Any, "... offsets"]:
    """The same in the array API by affine matrices, differentiable in every number.

    Values are not checked. Memory grows with offsets and batch times (3 pools + 1)^2.

    Args:
        pools, offsets_ppm, pulses, B0, df_ppm, B1, Mz0: as above; durations and gaps may be arrays
            of no dimension.
    """
    pools, trains = pools_of(pools), pulses_of(pulses)
    numbers = numbers_of(pools, df_ppm, B1, Mz0)
    offsets_ppm = offsets_ppm if hasattr(offsets_ppm, "shape") else np.asarray(offsets_ppm, float)
    others = settings_of(trains, offsets_ppm, B0)
    xp, kind, shape = library_of(numbers, others)
    arrays = [*numbers.values(), *others.values()]
    like = next((x for x in arrays if hasattr(x, "shape") and namespace(x) is xp), np.empty(0))

    def number(x: Any) -> Any:
        if hasattr(x, "shape") and namespace(x) is xp:
            return xp.astype(x, xp.float64)
        return xp.asarray(np.asarray(x, float), dtype=xp.float64, device=device_of(like))

    values = {name: number(x)[..., None] for name, x in numbers.items()}
    values["offsets"] = number(offsets_ppm)
    per_ppm = 1e-6 * GAMMA_1H * number(B0)
    cells = _relaxation(values, pools)
    for p, pool in enumerate(pools):
        if not isinstance(pool, Semisolid):
            cells |= _turning(p, per_ppm * detuning(values, p, values["offsets"]))
    start = [number(0.0), number(0.0), number(1.0)]
    rows = [values[f"pools[{p}].fraction"] * values["Mz0"] * x for p in range(len(pools))
            for x in start]  # fmt: skip
    full = (*shape, values["offsets"].shape[0])
    M = xp.stack([xp.broadcast_to(x, full) for x in [*rows, number(1.0)]], axis=-1)[..., None]
    for train in trains:
        M = _saturated(xp, M, train, cells, values, pools, per_ppm, number)
    ratio = M[..., 2, 0] / values["pools[0].fraction"]
    return xp.astype(ratio, kind)


def _saturated(
    xp: Any,
    M: Any,
    train: Pulses,
    cells: Any,
    values: Any,
    pools: Sequence[Pool],
    per_ppm: Any,
    number: Any,
) -> Any:
    """(..., 3 pools + 1, 1) after a train: affine matrices, of which the last row is 0 ... 0 1."""
    size, shape = 3 * len(pools) + 1, M.shape[:-2]
    x, y = _samples(train.amplitude, number)
    step = number(train.duration) / x.shape[0]
    pulse = None
    for i in range(x.shape[0]):
        sample = expm(_matrix(xp, _driven(cells, values, pools, per_ppm, x[i], y[i]), size, shape)
                      * step)  # fmt: skip
        pulse = sample if pulse is None else xp.matmul(sample, pulse)
    frame = 0.0 if train.oscillator == "halted" else values["offsets"]
    free = dict(cells)
    for p, pool in enumerate(pools):
        if not isinstance(pool, Semisolid):
            free |= _turning(p, per_ppm * detuning(values, p, frame))
    gap = expm(_matrix(xp, free, size, shape) * number(train.gap))
    if train.spoiled:
        kept = [float(i % 3 == 2 or i == size - 1) for i in range(size)]
        gap = gap * number(kept)[:, None]
    both = xp.matmul(gap, pulse)
    for _ in range(train.number):
        M = xp.matmul(both, M)
    return M


def expm(A: Float[Any, "*batch n n"]) -> Float[Any, "*batch n n"]:
    """exp(A) = (1 + F)^(2^s), F = exp(A / 2^s) - 1 as a Taylor series, F -> 2 F + F F.

    Without the 1 no digit of what is slow is lost, however often is squared; so one s serves all
    matrices, and where torch hides the values (vmap) it is 26, enough for norms up to 6e6.

    Args:
        A: square matrices; float64 is advised.

    Source: scaling and squaring: Moler and Van Loan, Nineteen dubious ways to compute the
    exponential of a matrix, SIAM Review 20(4), 1978.
    """
    xp, values, halvings = namespace(A), host(A), _MOST_HALVINGS
    if values is not None:
        largest = float(np.abs(values).sum(axis=-2).max()) if values.size else 0.0
        halvings = max(0, math.ceil(math.log2(max(largest, 1e-300) / _REACH)))
    step = A * 2.0**-halvings
    F = step / _TERMS
    for n in range(_TERMS - 1, 0, -1):
        F = (step + xp.matmul(step, F)) / n
    for _ in range(halvings):
        F = 2.0 * F + xp.matmul(F, F)
    return F + xp.eye(A.shape[-1], dtype=A.dtype, device=device_of(A))


def _relaxation(values: Any, pools: Sequence[Pool]) -> dict[tuple[int, int], Any]:
    """Cells of the affine matrix that neither RF nor offset change."""
    cells: dict[tuple[int, int], Any] = {}
    last = 3 * len(pools)
    for p, pool in enumerate(pools):
        T1, T2, fraction = (values[f"pools[{p}].{name}"] for name in ("T1", "T2", "fraction"))
        k = values[f"pools[{p}].exchange"] if p else 0.0
        solid = isinstance(pool, Semisolid)
        arriving = k * fraction / values["pools[0].fraction"]
        for axis in range(2 if solid else 0, 3):
            cells[3 * p + axis, 3 * p + axis] = -1.0 / (T1 if axis == 2 else T2) - k
            if p:
                cells[axis, 3 * p + axis] = k
                cells[3 * p + axis, axis] = arriving
                cells[axis, axis] = cells[axis, axis] - arriving
        cells[3 * p + 2, last] = fraction / T1
    return cells


def detuning(values: Any, p: int, frame: Any) -> Any:
    """Of a pool from the frame, ppm.

    Args:
        values: by name, as numbers_of gives them.
        p: which pool.
        frame: ppm.
    """
    return values[f"pools[{p}].shift_ppm"] + values["df_ppm"] - frame


def _turning(p: int, shift: Any) -> dict[tuple[int, int], Any]:
    return {(3 * p, 3 * p + 1): shift, (3 * p + 1, 3 * p): -shift}


def _driven(cells: Any, values: Any, pools: Sequence[Pool], per_ppm: Any, x: Any, y: Any) -> Any:
    """With RF of x, y rad/s times B1."""
    cells, B1 = dict(cells), values["B1"]
    for p, pool in enumerate(pools):
        if isinstance(pool, Semisolid):
            here = cells[3 * p + 2, 3 * p + 2]
            absorption = saturation(values, p, SHAPES[pool.line], per_ppm)
            cells[3 * p + 2, 3 * p + 2] = here - absorption * (x * x + y * y) * B1**2
        else:
            for i, j, rate in ((0, 2, -y), (1, 2, x), (2, 0, y), (2, 1, -x)):
                cells[3 * p + i, 3 * p + j] = rate * B1
    return cells


def saturation(values: Any, p: int, shape: Any, per_ppm: Any) -> Any:
    """pi g of a semisolid pool at every offset, s.

    Args:
        values: by name, as numbers_of gives them, with an axis of offsets, and "offsets" in ppm.
        p: which pool.
        shape: line shape, of Hz and s.
        per_ppm: rad/s.
    """
    df = -per_ppm / (2 * math.pi) * detuning(values, p, values["offsets"])
    return math.pi * shape(df, values[f"pools[{p}].T2"])


def _matrix(xp: Any, cells: Any, size: int, shape: tuple[int, ...]) -> Any:
    zero = 0.0 * next(iter(cells.values()))
    flat = [xp.broadcast_to(cells.get((i, j), zero), shape) for i in range(size)
            for j in range(size)]  # fmt: skip
    return xp.reshape(xp.stack(flat, axis=-1), (*shape, size, size))


def _samples(amplitude: Any, number: Any) -> tuple[Any, Any]:
    """Angular velocities about x and y, rad/s, (samples,)."""
    amplitude = amplitude if hasattr(amplitude, "shape") else np.asarray(amplitude)
    xp = namespace(amplitude)
    amplitude = xp.reshape(amplitude, (-1,))
    if xp.isdtype(amplitude.dtype, "complex floating"):
        return GAMMA_1H * number(xp.real(amplitude)), GAMMA_1H * number(xp.imag(amplitude))
    return GAMMA_1H * number(amplitude), 0.0 * number(amplitude)
