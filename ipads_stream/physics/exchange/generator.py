"""Affine matrices by which the state of exchanging pools changes in time (saturation.py)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arrays import as_float64, host
from ipads_stream.physics.exchange import line_shape
from ipads_stream.physics.exchange.arguments import Experiment, Pool, Semisolid

SHAPES = {"Lorentzian": line_shape.lorentzian, "Gaussian": line_shape.gaussian,
          "super-Lorentzian": line_shape.super_lorentzian}  # fmt: skip
_TERMS, _REACH, _MOST_HALVINGS = 10, 0.1, 26  # of the exponential of a matrix


class Generator:
    """Affine matrices of an experiment, by which its state changes in time.

    The state is (Mx, My, Mz) of every pool and a 1, which the last column of a matrix multiplies by
    the recovery; the last row is 0 ... 0 1. Axes: (*batch, offsets).
    """

    def __init__(self, experiment: Experiment) -> None:
        self.number = functools.partial(as_float64, like=experiment.like)
        self.pools, self.size = experiment.pools, 3 * len(experiment.pools) + 1
        number = self.number
        self.values = {name: number(x)[..., None] for name, x in experiment.numbers.items()}
        self.values["offsets"] = number(experiment.settings["offsets_ppm"])
        self.shape = (*experiment.shape, self.values["offsets"].shape[0])
        self.per_ppm = 1e-6 * GAMMA_1H * number(experiment.settings["B0"])
        self.xp, self.relaxation = namespace(experiment.like), _relaxation(self.values, self.pools)
        self.cells = self.relaxation | self._turning(self.values["offsets"])

    def _turning(self, frame: Any) -> Any:
        return _turning(self.values, self.pools, self.per_ppm, frame)

    def start(self) -> Any:
        """The state of Mz0 in all pools, (*batch, offsets, size, 1)."""
        axes = [self.number(0.0), self.number(0.0), self.number(1.0)]
        rows = [self.values[f"pools[{p}].fraction"] * self.values["Mz0"] * x
                for p in range(len(self.pools)) for x in axes]  # fmt: skip
        rows = [self.xp.broadcast_to(x, self.shape) for x in [*rows, self.number(1.0)]]
        return self.xp.stack(rows, axis=-1)[..., None]

    def driven(self, x: Any, y: Any) -> Any:
        """With RF of x, y rad/s, in the frame of the offsets, (*batch, offsets, size, size)."""
        cells = _driven(self.cells, self.values, self.pools, self.per_ppm, x, y)
        return _matrix(self.xp, cells, self.size, self.shape)

    def free(self, frame: Any) -> Any:
        """Without RF, in a frame, ppm."""
        return _matrix(self.xp, self.relaxation | self._turning(frame), self.size, self.shape)

    def spoiled(self) -> Any:
        """What is left of each number of a state if nothing transverse is, (size, 1)."""
        kept = [float(i % 3 == 2 or i == self.size - 1) for i in range(self.size)]
        return self.number(kept)[:, None]


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
    """Distance of pool p from a frame, both in ppm."""
    return values[f"pools[{p}].shift_ppm"] + values["df_ppm"] - frame


def _turning(values: Any, pools: Sequence[Pool], per_ppm: Any, frame: Any) -> Any:
    """Cells of the precession in a frame, ppm."""
    cells: dict[tuple[int, int], Any] = {}
    for p, pool in enumerate(pools):
        if not isinstance(pool, Semisolid):
            x, shift = 3 * p, per_ppm * detuning(values, p, frame)
            cells |= {(x, x + 1): shift, (x + 1, x): -shift}
    return cells


def _driven(cells: Any, values: Any, pools: Sequence[Pool], per_ppm: Any, x: Any, y: Any) -> Any:
    """With RF of x, y rad/s times B1."""
    cells, B1 = dict(cells), values["B1"]
    for p, pool in enumerate(pools):
        if isinstance(pool, Semisolid):
            here = cells[3 * p + 2, 3 * p + 2]
            absorption = absorption_of(values, p, SHAPES[pool.line], per_ppm)
            cells[3 * p + 2, 3 * p + 2] = here - absorption * (x * x + y * y) * B1**2
        else:
            for i, j, rate in ((0, 2, -y), (1, 2, x), (2, 0, y), (2, 1, -x)):
                cells[3 * p + i, 3 * p + j] = rate * B1
    return cells


def absorption_of(values: Any, p: int, shape: Any, per_ppm: Any) -> Any:
    """pi g of the semisolid pool p at every offset, s; shape: of Hz and s, per_ppm: rad/s."""
    df = -per_ppm / (2 * math.pi) * detuning(values, p, values["offsets"])
    return math.pi * shape(df, values[f"pools[{p}].T2"])


def _matrix(xp: Any, cells: Any, size: int, shape: tuple[int, ...]) -> Any:
    zero = 0.0 * next(iter(cells.values()))
    flat = [xp.broadcast_to(cells.get((i, j), zero), shape) for i in range(size)
            for j in range(size)]  # fmt: skip
    return xp.reshape(xp.stack(flat, axis=-1), (*shape, size, size))
