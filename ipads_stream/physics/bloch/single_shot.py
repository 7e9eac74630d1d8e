"""Single-shot images of a plane: excitations, a crushed refocusing pulse and lines of EPI.

The Bloch equation is played to one isochromat per voxel up to the refocusing pulse. Equal crushers
about it leave what it turns from M- to M+, for which no isochromats across a voxel are needed: the
pulse takes (Mx, My) = (1, 0) to p and (0, 1) to q, and M- to (p + i q) / 2. Then lines are read.

Axes: K step, L line, S sample of a line, B sample of a batch, X and Y grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    fused,
    is_cupy,
    is_numpy,
    kept,
    launch,
    namespace,
)
from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics.arrays import as_constant
from ipads_stream.physics.bloch import evolution as bloch
from ipads_stream.physics.bloch import line_readout
from ipads_stream.physics.bloch.arguments import columns as bloch_columns
from ipads_stream.physics.bloch.arguments import merged
from ipads_stream.physics.bloch.on_gpu import evolve_planned, planned
from ipads_stream.physics.bloch.phantom import places
from ipads_stream.physics.bloch.sequence_signal_formula import played
from ipads_stream.physics.dispatch import real_option

_CUDA_TEXT = Path(__file__).parent / "kernels" / "shot.cu"

PARTS = 32  # of constant RF, in a pulse
CACHED = 1 << 15  # voxels at a time on the CPU; eight times as many take twice the time
TOLERANCE = 1e-4  # of relaxation during a step with RF
ALIKE = 1e-6  # relative, of the crushers
LEAST_CRUSHING = 100.0  # 1/m: at least half a turn over a slice of 5 mm


@dataclass(frozen=True, eq=False)
class Steps:
    """RF, T, and gradients in the plane, T/m, constant within K steps of dt, s."""

    b1: Complex[np.ndarray, " K"]
    gradient: Float[np.ndarray, "K 3"]
    dt: Float[np.ndarray, " K"]


@dataclass(frozen=True)
class SingleShot:
    """A sequence in the parts in which it is simulated.

    before: from the start to the refocusing pulse; lines: times from its end, k of magnetisation
    that it turned from M- to M+; echoes: where in k-space that of each excitation lies, 1/m; TE:
    from each excitation until its place in k-space is read, s, by which T2 acts.
    """

    before: Steps
    refocusing: Steps
    lines: line_readout.Lines
    echoes: Float[np.ndarray, "E 2"]
    TE: Float[np.ndarray, " E"]


def parts_of(sequence: Any, *, parts: int = PARTS, crushed: bool = True) -> SingleShot:
    """Excitations, refocusing pulse and lines of a sequence.

    Args:
        sequence: Waveforms, or what gives them: excitations without a slice, gradients in the
            plane, a refocusing pulse between equal crushers along z, one train of lines.
        crushed: whether it has these crushers; False where what the pulse does not refocus vanishes
            otherwise, as by cycling of its phase: it is left out just the same.
        parts: of constant RF that a pulse is cut into, each the mean of the steps in it.

    Raises:
        ValueError: what the sequence has instead.
    """
    waveforms = played(sequence)
    b1, gradient, dt = (np.asarray(x) for x in (waveforms.b1, waveforms.gradient, waveforms.dt))
    uses = [pulse.use for pulse in waveforms.pulses]
    if any(pulse.frame for pulse in waveforms.pulses):
        raise ValueError("pulses: one in a frame of its own; short ones near resonance are allowed")
    if uses.count("refocusing") != 1 or uses[-1] != "refocusing":
        raise ValueError(f"pulses: {', '.join(uses)}; excitations and one refocusing are allowed")
    last = waveforms.pulses[-1]
    if crushed:
        _check_crushers(gradient[:, 2] * dt, last.first, last.stop)
    elif gradient[:, 2].any():
        raise ValueError("gradient: one along z; without crushers none is allowed")
    plane = gradient * [1.0, 1.0, 0.0]
    area = np.cumsum(plane[last.stop :] * dt[last.stop :, None], axis=0)
    sampled = np.asarray(waveforms.sampled)
    if sampled[: last.stop].any() or np.any(np.asarray(waveforms.receiver)):
        raise ValueError("sampled: samples after the refocusing pulse, of phase 0, are allowed")
    k = GAMMA_BAR_1H * area[sampled[last.stop :], :2]
    t = np.cumsum(dt[last.stop :])[sampled[last.stop :]]
    longest = 1.5 * np.median(np.diff(t))
    count = int(np.count_nonzero(np.diff(t) > longest)) + 1
    if len(t) % count:
        raise ValueError(f"sampled: {len(t)} samples in {count} lines; equal lines are allowed")
    lines = line_readout.lines_of(k.reshape(count, -1, 2), t.reshape(count, -1))
    sofar = np.concatenate([np.zeros((1, 3)), np.cumsum(plane * dt[:, None], axis=0)])
    exciting = [(p.first, p.stop) for p in waveforms.pulses[:-1]] + [(last.first, last.first)]
    middles = [(first + stop) // 2 for first, stop in exciting[:-1]]
    echoes = GAMMA_BAR_1H * (sofar[last.first] - sofar[middles])[:, :2]
    passed = (echoes[:, 1] - lines.ky[0]) / (lines.ky[-1] - lines.ky[0]) * (count - 1)
    read = dt[: last.stop].sum() + lines.start + lines.spacing * passed
    return SingleShot(
        lines=lines,
        echoes=echoes,
        TE=read - np.array([float(p.centre) for p in waveforms.pulses[:-1]]),
        before=_joined(b1, plane, dt, exciting, parts),
        refocusing=_joined(b1, plane, dt, [(last.first, last.stop)], parts),
    )


def k_space(
    shot: SingleShot,
    M0: Float[Any, "B X Y"],
    spacing: tuple[float, float],
    *,
    T1: Float[Any, "B X Y"],
    T2: Float[Any, "B X Y"],
    df: Float[Any, "B X Y"],
    B1: Float[Any, "B X Y"],
    moments: int = line_readout.MOMENTS,
) -> Complex[Any, "B L S"]:
    """The signal of all samples, in the order in which they are taken.

    Voxels are points at their centres; the grid should be finer than the image, as gradients
    dephase a voxel of an image's size.

    Args:
        shot: the sequence.
        M0: magnetisation in equilibrium, float32 or float64.
        spacing: of the voxels, m; voxel i of n is centred at (i - n // 2) spacing.
        T1, T2, df, B1: relaxation times in s, off-resonance in Hz, RF relative to nominal.
        moments: points of time within a line (line_readout.py).
    """
    (B, X, Y), tissue = M0.shape, {"T1": T1, "T2": T2, "df": df, "B1": B1}
    at_once = max(1, CACHED // (X * Y)) if is_numpy(M0) else B
    if at_once < B:
        pieces = []
        for first in range(0, B, at_once):
            now = slice(first, first + at_once)
            part = {name: x[now] for name, x in tissue.items()}
            pieces.append(k_space(shot, M0[now], spacing, **part, moments=moments))
        return np.concatenate(pieces)
    xp = namespace(M0)
    flat = {name: xp.reshape(x, (-1,)) for name, x in tissue.items()}
    centres = _centres(X, Y, tuple(spacing))
    played = _played_on_gpu if is_cupy(M0) else _played
    M, p, q = played(shot, xp.reshape(M0, (-1,)), flat, centres)
    after = xp.reshape(_refocused(*(x[:, i] for x in (M, p, q) for i in range(2))), (B, X, Y))
    return line_readout.read_lines(after, shot.lines, spacing, T2=T2, df=df, moments=moments)


def _played(shot: SingleShot, amount: Any, flat: dict[str, Any], centres: np.ndarray) -> Any:
    """Magnetisation at the refocusing pulse, and (1, 0, 0) and (0, 1, 0) after it, (N, 3)."""
    xp = namespace(amount)
    zero = xp.zeros_like(amount)
    B = amount.shape[0] // centres.shape[1]
    place = xp.broadcast_to(as_constant(centres, amount), (B, *centres.shape[1:]))
    centres = xp.reshape(place, (-1, 3))
    M = _play(shot.before, xp.stack([zero, zero, amount], axis=-1), flat, amount, centres)
    # Without equilibrium magnetisation the pulse is linear.
    unit = zero + 1
    p = _play(shot.refocusing, xp.stack([unit, zero, zero], axis=-1), flat, zero, None)
    q = _play(shot.refocusing, xp.stack([zero, unit, zero], axis=-1), flat, zero, None)
    return M, p, q


def _played_on_gpu(shot: SingleShot, amount: Any, flat: dict[str, Any], centres: np.ndarray) -> Any:
    """As :func:`_played`; spins are prepared once, steps on the host."""
    xp, N, real = namespace(amount), amount.shape[0], amount.dtype
    spins, still = (xp.empty((8, N), dtype=xp.float64) for _ in range(2))
    M, p, q = (xp.empty((N, 3), dtype=real) for _ in range(3))
    given = (flat["df"], flat["B1"], flat["T1"], flat["T2"], amount)
    tissue = [xp.ascontiguousarray(xp.astype(x, real, copy=False)) for x in given]
    sizes = np.int64(N), np.int64(centres.shape[1])
    module = cuda_module(_CUDA_TEXT, real_option(amount))
    launch(module, "shot_spins", N, *tissue, kept(centres, xp), *sizes, spins, still, M, p, q)
    evolve_planned(planned(_table(shot.before), spins, TOLERANCE, False, M), M)
    plan = planned(_table(shot.refocusing), still, TOLERANCE, False, p)
    for turned in (p, q):
        evolve_planned(plan, turned)
    return M, p, q


@lru_cache(maxsize=8)
def _table(steps: Steps) -> Float[np.ndarray, "K 6"]:
    """Steps as the kernels take them."""
    half = -0.5 * GAMMA_1H * steps.dt
    columns = bloch_columns(np, steps.b1.real, steps.b1.imag, steps.gradient, half)
    return merged(np.stack(columns, axis=-1))[0]


def image(signal: Complex[Any, "B L S"], lines: line_readout.Lines) -> Complex[Any, "B X Y"]:
    """The image of lines that fill a Cartesian grid, by the centred orthonormal transform.

    Args:
        signal: in the order in which it was taken.
        lines: of as many samples as there are lines.

    Raises:
        ValueError: samples that lie elsewhere.
    """
    xp = namespace(signal)
    L, S = len(lines.ky), lines.kx.shape[1]
    step = (lines.ky[-1] - lines.ky[0]) / (L - 1)
    for k, n in ((lines.ky, L), (np.sort(lines.kx[0]), S), (np.sort(lines.kx[1]), S)):
        if np.abs(k / step - (np.arange(n) - n // 2)).max() > line_readout.EVEN * n:
            raise ValueError("lines: samples on a Cartesian grid of one spacing are allowed")
    order, shift = (_on_device(table, signal) for table in _orders(lines))
    # One copy each for the lines' directions and both shifts of the transform.
    k = xp.take(xp.reshape(signal, (-1, L * S)), xp.reshape(order, (-1,)), axis=1)
    pixels = xp.fft.ifftn(xp.reshape(k, (-1, S, L)), axes=(1, 2), norm="ortho")
    pixels = xp.take(xp.reshape(pixels, (-1, S * L)), shift, axis=1)
    return xp.astype(xp.reshape(pixels, (-1, S, L)), signal.dtype, copy=False)


def _play(steps: Steps, M: Any, spins: dict[str, Any], M0: Any, position: Any) -> Any:
    xp, device = namespace(M), device_of(M)
    b1, gradient, dt = (xp.asarray(x, device=device) for x in (steps.b1, steps.gradient, steps.dt))
    return bloch.evolve(M, b1, gradient, dt, position=position, M0=M0, tolerance=TOLERANCE, **spins)


@fused
def _refocused(xp: Any, Mx: Any, My: Any, px: Any, py: Any, qx: Any, qy: Any) -> Any:
    """(Mx - i My) (p + i q) / 2, p and q complex."""
    # What was just computed stands first in a complex product: NumPy swaps it there where it reuses
    # the memory of a large array, and the last bit would depend on the size of the batch.
    turned = 0.5 * ((px + 1j * py) + (qx + 1j * qy) * 1j)
    return xp.conj(Mx + 1j * My) * turned


@lru_cache(maxsize=8)
def _centres(X: int, Y: int, spacing: tuple[float, float]) -> Float[np.ndarray, "1 XY 3"]:
    """Of the voxels, m."""
    return places(np.empty(0), (X, Y), spacing, (1, 1)).reshape(1, X * Y, 3)


@lru_cache(maxsize=8)
def _orders(lines: line_readout.Lines) -> tuple[np.ndarray, np.ndarray]:
    """Where the samples of k-space, zero frequency first, are in the order in which they are taken,
    (S, L), and where pixels are in a transform."""
    L, S = len(lines.ky), lines.kx.shape[1]
    columns = np.argsort(lines.kx, axis=1)[np.arange(L) % 2]
    order = np.fft.ifftshift((columns + S * np.arange(L)[:, None]).T)
    shift = np.fft.fftshift(np.arange(S * L).reshape(S, L))
    return np.ascontiguousarray(order), shift.reshape(-1)


def _on_device(table: np.ndarray, like: Any) -> Any:
    """A table of a sequence where the arrays are, of its own dtype."""
    xp = namespace(like)
    return kept(table, xp) if is_cupy(like) else xp.asarray(table, device=device_of(like))


def _check_crushers(area: np.ndarray, first: int, stop: int) -> None:
    """Areas along z: none but one on either side of the pulse, alike and large enough."""
    before, within, after = area[:first].sum(), np.abs(area[first:stop]).sum(), area[stop:].sum()
    turns = GAMMA_BAR_1H * abs(before)
    if within > 0 or abs(before - after) > ALIKE * abs(before) or turns < LEAST_CRUSHING:
        raise ValueError(
            f"crushers: {GAMMA_BAR_1H * before:.4g} and {GAMMA_BAR_1H * after:.4g} turns/m; equal "
            f"ones of at least {LEAST_CRUSHING:g} turns/m about the refocusing pulse are allowed"
        )


def _joined(b1: Any, gradient: Any, dt: Any, pulses: list[tuple[int, int]], parts: int) -> Steps:
    """Each pulse in ``parts`` and what lies before it in one step, to the end of the last pulse."""
    stop = pulses[-1][1]
    edges = [0 if len(pulses) > 1 else pulses[0][0]]
    for first, end in pulses:
        cells = [cell for cell in np.array_split(np.arange(first, end), parts) if len(cell)]
        edges += [first, *(int(cell[-1]) + 1 for cell in cells)]
    starts = np.unique([edge for edge in edges if edge < stop])
    lengths = np.add.reduceat(dt[:stop], starts)
    safe = np.where(lengths > 0, lengths, math.inf)
    return Steps(
        b1=np.add.reduceat(b1[:stop] * dt[:stop], starts) / safe,
        gradient=np.add.reduceat(gradient[:stop] * dt[:stop, None], starts, axis=0) / safe[:, None],
        dt=lengths,
    )
