"""The signal of isochromats as a formula in the array API and in float64, differentiable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import arguments as checks
from ipads_stream.physics.arguments import numbers_of
from ipads_stream.physics.arrays import as_float, as_float64, complex_of, host, is_array, precision
from ipads_stream.physics.bloch.arguments import SPINS
from ipads_stream.physics.bloch.dephasing import box_response
from ipads_stream.physics.bloch.evolution import evolve_formula
from ipads_stream.physics.bloch.pathway import along
from ipads_stream.physics.bloch.phantom import TISSUE, Phantom, polar
from ipads_stream.physics.motion import paths as motions
from ipads_stream.physics.waveforms import Waveforms


def signal_formula(
    sequence: Any,
    phantom: Phantom,
    *,
    M: Float[Any, "*batch N 3"] | None = None,
    motion: motions.Motion | None = None,
    memory: float = math.inf,
    tolerance: float | None = None,
) -> Complex[Any, "..."]:
    """:func:`signal` in the array API and in float64, differentiable; little checked.

    Differentiable in the fields of the phantom, in M and in the waveforms; for T2', D and voxel
    pulses act at centres that are given on their own. A step counts as RF where b1 is not 0 or
    where a pulse lies. Memory holds N S numbers of every readout, and all spins after every step
    with RF.
    """
    course = course_of(sequence, phantom, M, motion)
    return summed(course, phantom, evolve_formula, M, memory, tolerance)


def summed(
    course: Course,
    phantom: Phantom,
    evolve: Callable[..., Any],
    M: Float[Any, "*batch N 3"] | None,
    memory: float,
    tolerance: float | None,
) -> Complex[Any, "..."]:
    """The formula, with a way to evolve magnetisation between the readouts, as ``bloch.evolve``."""
    like, kind = phantom.position, complex_of(precision(phantom.position))
    xp, weights = namespace(like), weights_of(course.waveforms, phantom, memory, like)
    spins = Spins(course, phantom, M, evolve, weights, tolerance)
    out = received(spins, course)
    factor = as_float(np.exp(-1j * course.receiver), like, "complex128")
    factor = factor * xp.astype(weights.voxel, xp.complex128)
    if not out:
        shape = (math.prod(course.batch), 1, 0)
        out = [xp.zeros(shape, dtype=xp.complex128, device=device_of(like))]
    total = xp.concat(out, axis=-1) * factor
    return xp.astype(xp.reshape(total, course.shape(phantom)), getattr(xp, kind))


@dataclass(frozen=True)
class Course:
    """What is played to a phantom, and where its spins are meanwhile.

    parts: segments of the waveforms in which spins stay where they are, one without motion; places:
    of the spins in each, m, (*batch, N, 3), to be followed once; batch: axes of the result.
    """

    waveforms: Waveforms
    parts: motions.Segments
    places: Iterator[Any]
    batch: tuple[int, ...]

    @property
    def receiver(self) -> Float[np.ndarray, " S"]:
        """Phase of the receiver at every sample, rad."""
        return np.asarray(self.waveforms.receiver, np.float64)

    def shape(self, phantom: Phantom) -> tuple[int, ...]:
        """Of the signal, (*batch, S) or (*batch, coils, S)."""
        coils = () if phantom.sensitivity is None else (int(phantom.sensitivity.shape[-2]),)
        return (*self.batch, *coils, len(self.receiver))


def course_of(sequence: Any, phantom: Phantom, M: Any, motion: motions.Motion | None) -> Course:
    """The course of a signal, of whose arguments kinds and shapes are checked."""
    waveforms = played(sequence)
    checks.check_arrays({"M": M})
    given = {name: getattr(waveforms, name) for name in ("b1", "gradient", "dt")}
    followed = {name: x for name, x in given.items() if not is_numpy(x)}
    checks.check_one_library({"position": phantom.position, "M": M, **followed})
    if precision(phantom.position) not in ("float32", "float64"):
        raise ValueError(f"position: {phantom.position.dtype}; float32 and float64 are allowed")
    N = phantom.num_spins
    if M is not None and tuple(M.shape[-2:]) != (N, 3):
        raise ValueError(f"M: shape {tuple(M.shape)}; (*batch, N, 3) with N = {N} is allowed")
    if phantom.drive is not None and phantom.drive.shape[-2] != len(waveforms.pulses):
        allowed = f"{len(waveforms.pulses)}, as the sequence has, are allowed"
        raise ValueError(f"drive: {phantom.drive.shape[-2]} pulses; {allowed}")
    if motion is None:
        ends = np.array([0, waveforms.b1.shape[0]])
        parts = motions.Segments(waveforms, ends, np.zeros(2))
        return Course(waveforms, parts, iter([phantom.position]), phantom.batch)
    parts = motions.segments(waveforms, motion.interval)
    places = motion.path(phantom.position, parts.edges)
    first = next(places)
    batch = np.broadcast_shapes(phantom.batch, tuple(first.shape[:-2]))
    return Course(waveforms, parts, itertools.chain([first], places), batch)


def received(spins: Any, course: Course) -> list[Any]:
    """The signal of every free precession with samples, (B, coils, s), in the order of time.

    ``spins.move(place)`` takes the spins to positions, m, (*batch, N, 3); ``advance(first, stop)``
    plays the steps first ... stop - 1; ``read(begin, ks, sample)`` gives the signal at the ends of
    steps ks of a free precession that starts now with step begin; sample: number of the first.
    """
    out: list[Any] = []
    done, sample, num = 0, 0, len(course.receiver)
    segments = zip(course.parts.first[1:], course.places, readouts(course.parts), strict=True)
    for stop, place, precessions in segments:
        spins.move(place)
        for begin, ks in precessions:
            spins.advance(done, begin)
            out.append(spins.read(begin, ks, sample))
            done, sample = begin, sample + len(ks)
        if sample < num:  # after the last sample nothing matters
            spins.advance(done, int(stop))
            done = int(stop)
    return out


class Weights(NamedTuple):
    """At every sample, in float64: |tau|, s, of 1/T2'; b, s/m^2, of D; the response of a voxel."""

    tau: Float[Any, " S"]
    b: Float[Any, " S"]
    voxel: Float[Any, " S"]


def weights_of(waveforms: Waveforms, phantom: Phantom, memory: float, like: Any = None) -> Weights:
    """Those that the phantom asks for, in the library of ``like``, on the host where None.

    All are without effect where it asks for none. Refused is a phantom with T2p, D or voxel where
    there is no single coherence pathway.
    """
    checks.check_values({"memory": memory})
    asked = [] if phantom.voxel is None else ["voxel"]
    for name, x, idle in (("D", phantom.D, 0.0), ("T2p", phantom.T2p, math.inf)):
        if (is_array(x) and not is_numpy(x)) or np.any(x != idle):
            asked.insert(0, name)
    where = np.zeros(0) if like is None else like
    xp, num = namespace(where), int(np.count_nonzero(np.asarray(waveforms.sampled)))
    none = xp.zeros((num,), dtype=xp.float64, device=device_of(where))
    if not asked:
        return Weights(none, none, none + 1)
    try:
        pathway = along(waveforms, memory, like)
    except ValueError as error:
        raise ValueError(
            f"{', '.join(asked)}: a closed form takes a single coherence pathway, and {error}; "
            "sets of isochromats and random walks take any sequence"
        ) from error
    voxel = none + 1
    if phantom.voxel is not None:
        size = phantom.voxel if like is not None else np.asarray(host(phantom.voxel))
        voxel = box_response(pathway.k, size)
    tau = xp.abs(pathway.tau) if "T2p" in asked else none
    return Weights(tau, pathway.b if "D" in asked else none, voxel)


def played(sequence: Any) -> Waveforms:
    """The waveforms of a sequence, or of what gives them by a method of that name, checked."""
    given = sequence.waveforms() if hasattr(sequence, "waveforms") else sequence
    if not isinstance(given, Waveforms):
        raise TypeError(f"sequence: {type(sequence).__name__}; Waveforms or a sequence is allowed")
    K, S = given.b1.shape[0], int(np.count_nonzero(np.asarray(given.sampled)))
    shapes = {"gradient": (K, 3), "dt": (K,), "sampled": (K,), "receiver": (S,)}
    for name, shape in shapes.items():
        checks.check_shape(name, getattr(given, name), shape, note=f" for {K} steps, {S} samples")
    checks.check_values({"receiver": given.receiver})
    return given


def with_rf(waveforms: Waveforms) -> Bool[np.ndarray, " K"]:
    """Steps that are played as RF: those that are not 0 and those of pulses."""
    b1 = host(waveforms.b1)
    if b1 is None:
        return np.ones(waveforms.b1.shape[0], bool)
    rf = b1 != 0
    for pulse in waveforms.pulses:
        rf[pulse.first : pulse.stop] = True
    return rf


def readouts(parts: motions.Segments) -> Iterator[list[tuple[int, Int[np.ndarray, " s"]]]]:
    """Per segment its free precessions with samples: first step, and those at whose end one is."""
    rf = with_rf(parts.waveforms)
    last = np.maximum.accumulate(np.where(rf, np.arange(1, len(rf) + 1), 0))
    sampled = np.flatnonzero(np.asarray(parts.waveforms.sampled))
    for first, stop in itertools.pairwise(parts.first):
        ks = sampled[(sampled >= first) & (sampled < stop)]
        starts = np.maximum(last[ks], first)
        ends = np.flatnonzero(np.diff(starts)) + 1
        yield [(int(max(last[k[0]], first)), k) for k in np.split(ks, ends) if len(k)]


class Stretch(NamedTuple):
    """Steps first ... stop - 1 in a frame: Hz, s since it began to turn, number of the pulse."""

    first: int
    stop: int
    frame: float = 0.0
    since: float = 0.0
    pulse: int = -1


def framed(waveforms: Waveforms, first: int, stop: int, apart: bool = False) -> Iterator[Stretch]:
    """Steps first ... stop - 1 by their frame, and where pulses are to stand apart by pulse."""
    for number, pulse in enumerate(waveforms.pulses):
        begin, end = max(pulse.first, first), min(pulse.stop, stop)
        if (pulse.frame or apart) and begin < end:
            if first < begin:
                yield Stretch(first, begin)
            dt = numbers_of("dt", waveforms.dt[pulse.first : begin]) if pulse.frame else 0.0
            yield Stretch(begin, end, pulse.frame, float(np.sum(dt)), number)
            first = end
    if first < stop:
        yield Stretch(first, stop)


class Spins:
    """Spins as arrays (B N, ...) in float64; steps without RF are played together."""

    def __init__(
        self,
        course: Course,
        phantom: Phantom,
        M: Any,
        evolve: Callable[..., Any],
        weights: Weights,
        tolerance: float | None,
    ) -> None:
        like, waveforms = phantom.position, course.parts.waveforms
        self.waveforms = waveforms
        self.xp, self.like, self.evolve = namespace(like), like, evolve
        self.weights, self.tolerance = weights, tolerance
        self.shape = (*course.batch, phantom.num_spins)
        self.tissue = {name: self._flat(getattr(phantom, name)) for name in TISSUE}
        xp, M0, s = self.xp, self.tissue["M0"], phantom.sensitivity
        if s is not None:
            s = xp.broadcast_to(xp.astype(s, xp.complex128), (*course.batch, *s.shape[-2:]))
            s = xp.reshape(s, (-1, *s.shape[-2:]))
        self.sensitivity = s
        d = phantom.drive
        if d is not None:
            d = xp.broadcast_to(xp.astype(d, xp.complex128), (*course.batch, *d.shape[-2:]))
            d = xp.reshape(d, (-1, *d.shape[-2:]))
        self.drive: Any = d
        self.M = xp.stack((0 * M0, 0 * M0, M0), axis=-1) if M is None else self._flat(M, 3)
        # Played on their own: RF, and steps of 0 s, in which no gradient has a mean.
        self.alone = with_rf(waveforms)
        lengths = host(waveforms.dt)
        if lengths is not None:
            self.alone = self.alone | (lengths == 0)
        self.b1 = as_float(waveforms.b1, like, "complex128")
        self.gradient, self.dt = (as_float64(x, like) for x in (waveforms.gradient, waveforms.dt))
        # Time and the integral of the gradients at every edge of a step.
        dt = self.dt[:, None]
        steps = xp.concat((self.gradient * dt, dt), axis=-1)
        self.edges = xp.cumulative_sum(steps, axis=0, include_initial=True)

    def _flat(self, x: Any, *axes: int) -> Any:
        each = self.xp.broadcast_to(as_float64(x, self.like), (*self.shape, *axes))
        return self.xp.reshape(each, (-1, *axes))

    def _at(self, x: Any, index: Any) -> Any:
        where = np.asarray(index, np.int64)
        return self.xp.take(x, self.xp.asarray(where, device=device_of(self.like)), axis=0)

    def move(self, place: Any) -> None:
        self.r = self._flat(place, 3)

    def advance(self, first: int, stop: int) -> None:
        apart = self.drive is not None
        for begin, end, frame, since, pulse in framed(self.waveforms, first, stop, apart):
            size, turn = (None, None) if pulse < 0 or not apart else polar(self.drive[:, pulse])
            self._turn(frame * since)
            self._turn_each(turn, -1)
            self._play(begin, end, frame, size)
            self._turn_each(turn, 1)
            passed = numbers_of("dt", self.waveforms.dt[begin:end])
            self._turn(-frame * (since + float(np.sum(passed))))

    def _turn_each(self, turn: Any, way: int) -> None:
        if turn is not None:
            c, s = (self.xp.reshape(x, (-1,)) for x in (self.xp.real(turn), self.xp.imag(turn)))
            x, y, z = (self.M[:, i] for i in range(3))
            self.M = self.xp.stack((c * x - way * s * y, way * s * x + c * y, z), axis=-1)

    def _turn(self, turns: float) -> None:
        if turns:
            angle = 2 * math.pi * math.fmod(turns, 1.0)
            c, s, (x, y, z) = math.cos(angle), math.sin(angle), (self.M[:, i] for i in range(3))
            self.M = self.xp.stack((c * x - s * y, s * x + c * y, z), axis=-1)

    def _play(self, first: int, stop: int, frame: float, size: Any) -> None:
        xp, alone = self.xp, self.alone[first:stop]
        begins = np.flatnonzero(np.concatenate(([True], alone[1:] | alone[:-1])))
        ends = np.append(begins[1:], len(alone)) + first
        passed = self._at(self.edges, ends) - self._at(self.edges, begins + first)
        b1, gradient, dt = (self._at(x, begins + first) for x in (self.b1, self.gradient, self.dt))
        single = xp.asarray(ends - first - begins == 1, device=device_of(self.like))
        means = passed[:, :3] / xp.where(single, xp.ones_like(dt), passed[:, 3])[:, None]
        gradient = xp.where(single[:, None], gradient, means)
        dt = xp.where(single, dt, passed[:, 3])
        spins = {name: self.tissue[name] for name in SPINS[1:]} | {"position": self.r}
        if frame:  # in which spins are off resonance by so much less
            spins["df"] = spins["df"] - frame
        if size is not None:
            spins["B1"] = spins["B1"] * xp.reshape(size, (-1,))
        self.M = self.evolve(self.M, b1, gradient, dt, **spins, tolerance=self.tolerance)

    def read(self, begin: int, ks: np.ndarray, sample: int) -> Any:
        xp, M, tissue = self.xp, self.M, self.tissue
        passed = self._at(self.edges, ks + 1) - self._at(self.edges, [begin])
        t = passed[:, 3]
        turns = GAMMA_BAR_1H * xp.matmul(self.r, xp.matrix_transpose(passed[:, :3]))
        turns = turns + tissue["df"][:, None] * t
        angle = -2 * math.pi * (turns - xp.round(turns))
        rows = slice(sample, sample + len(ks))
        tau, b = self.weights.tau[rows], self.weights.b[rows]
        nepers = t / tissue["T2"][:, None] + tau / tissue["T2p"][:, None] + b * tissue["D"][:, None]
        e, x, y = xp.exp(-nepers), M[:, 0][:, None], M[:, 1][:, None]
        c, s = e * xp.cos(angle), e * xp.sin(angle)
        each = xp.astype(c * x - s * y, xp.complex128)
        each = each + 1j * xp.astype(s * x + c * y, xp.complex128)
        each = xp.reshape(each, (math.prod(self.shape[:-1]), -1, len(ks)))
        if self.sensitivity is None:
            return xp.sum(each, axis=1, keepdims=True)
        return xp.matmul(self.sensitivity, each)
