"""Isochromats on a GPU: what the CUDA texts are given, evolution and readout by them.

Both libraries plan alike: the halvings of a step are those that the spins of a group need that
reach furthest. On a GPU a kernel plans, so that the host need not wait for the spins.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    interned,
    is_numpy,
    kept,
    launch,
    namespace,
)
from ipads_stream.physics.arrays import precision
from ipads_stream.physics.bloch.kernels import evolve as lanes
from ipads_stream.physics.bloch.kernels.parts import BYTES, GROUP, VECTORS
from ipads_stream.physics.bloch.readout_lines import Lines, cut
from ipads_stream.physics.dispatch import real_option

_KERNELS = Path(__file__).parent / "kernels"
_LANES, _CHUNK, _COILS = 32, 512, 4  # of a warp; spins and coils of a readout, as in its text
_ROWS, _POINTS = 32, {"float32": 64, "float64": 16}  # of a tile
# Issue slots per spin of a tile and of a warp's single samples, about
_SLOTS = {"float32": (540, 100), "float64": (350, 180)}
_WIDTH = 8  # of a row of waveforms, two vectors of four


def shaped(steps: Float[np.ndarray, "K 6"], kind: Any) -> Any:
    """Waveforms of steps, in the dtype kind, (K, COLUMNS), rounded as their sums need it."""
    table = np.empty((steps.shape[0], lanes.COLUMNS), kind)
    lanes.shaped(steps, table)
    return table


def planned(
    steps: Float[Any, "K 6"], spins: Float[Any, "8 N"], tolerance: float, follow_rf: bool, M: Any
) -> tuple[Any, ...]:
    """What the texts take first, on the device of M: steps and spins, and the way of every step.

    Waveforms of NumPy are rounded as on the CPU; those that are on the device already as they are,
    as anything else would stop the stream. follow_rf: as of the adjoint.
    """
    xp, K, N = namespace(M), np.int64(steps.shape[0]), np.int64(M.shape[0])
    near = np if is_numpy(steps) else xp
    table = near.zeros((steps.shape[0], _WIDTH), dtype=M.dtype)
    table[:, : lanes.COLUMNS] = shaped(steps, M.dtype) if near is np else steps[:, : lanes.COLUMNS]
    if near is np:  # of a sequence: mostly the same from batch to batch
        steps, table = kept(interned(steps), xp), kept(interned(table), xp)
    else:
        steps = xp.ascontiguousarray(steps)
    group = GROUP * VECTORS * BYTES // M.dtype.itemsize
    groups = -(-M.shape[0] // group)
    ways, ends = (xp.empty((groups, steps.shape[0]), dtype=kind) for kind in (xp.int8, xp.int32))
    launch(
        cuda_module(_KERNELS / "plan.cu"),
        "plan",
        groups * _LANES,
        steps,
        K,
        spins,
        N,
        np.float64(tolerance),
        np.int32(follow_rf),
        np.int64(group),
        ways,
        ends,
    )
    return steps, table, K, spins, N, ways, ends, np.int64(group)


def evolve_planned(
    given: tuple[Any, ...],
    M: Float[Any, "N 3"],
    segment: int = 0,
    checkpoints: Float[Any, "segments 3 N"] | None = None,
) -> None:
    """Evolve M in place through what is planned; kept where segments of so many steps begin."""
    places = M if checkpoints is None else checkpoints
    module = cuda_module(_KERNELS / "evolve.cu", real_option(M))
    launch(module, "bloch", M.shape[0], *given, np.int64(segment), places, M)


@functools.lru_cache(maxsize=64)
def lines_of(relative: bytes, grain: bytes, growth: float) -> Lines:
    """The cut of rows, kept from batch to batch: it depends on the sequence."""
    grains = np.frombuffer(grain)
    return cut(np.frombuffer(relative).reshape(-1, len(grains)), grains, growth)


def by_lines(
    rows: Float[np.ndarray, "S C"],
    lines: Lines,
    spins: Float[Any, "8 BN"],
    extra: Float[Any, "2 BN"],
    M: Float[Any, "BN 3"],
    sensitivity: Complex[Any, "B coils N"],
) -> Complex[Any, "B coils S"]:
    """The signal by the CUDA text: products where lines share a pattern, else sample by sample."""
    xp, (B, C, N), S = namespace(M), sensitivity.shape, len(rows)
    chunks, groups = -(-N // _CHUNK), -(-C // _COILS)
    out = xp.empty((B, C, chunks, S), dtype=sensitivity.dtype, device=device_of(M))
    module = cuda_module(_KERNELS / "readout.cu", real_option(M))
    tile, single = _SLOTS[precision(M)]
    sizes = (np.int64(n) for n in (B, C, N))
    shared = (xp.asarray(rows), np.int64(S), spins, extra, M, sensitivity, *sizes)
    alone, place = [], 0
    for _, num, _, points in lines.groups:
        firsts, place = lines.firsts[place : place + num], place + num
        tiles = -(-num * C // _ROWS) * -(-points // _POINTS[precision(M)])
        if tiles * tile * _LANES > num * points * groups * single:
            alone.append((firsts[:, None] + np.arange(points)).ravel())
            continue
        launch(module, "readout_lines", B * chunks * int(tiles) * _LANES, *shared,
               xp.asarray(firsts), np.int64(num), np.int64(points), out)  # fmt: skip
    if alone:
        listed = np.concatenate(alone)
        launch(module, "readout", B * chunks * groups * len(listed), *shared,
               xp.asarray(listed), np.int64(len(listed)), out)  # fmt: skip
    return xp.sum(out, axis=2)
