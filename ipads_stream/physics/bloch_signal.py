"""The signal of isochromats: what a receiver takes while a sequence is played to a phantom.

Spins are evolved in place through RF. Between pulses M+ of each has a closed form, so that a sample
is a sum over spins, and none of their trajectories is ever stored.

Axes: N spin, K step, S sample. Signs: the signal is M+, which turns as exp(-2 pi i (df t + k.r)).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
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
from ipads_stream.physics import motion as motions
from ipads_stream.physics.bloch_arguments import as_float64, check_values, columns, tolerance_of
from ipads_stream.physics.bloch_kernels import play
from ipads_stream.physics.bloch_signal_formula import (
    Weights,
    check_kinds,
    pieces,
    played,
    readouts,
    signal_formula,
    summed,
    weights_of,
)
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.kernels import readout as lanes
from ipads_stream.physics.phantom import Phantom
from ipads_stream.physics.readout_lines import Lines, cut
from ipads_stream.physics.waveforms import Waveforms

__all__ = ["signal", "signal_formula"]

_KERNELS = Path(__file__).parent / "kernels"
_CHUNK, _COILS = 512, 4  # of spins and of coils, as in the CUDA text
_LEAST_REACH = 1e-30
_SAME_LENGTH = 1e-9  # relative
# Turns and nepers within which samples share a pattern
_SAME = {"float32": (1e-8, 1e-6), "float64": (1e-12, 1e-10)}


def signal(
    sequence: Any,
    phantom: Phantom,
    *,
    M: Float[Any, "*batch N 3"] | None = None,
    motion: motions.Motion | None = None,
    memory: float = math.inf,
    tolerance: float | None = None,
) -> Complex[Any, "..."]:
    """The complex signal at every sample, summed over the spins by the sensitivity of every coil.

    s_c(t) = exp(-i receiver) V(t) sum_n s_cn M+_n(t) exp(-|tau| / T2'_n - b D_n),
    V = product over x, y, z of sinc(k voxel)

    M+ follows the Bloch equation as in evolve. Where the phantom has T2', D or a voxel, their
    factors are those of the main coherence pathway of the sequence. Result: (*batch, S), or
    (*batch, coils, S) with sensitivity, complex64 of positions in float32, else complex128. Each
    item of a batch is the same whatever the others are, to the tolerance.

    Args:
        sequence: Waveforms, or what gives them by a method of that name.
        phantom: spins and tissue, in NumPy, CuPy or torch; with a gradient the sums are those of
            the formula, between evolutions by the kernel and its adjoint.
        M: magnetisation at the start, (*batch, N, 3); in equilibrium, M0 along z, where None.
        motion: of the spins; df, B1, sensitivity and tissue go with a spin.
        memory: time after which an excitation leaves no transverse magnetisation, s, for T2', D and
            voxel: with inf one excitation makes one pathway.
        tolerance: error of relaxation allowed per step with RF, as in evolve.

    Raises:
        TypeError: arrays are of several libraries; waveforms may be in NumPy beside any phantom.
        ValueError: a value is out of range, shapes do not fit, or T2', D or a voxel are asked of a
            sequence without a single coherence pathway.

    Source: sums over isochromats: Stoecker et al., Magnetic Resonance in Medicine 64, 186 (2010).
    """
    waveforms = played(sequence)
    check_kinds(waveforms, phantom, M)
    extras: dict[str, Any] = {"motion": motion, "memory": memory, "tolerance": tolerance}
    position = phantom.position
    if is_numpy(position) or is_cupy(position):
        places = None if motion is None else (lambda edges: motion.path(position, edges))
        return _play(waveforms, phantom, M, places, **extras)
    if is_torch(position):
        from ipads_stream.core.handover import is_traced, is_transformed, views

        fields = {f.name: getattr(phantom, f.name) for f in dataclasses.fields(phantom)}
        tensors = {name: x for name, x in {**fields, "M": M}.items() if is_torch(x)}
        given = (*tensors.values(), *(x for x in vars(waveforms).values() if is_torch(x)))
        if not any(map(is_traced, given)):

            def moved(edges: np.ndarray) -> Iterator[Any]:
                for place in motion.path(position, edges):  # type: ignore[union-attr]
                    with views(place) as (plain,):
                        yield plain

            with views(*tensors.values()) as arrays:
                plain = dict(zip(tensors, arrays, strict=True))
                M = plain.pop("M", M)
                of = dataclasses.replace(phantom, **plain)
                result = _play(waveforms, of, M, None if motion is None else moved, **extras)
                kind = str(result.dtype)
                out = position.new_empty(result.shape, dtype=getattr(namespace(position), kind))
                with views(out) as (target,):
                    target[...] = result
            return out
        if not any(map(is_transformed, given)):
            from ipads_stream.physics.bloch import evolve

            return summed(waveforms, phantom, evolve, M, **extras)
    return signal_formula(waveforms, phantom, M=M, **extras)


def _play(
    waveforms: Waveforms,
    phantom: Phantom,
    M: Any,
    places: Any,
    motion: motions.Motion | None,
    memory: float,
    tolerance: float | None,
) -> Any:
    """The signal by the kernels of the phantom's library."""
    xp, kind = namespace(phantom.position), str(phantom.position.dtype)
    if kind not in _SAME:
        raise ValueError(f"position: {kind}; float32 and float64 are allowed")
    weights = weights_of(waveforms, phantom, memory)
    parts = pieces(waveforms, motion)
    steps = _steps(parts.waveforms)
    check_values({"tolerance": tolerance}, arrays=False)
    out: list[Any] = []
    spins: _Spins | None = None
    done = sample = 0
    path = iter([phantom.position]) if places is None else places(parts.edges)
    batch: tuple[int, ...] = ()
    for stop, place, found in zip(parts.first[1:], path, readouts(parts), strict=True):
        if spins is None:
            batch = np.broadcast_shapes(phantom.batch, tuple(place.shape[:-2]))
            spins = _Spins(xp, phantom, batch, M, tolerance_of(phantom.position, tolerance))
        spins.move(place)
        for begin, ks in found:
            spins.advance(steps[done:begin])
            rows = _rows(steps, begin, ks, weights, sample)
            out.append(spins.read(rows))
            done, sample = begin, sample + len(ks)
        if sample < len(weights.tau):  # nobody listens to what comes after
            spins.advance(steps[done:stop])
            done = stop
    assert spins is not None
    turned = np.exp(-1j * np.asarray(waveforms.receiver, np.float64)) * weights.voxel
    coils = () if phantom.sensitivity is None else (phantom.sensitivity.shape[-2],)
    if not out:
        return xp.empty((*batch, *coils, 0), dtype=spins.complex)
    total = xp.concat(out, axis=-1) * xp.asarray(turned, dtype=spins.complex)
    return xp.reshape(total, (*batch, *coils, len(turned)))


def _steps(waveforms: Waveforms) -> Float[np.ndarray, "K 6"]:
    """Half angles by RF about x and y, by gradients per metre, and dt, on the host."""
    b1, gradient, dt = (
        np.asarray(host(x)) for x in (waveforms.b1, waveforms.gradient, waveforms.dt)
    )
    check_values({"b1": b1, "gradient": gradient, "dt": dt}, arrays=True)
    half = -0.5 * GAMMA_1H * _levelled(np.asarray(dt, np.float64), b1 != 0)
    table = columns(np, b1.real, b1.imag, np.asarray(gradient, np.float64), half)
    return np.stack([np.asarray(c, np.float64) for c in table], axis=-1)


def _levelled(dt: np.ndarray, rf: np.ndarray) -> np.ndarray:
    """Make lengths of steps with RF that differ by rounding the same: they are played in a row."""
    values, index = np.unique(dt[rf], return_inverse=True)
    if values.size:
        first = np.concatenate(([True], np.diff(values) > _SAME_LENGTH * values[1:]))
        dt = dt.copy()
        dt[rf] = values[first][np.cumsum(first) - 1][index]
    return dt


def _rows(
    steps: np.ndarray, begin: int, ks: np.ndarray, weights: Weights, sample: int
) -> Float[np.ndarray, "S C"]:
    """What the phase and the decay of M+ are linear in, at the samples of a free precession."""
    passed = np.zeros((ks[-1] + 2 - begin, 4))
    np.cumsum(steps[begin : ks[-1] + 1, 2:], axis=0, out=passed[1:])
    passed = passed[ks + 1 - begin]
    rows = slice(sample, sample + len(ks))
    # Half angles become turns; that by df is kept per second.
    return np.column_stack((passed / math.pi, passed[:, 3], weights.tau[rows], weights.b[rows]))


class _Spins:
    """Spins of a batch, B items of N, in the order of the kernels: the state of a simulation."""

    def __init__(
        self, xp: Any, phantom: Phantom, batch: tuple[int, ...], M: Any, tolerance: float
    ) -> None:
        like, N = phantom.position, phantom.num_spins
        self.xp, self.kind = xp, like.dtype
        self.complex = xp.complex64 if like.dtype == xp.float32 else xp.complex128
        self.batch, self.shape, self.tolerance = batch, (math.prod(batch), N), tolerance
        self.spins = xp.empty((8, math.prod(batch) * N), dtype=xp.float64)
        self.extra = xp.empty((2, math.prod(batch) * N), dtype=xp.float64)
        p = phantom
        # In float64 before anything is done to them, as in evolve
        df, *times = (as_float64(xp, x, like) for x in (p.df, p.T1, p.T2, p.T2p))
        R1, R2, R2p = (1 / T for T in times)
        rates = (-math.pi * df, p.B1, R1, R2, p.M0, R2p, p.D)
        for row, x in zip((*self.spins[3:], *self.extra), rates, strict=True):
            xp.reshape(row, (*batch, N))[...] = x
        self.M = xp.zeros((math.prod(batch) * N, 3), dtype=self.kind, device=device_of(like))
        if M is not None and tuple(M.shape[-2:]) != (N, 3):
            raise ValueError(f"M: shape {tuple(M.shape)}; (*batch, N, 3) with N = {N} is allowed")
        if is_numpy(M):
            check_values({"M": M}, arrays=True)
        if M is None:
            self.M[:, 2] = self.spins[7]
        else:
            xp.reshape(self.M, (*batch, N, 3))[...] = M
        s = p.sensitivity
        coils = 1 if s is None else s.shape[-2]
        self.sensitivity = xp.empty((self.shape[0], coils, N), dtype=self.complex)
        xp.reshape(self.sensitivity, (*batch, coils, N))[...] = 1 if s is None else s
        self.seen: dict[bytes, Lines] = {}

    def move(self, place: Any) -> None:
        """Take spins to positions, m, (*batch, N, 3)."""
        xp = self.xp
        for i in range(3):
            xp.reshape(self.spins[i], (*self.batch, self.shape[1]))[...] = place[..., i]
        # How far samples may differ in each column and share a pattern.
        if is_numpy(place) and place.size:
            of = (*self.spins[:4], self.spins[6], *self.extra)
            reach = np.array([max(row.max(), -row.min()) for row in of])
            self.growth = float(reach[5])
            turns, nepers = _SAME[str(self.kind)]
            self.grain = np.array([turns] * 4 + [nepers] * 3) / np.maximum(reach, _LEAST_REACH)

    def advance(self, steps: np.ndarray) -> None:
        """Play steps."""
        if len(steps) == 0 or self.M.shape[0] == 0:
            return
        play(self.xp.asarray(steps), self.spins, self.tolerance, self.M)

    def read(self, rows: np.ndarray) -> Any:
        """The signal at samples of a free precession that starts now, (B, coils, S)."""
        (B, N), C, S = self.shape, self.sensitivity.shape[1], len(rows)
        if is_numpy(self.M):
            out = np.zeros((B, C, S), self.complex)
            if N and B:
                lines = self._cut(rows)
                flat = np.where(lines.absolute[:, None, None], rows[0][:, None], 0) + lines.columns
                lanes.readout(
                    flat.ravel(),
                    lines.before,
                    lines.moving.ravel(),
                    lines.groups,
                    lines.firsts,
                    self.spins,
                    self.extra,
                    self.M,
                    self.sensitivity,
                    out,
                )
            return out
        xp = self.xp
        chunks = -(-N // _CHUNK)
        out = xp.empty((B, C, chunks, S), dtype=self.complex)
        real = {"float32": "float", "float64": "double"}[str(self.kind)]
        launch(
            cuda_module(_KERNELS / "readout.cu", (f"-DREAL={real}",)),
            "readout",
            B * chunks * -(-C // _COILS) * S,
            xp.asarray(rows),
            np.int64(S),
            self.spins,
            self.extra,
            self.M,
            self.sensitivity,
            *(np.int64(n) for n in (B, C, N)),
            out,
        )
        return xp.sum(out, axis=2)

    def _cut(self, rows: np.ndarray) -> Lines:
        relative = rows - rows[0]
        key = np.round(relative / self.grain).tobytes() + self.grain.tobytes()
        if key not in self.seen:
            self.seen[key] = cut(relative, self.grain, self.growth)
        return self.seen[key]
