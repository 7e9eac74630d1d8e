"""The signal of isochromats: what a receiver takes while a sequence is played to a phantom.

Spins are evolved in place through RF. Between pulses M+ of each has a closed form, so that a sample
is a sum over spins, and none of their trajectories is ever stored.

Axes: N spin, K step, S sample. Signs: the signal is M+, which turns as exp(-2 pi i (df t + k.r)).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, is_torch, namespace
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arguments import check_values, numbers_of
from ipads_stream.physics.arrays import as_float64, complex_of, host, is_array, precision
from ipads_stream.physics.bloch import sequence_signal_formula as formula
from ipads_stream.physics.bloch.arguments import columns, tolerance_of
from ipads_stream.physics.bloch.dephasing import dephased
from ipads_stream.physics.bloch.evolution import evolve, play
from ipads_stream.physics.bloch.kernels import readout as lanes
from ipads_stream.physics.bloch.on_gpu import by_lines, lines_of
from ipads_stream.physics.bloch.phantom import Phantom, polar
from ipads_stream.physics.bloch.readout_lines import Lines, cut
from ipads_stream.physics.dispatch import dispatched
from ipads_stream.physics.motion import paths as motions
from ipads_stream.physics.waveforms import Waveforms

# What spins are assumed to reach on a GPU: m, m, m, rad/s, 1/s, 1/s and m^2/s
_FARTHEST = np.array([1.0, 1.0, 1.0, 1e5, 1e5, 1e5, 1e-6])
_PLAYED = ("b1", "gradient", "dt")
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
    isochromats: int | None = None,
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
        isochromats: of the set that stands for T2' of each spin, odd, from 3 on; None: the closed
            form, for one pathway. A set takes any sequence, and errs as dephasing.dephased does for
            paths as long as the sequence, or as the memory of it.

    Raises:
        TypeError: arrays are of several libraries; waveforms may be in NumPy beside any phantom.
        ValueError: a value is out of range, shapes do not fit, or T2', D or a voxel are asked of a
            sequence without a single coherence pathway.

    Source: sums over isochromats: Stoecker et al., Magnetic Resonance in Medicine 64, 186 (2010).
    """
    if isochromats is not None:
        if M is not None:
            raise ValueError("M: with isochromats a start in equilibrium (None) alone is allowed")
        longest = min(memory, float(np.sum(numbers_of("dt", formula.played(sequence).dt))))
        phantom = dephased(phantom, isochromats, longest)
    course = formula.course_of(sequence, phantom, M, motion)
    check_values({"M": M, "tolerance": tolerance})
    waveforms = course.waveforms
    fields = {f.name: getattr(phantom, f.name) for f in dataclasses.fields(phantom)}
    played = {name: getattr(waveforms, name) for name in _PLAYED}
    played |= {f"centre {n}": pulse.centre for n, pulse in enumerate(waveforms.pulses)}
    arguments = {**fields, "M": M, **played}

    def kernel(out: Any, given: Mapping[str, Any]) -> None:
        plain = {name: x for name in (*fields, "M") if (x := given[name]) is not arguments[name]}
        start = plain.pop("M", M)
        near = dataclasses.replace(phantom, **plain) if plain else phantom
        spins = _Spins(course, near, start, memory, tolerance)
        if parts := formula.received(spins, course):
            turned = np.exp(-1j * course.receiver) * spins.weights.voxel
            total = spins.xp.concat(parts, axis=-1) * spins.xp.asarray(turned, dtype=out.dtype)
            out[...] = spins.xp.reshape(total, out.shape)

    return dispatched(
        arguments,
        kernel,
        lambda: formula.summed(course, phantom, evolve, M, memory, tolerance),
        like=phantom.position,
        shape=course.shape(phantom),
        dtype=complex_of(precision(phantom.position)),
    )


def magnetisation(
    sequence: Any,
    phantom: Phantom,
    *,
    M: Float[Any, "*batch N 3"] | None = None,
    tolerance: float | None = None,
) -> Float[Any, "*batch readouts N 3"]:
    """M of every spin at the first sample of each readout: of samples without RF between them.

    Args:
        sequence, phantom, M, tolerance: as of signal; T2', D, voxel and coils have no part in it.

    Returns:
        real, M+ = Mx + i My without the phase of the receiver.

    Raises:
        TypeError, ValueError: as of signal.
    """
    plain = dataclasses.replace(phantom, T2p=math.inf, D=0.0, voxel=None, sensitivity=None)
    course = formula.course_of(sequence, plain, M, None)
    check_values({"M": M, "tolerance": tolerance})
    ((*precessions,),) = formula.readouts(course.parts)
    fields = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    played = {name: getattr(course.waveforms, name) for name in _PLAYED}

    def followed(spins: Any, place: Any) -> list[Any]:
        spins.move(place)
        done, states = 0, []
        for _, samples in precessions:
            spins.advance(done, int(samples[0]) + 1)
            done = int(samples[0]) + 1
            states.append(spins.xp.reshape(spins.M, (*course.batch, 1, -1, 3)) + 0)
        return states

    def kernel(out: Any, given: Mapping[str, Any]) -> None:
        now = {name: given[name] for name in fields if given[name] is not None}
        spins = _Spins(course, dataclasses.replace(plain, **now), given["M"], math.inf, tolerance)
        for n, state in enumerate(followed(spins, now["position"])):
            out[..., n, :, :] = state[..., 0, :, :]

    def by_formula() -> Any:
        weights = formula.weights_of(course.waveforms, plain, math.inf, plain.position)
        spins = formula.Spins(course, plain, M, evolve, weights, tolerance)
        states = followed(spins, plain.position)
        return spins.xp.astype(spins.xp.concat(states, axis=-3), plain.position.dtype)

    return dispatched(
        {**fields, "M": M, **played},
        kernel,
        by_formula,
        like=plain.position,
        shape=(*course.batch, len(precessions), plain.num_spins, 3),
        dtype=precision(plain.position),
    )


def _steps(waveforms: Waveforms) -> Float[np.ndarray, "K 6"]:
    """Half angles by RF about x and y, by gradients per metre, and dt, on the host."""
    played = {name: np.asarray(host(getattr(waveforms, name))) for name in _PLAYED}
    check_values(played)
    b1, dt = played["b1"], np.array(played["dt"], np.float64)
    # Lengths of steps with RF that differ by rounding become the same: they are played in a row.
    values, index = np.unique(dt[b1 != 0], return_inverse=True)
    if values.size:
        first = np.concatenate(([True], np.diff(values) > _SAME_LENGTH * values[1:]))
        dt[b1 != 0] = values[first][np.cumsum(first) - 1][index]
    gradient = np.asarray(played["gradient"], np.float64)
    table = columns(np, b1.real, b1.imag, gradient, -0.5 * GAMMA_1H * dt)
    return np.stack([np.asarray(c, np.float64) for c in table], axis=-1)


class _Spins:
    """Spins of a batch, B items of N, in the order of the kernels: the state of a simulation."""

    def __init__(
        self, course: Any, phantom: Phantom, M: Any, memory: float, tolerance: float | None
    ) -> None:
        p, like, N, batch = phantom, phantom.position, phantom.num_spins, course.batch
        self.waveforms = course.parts.waveforms
        self.steps = _steps(self.waveforms)
        self.weights = formula.weights_of(course.waveforms, phantom, memory)
        self.tolerance, xp = tolerance_of(like, tolerance), namespace(like)
        self.complex = getattr(xp, complex_of(precision(like)))
        self.xp, self.batch, self.shape = xp, batch, (math.prod(batch), N)
        self.spins = xp.empty((8, math.prod(batch) * N), dtype=xp.float64)
        self.extra = xp.empty((2, math.prod(batch) * N), dtype=xp.float64)
        # In float64 before anything is done to them, as in evolve
        df, *times = (as_float64(x, like) for x in (p.df, p.T1, p.T2, p.T2p))
        R1, R2, R2p = (1 / T for T in times)
        rates = (-math.pi * df, p.B1, R1, R2, p.M0, R2p, p.D)
        for row, x in zip((*self.spins[3:], *self.extra), rates, strict=True):
            xp.reshape(row, (*batch, N))[...] = x
        self.M = xp.zeros((math.prod(batch) * N, 3), dtype=like.dtype, device=device_of(like))
        if M is None:
            self.M[:, 2] = self.spins[7]
        else:
            xp.reshape(self.M, (*batch, N, 3))[...] = M
        s = p.sensitivity
        coils = 1 if s is None else s.shape[-2]
        self.sensitivity = xp.empty((self.shape[0], coils, N), dtype=self.complex)
        xp.reshape(self.sensitivity, (*batch, coils, N))[...] = 1 if s is None else s
        self.drive: Any = None
        if p.drive is not None:
            wide = xp.broadcast_to(p.drive, (*batch, *p.drive.shape[-2:]))
            self.drive = xp.reshape(wide, (-1, *p.drive.shape[-2:])).astype(xp.complex128)
        self.seen: dict[bytes, Lines] = {}
        self.growth = 0.0
        if not is_numpy(like):
            # With a map of T2' the host waits for it, once.
            if not is_array(p.T2p):
                self.growth = 1.0 / p.T2p
            elif self.extra.shape[1]:
                self.growth = float(self.extra[0].max())
            turns, nepers = _SAME[precision(like)]
            self.grain = np.array([turns] * 4 + [nepers] * 3) / _FARTHEST

    def move(self, place: Any) -> None:
        if is_torch(place):
            from ipads_stream.core.handover import views

            with views(place) as (plain,):
                self.move(plain)
            return
        xp = self.xp
        for i in range(3):
            xp.reshape(self.spins[i], (*self.batch, self.shape[1]))[...] = place[..., i]
        # How far samples may differ in each column and share a pattern.
        if is_numpy(place) and place.size:
            rows = (*self.spins[:4], self.spins[6], *self.extra)
            reach = np.array([max(row.max(), -row.min()) for row in rows])
            self.growth = float(reach[5])
            turns, nepers = _SAME[precision(self.M)]
            self.grain = np.array([turns] * 4 + [nepers] * 3) / np.maximum(reach, _LEAST_REACH)

    def advance(self, first: int, stop: int) -> None:
        if stop == first or not self.M.shape[0]:
            return
        apart = self.drive is not None
        for begin, end, frame, since, pulse in formula.framed(self.waveforms, first, stop, apart):
            steps = self.steps[begin:end]
            if apart and pulse >= 0:
                size, turn = (self.xp.reshape(x, (-1,)) for x in polar(self.drive[:, pulse]))
                nominal = self.spins[4] + 0
                self.spins[4] *= size
                self._rotate(turn.real, -turn.imag)
            if not frame:
                play(steps, self.spins, self.tolerance, self.M)
            else:
                self._play_framed(steps, frame, since)
            if apart and pulse >= 0:
                self._rotate(turn.real, turn.imag)
                self.spins[4] = nominal

    def _play_framed(self, steps: np.ndarray, frame: float, since: float) -> None:
        # In the frame spins are off resonance by so much less.
        self._turn(frame * since)
        self.spins[3] += math.pi * frame
        play(steps, self.spins, self.tolerance, self.M)
        self.spins[3] -= math.pi * frame
        self._turn(-frame * (since + float(steps[:, 5].sum())))

    def _turn(self, turns: float) -> None:
        angle = 2 * math.pi * math.fmod(turns, 1.0)
        self._rotate(math.cos(angle), math.sin(angle))

    def _rotate(self, cos: Any, sin: Any) -> None:
        x, y = self.M[:, 0] + 0, self.M[:, 1] + 0
        self.M[:, 0] = cos * x - sin * y
        self.M[:, 1] = sin * x + cos * y

    def read(self, begin: int, ks: np.ndarray, sample: int) -> Any:
        # What the phase and the decay of M+ are linear in: half angles become turns; that by df is
        # kept per second.
        passed = np.concatenate((np.zeros((1, 4)), self.steps[begin : ks[-1] + 1, 2:]))
        passed = np.cumsum(passed, axis=0)[ks + 1 - begin]
        tau, b = (x[sample : sample + len(ks)] for x in (self.weights.tau, self.weights.b))
        rows = np.column_stack((passed / math.pi, passed[:, 3], tau, b))
        (B, N), C, S = self.shape, self.sensitivity.shape[1], len(rows)
        state = self.spins, self.extra, self.M, self.sensitivity
        if is_numpy(self.M):
            out = np.zeros((B, C, S), self.complex)
            if N and B:
                relative = rows - rows[0]
                key = np.round(relative / self.grain).tobytes() + self.grain.tobytes()
                if key not in self.seen:
                    self.seen[key] = cut(relative, self.grain, self.growth)
                lines = self.seen[key]
                flat = np.where(lines.absolute[:, None, None], rows[0][:, None], 0) + lines.columns
                table = flat.ravel(), lines.before, lines.moving.ravel(), lines.groups, lines.firsts
                lanes.readout(*table, *state, out)
            return out
        relative = np.ascontiguousarray(rows - rows[0])
        lines = lines_of(relative.tobytes(), self.grain.tobytes(), self.growth)
        return by_lines(rows, lines, *state)
