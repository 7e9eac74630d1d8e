"""The signal of a plane on a grid, read in parallel lines: products in place of exponentials.

Without RF, M+ of a voxel is m exp(-a t - 2 pi i k.r), a = 1/T2 + 2 pi i df. With lines of one ky
each, at even times and steps of ky, the sum over y is a product of two matrices per column of the
grid, and that over x another; within a line exp(-a t) is interpolated between a few moments.

Axes: B sample, X and Y grid, L line, S sample of a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import cuda_module, interned, is_cupy, kept, launch, namespace
from ipads_stream.physics.arrays import as_constant
from ipads_stream.physics.dispatch import real_option

_CUDA_TEXT = Path(__file__).parent / "kernels" / "lines.cu"

EVEN = 1e-3  # turns at the edge of k-space, and share of a line's duration, that may be off
MOMENTS = 3


@dataclass(frozen=True, eq=False)  # one and the same has one and the same tables
class Lines:
    """When and where in k-space the samples of parallel lines lie.

    kx: 1/m, of lines 0, 2, ... and of lines 1, 3, ...; ky: 1/m, in even steps; start: time of the
    first line, s, from where the magnetisation is known; spacing: of the lines, s; since: time of
    the samples since that of their line, s.
    """

    kx: Float[np.ndarray, "2 S"]
    ky: Float[np.ndarray, " L"]
    start: float
    spacing: float
    since: Float[np.ndarray, "2 S"]


def lines_of(k: Float[np.ndarray, "L S 2"], t: Float[np.ndarray, "L S"]) -> Lines:
    """Lines of a trajectory k, 1/m, along x and y, at times t, s, since the magnetisation is known.

    Raises:
        ValueError: lines that are not along x, not at even steps of ky and of time, or differ in
            more than whether they are even or odd.
    """
    if len(k) < 2:
        raise ValueError(f"{len(k)} lines: two or more are allowed")
    extent = np.ptp(k[..., 0]) + np.ptp(k[..., 1])
    ky = np.linspace(k[0, :, 1].mean(), k[-1, :, 1].mean(), len(k))
    middle = 0.5 * (t.min(axis=1) + t.max(axis=1))
    # Lines that run to and fro are sampled half a dwell from the middle, on alternating sides.
    last = len(k) - 1 - (len(k) - 1) % 2
    spacing = float((middle[last] - middle[0]) / last) if last else float(middle[1] - middle[0])
    start = float(np.mean(middle - spacing * np.arange(len(k))))
    since = t - start - spacing * np.arange(len(k))[:, None]
    kx, late = k[:2, :, 0], since[:2]
    parity = np.arange(len(k)) % 2
    even = np.abs(k[..., 1] - ky[:, None]).max() <= EVEN * extent
    even &= np.abs(k[..., 0] - kx[parity]).max() <= EVEN * extent
    even &= np.abs(since - late[parity]).max() <= EVEN * np.ptp(t[0])
    if not even:
        raise ValueError("trajectory: parallel lines at even steps of ky and of time are allowed")
    return Lines(kx, ky, start, spacing, late)


def read_lines(
    M: Complex[Any, "B X Y"],
    lines: Lines,
    spacing: tuple[float, float],
    *,
    T2: Float[Any, "B X Y"],
    df: Float[Any, "B X Y"],
    moments: int = MOMENTS,
) -> Complex[Any, "B L S"]:
    """The signal of transverse magnetisation on a grid while lines are read.

    s_ls = sum_xy M exp(-(1/T2 + 2 pi i df) t_ls - 2 pi i (kx_ls x + ky_l y))

    Voxel i of n is centred at (i - n // 2) spacing, m; M is that at time 0, T2 in s, df in Hz.
    Within a line the exponential of time is the polynomial through ``moments`` Chebyshev points; of
    lines of duration T its largest error is about (pi |df| T / 2)^moments / (moments! 2^(moments -
    1)).
    """
    xp, (X, Y), L = namespace(M), M.shape[-2:], len(lines.ky)
    rows = max(1, round(math.sqrt(moments * L)))  # powers of one line's step; the rest in blocks
    blocks = -(-L // rows)
    reach = float(np.abs(lines.since).max())
    nodes = np.cos(math.pi * (np.arange(moments) + 0.5) / moments)
    stepping, beginning, *along = (
        as_constant(x, M) for x in _tables(lines, X, Y, tuple(spacing), moments)
    )

    times = lines.start + reach * nodes
    if is_cupy(M):
        a, b = _factors_on_gpu(M, T2, df, stepping, beginning, times, lines.spacing, blocks, rows)
    else:
        a, b = _factors(M, T2, df, stepping, beginning, times, lines.spacing, blocks, rows)
    # A product per column of the grid, of (B, X, moments blocks, Y) and (B, X, Y, powers)
    products = xp.matmul(a, b)
    # (B, X, moments, L), a power of the step after the other
    products = xp.reshape(products, (-1, X, moments, blocks * rows))[..., :L]
    out = []
    for parity, factors in enumerate(along):
        half = xp.permute_dims(products[..., parity::2], (0, 3, 1, 2))
        out.append(xp.matmul(xp.reshape(half, (*half.shape[:2], -1)), factors))
    return interleaved(*out)


def _factors(
    M: Any, T2: Any, df: Any, stepping: Any, beginning: Any, times: np.ndarray, spacing: float,
    blocks: int, rows: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Magnetisation at the times of a line, after every block of lines, and powers of the step from
    a line to the next, of every voxel."""
    xp = namespace(M)

    def passed(t: float) -> Any:
        e, angle = xp.exp(-t / T2), (-2 * math.pi * t) * df
        return e * xp.cos(angle) + 1j * (e * xp.sin(angle))

    power = passed(spacing) * stepping
    right = [xp.ones_like(power), power]
    for _ in range(rows - 1):
        right.append(right[-1] * power)
    block = right.pop()  # the step of a whole block
    first = M * beginning
    left = []
    for t in times:
        # In this order also where NumPy swaps factors (see single_shot.py).
        left.append(passed(float(t)) * first)
        for _ in range(blocks - 1):
            left.append(left[-1] * block)
    a = xp.permute_dims(xp.stack(left, axis=1), (0, 2, 1, 3))
    b = xp.permute_dims(xp.stack(right, axis=1), (0, 2, 3, 1))
    return a, b


def _factors_on_gpu(
    M: Any, T2: Any, df: Any, stepping: Any, beginning: Any, times: np.ndarray, spacing: float,
    blocks: int, rows: int,
) -> tuple[Any, Any]:  # fmt: skip
    """As :func:`_factors`, by one kernel instead of some eighty array operations."""
    xp, (B, X, Y), real = namespace(M), M.shape, M.real.dtype
    left = xp.empty((B, X, len(times) * blocks, Y), dtype=M.dtype)
    right = xp.empty((B, X, Y, rows), dtype=M.dtype)
    launch(
        cuda_module(_CUDA_TEXT, real_option(M)),
        "line_factors",
        B * X * Y,
        xp.ascontiguousarray(M),
        *(xp.ascontiguousarray(xp.astype(x, real, copy=False)) for x in (T2, df)),
        stepping,
        beginning,
        kept(interned(times), xp, real),
        np.float64(spacing),
        *map(np.int64, (B * X, Y, len(times), blocks, rows)),
        left,
        right,
    )
    return left, right


def interleaved(even: Complex[Any, "B E S"], odd: Complex[Any, "B O S"]) -> Complex[Any, "B L S"]:
    """Lines 0, 2, ... and lines 1, 3, ... in turn."""
    xp, L = namespace(even), even.shape[1] + odd.shape[1]
    if L % 2:
        odd = xp.concat([odd, xp.zeros_like(even[:, :1])], axis=1)
    both = xp.stack([even, odd], axis=2)
    return xp.reshape(both, (both.shape[0], -1, both.shape[-1]))[:, :L]


@lru_cache(maxsize=8)
def _tables(
    lines: Lines, X: int, Y: int, spacing: tuple[float, float], moments: int
) -> tuple[np.ndarray, ...]:
    """Phases of y for a step of ky and its first, (Y,), and weights along even and odd lines."""
    reach = float(np.abs(lines.since).max())
    nodes = np.cos(math.pi * (np.arange(moments) + 0.5) / moments)
    x, y = ((np.arange(n) - n // 2) * d for n, d in zip((X, Y), spacing, strict=True))
    step = float(lines.ky[-1] - lines.ky[0]) / (len(lines.ky) - 1)
    phases = (np.exp(-2j * math.pi * k * y) for k in (step, lines.ky[0]))
    return *phases, *(_along(lines, parity, x, nodes, reach) for parity in range(2))


def _along(lines: Lines, parity: int, x: np.ndarray, nodes: np.ndarray, reach: float) -> np.ndarray:
    """Weights of the moments times exp(-2 pi i kx x), of samples along a line, (X P, S)."""
    u = lines.since[parity] / reach if reach > 0 else 0 * lines.since[parity]
    others = ~np.eye(len(nodes), dtype=bool)
    weights = [np.prod((u - nodes[o][:, None]) / (nodes[n] - nodes[o])[:, None], axis=0)
               for n, o in enumerate(others)]  # fmt: skip
    phase = np.exp(-2j * math.pi * x[:, None] * lines.kx[parity])
    return (phase[:, None] * np.stack(weights)).reshape(-1, phase.shape[-1])
