"""The signal of isochromats as a formula in the array API and in float64, differentiable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import motion as motions
from ipads_stream.physics.arrays import check_arrays, check_one_library, is_array
from ipads_stream.physics.bloch_arguments import as_float64, check_values
from ipads_stream.physics.bloch_formula import evolve_formula
from ipads_stream.physics.dephasing import box_response
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.pathway import along, check_memory
from ipads_stream.physics.phantom import TISSUE, Phantom
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
    """The same in the array API and in float64, differentiable; little checked.

    Differentiable in the fields of the phantom, in M and in the waveforms; for T2', D and voxel
    pulses act at centres that are given on their own. A step counts as RF where b1 is not 0 or
    where a pulse lies. Memory holds N S numbers of every readout, and all spins after every step
    with RF.

    Args:
        sequence, phantom, M, motion, memory, tolerance: as above.
    """
    waveforms = played(sequence)
    check_kinds(waveforms, phantom, M)
    return summed(waveforms, phantom, evolve_formula, M, motion, memory, tolerance)


def summed(
    waveforms: Waveforms,
    phantom: Phantom,
    evolve: Callable[..., Any],
    M: Float[Any, "*batch N 3"] | None,
    motion: motions.Motion | None,
    memory: float,
    tolerance: float | None,
) -> Complex[Any, "..."]:
    """The formula, with a way to evolve magnetisation between the readouts.

    Args:
        waveforms, phantom, M, motion, memory, tolerance: as above.
        evolve: with the arguments of ``bloch.evolve``.
    """
    xp, like = namespace(phantom.position), phantom.position
    parts = pieces(waveforms, motion)
    steps = _Steps(xp, parts.waveforms, like, evolve)
    weights = weights_of(waveforms, phantom, memory, like)
    places = iter([like]) if motion is None else motion.path(like, parts.edges)
    out: list[Any] = []
    spins: dict[str, Any] = {}
    batch: tuple[int, ...] = ()
    N, done, sample = phantom.num_spins, 0, 0
    for stop, place, found in zip(parts.first[1:], places, readouts(parts), strict=True):
        if not spins:
            batch = np.broadcast_shapes(phantom.batch, tuple(place.shape[:-2]))
            spins = rows_of(xp, phantom, batch)
            M = _start(xp, M, spins["M0"], batch, N)
        r = xp.reshape(xp.broadcast_to(as_float64(xp, place, like), (*batch, N, 3)), (-1, 3))
        for begin, ks in found:
            M, done = steps.advanced(M, done, begin, r, spins, tolerance), begin
            rows = slice(sample, sample + len(ks))
            out.append(steps.sampled(M, begin, ks, r, spins, weights, rows))
            sample += len(ks)
        if sample < weights.tau.shape[0]:  # nobody listens to what comes after
            M, done = steps.advanced(M, done, int(stop), r, spins, tolerance), int(stop)
    turned = np.exp(-1j * np.asarray(waveforms.receiver, np.float64))
    factor = xp.asarray(turned, dtype=xp.complex128, device=device_of(like))
    factor = factor * xp.astype(weights.voxel, xp.complex128)
    if not out:
        shape = (math.prod(batch), 1, 0)
        out = [xp.zeros(shape, dtype=xp.complex128, device=device_of(like))]
    total = xp.concat(out, axis=-1) * factor
    kind = xp.complex64 if str(like.dtype).endswith("float32") else xp.complex128
    coils = () if phantom.sensitivity is None else (phantom.sensitivity.shape[-2],)
    return xp.astype(xp.reshape(total, (*batch, *coils, len(turned))), kind)


@dataclass(frozen=True)
class Weights:
    """What a voxel makes of the pathway at every sample, in float64.

    Attributes:
        tau: |tau|, s, which 1/T2' weighs, (S,).
        b: s/m^2, which D weighs, (S,).
        voxel: response of the box of a voxel, (S,).
    """

    tau: Float[Any, " S"]
    b: Float[Any, " S"]
    voxel: Float[Any, " S"]


def weights_of(waveforms: Waveforms, phantom: Phantom, memory: float, like: Any = None) -> Weights:
    """Those that the phantom asks for; all without effect where it asks for none.

    Args:
        waveforms, phantom, memory: as above.
        like: array whose library follows them; where None they are on the host, as numbers.

    Raises:
        ValueError: T2p, D or voxel are asked for and there is no single coherence pathway.
    """
    check_memory(memory)
    asked = [
        name
        for name, idle in (("T2p", math.inf), ("D", 0.0))
        if not np.all(_known(getattr(phantom, name)) == idle)
    ]
    asked += [] if phantom.voxel is None else ["voxel"]
    of = np.zeros(0) if like is None else like
    xp, shape = namespace(of), (int(np.count_nonzero(np.asarray(waveforms.sampled))),)
    none = xp.zeros(shape, dtype=xp.float64, device=device_of(of))
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
    return Weights(
        xp.abs(pathway.tau) if "T2p" in asked else none,
        pathway.b if "D" in asked else none,
        voxel,
    )


def _known(x: Any) -> Any:
    return x if is_numpy(x) or not is_array(x) else np.nan


def played(sequence: Any) -> Waveforms:
    """The waveforms of a sequence, checked.

    Args:
        sequence: waveforms, or what has a method of that name.
    """
    found = sequence.waveforms() if hasattr(sequence, "waveforms") else sequence
    if not isinstance(found, Waveforms):
        raise TypeError(f"sequence: {type(sequence).__name__}; Waveforms or a sequence is allowed")
    K, S = found.b1.shape[0], int(np.count_nonzero(np.asarray(found.sampled)))
    shapes = {"gradient": (K, 3), "dt": (K,), "sampled": (K,), "receiver": (S,)}
    for name, shape in shapes.items():
        if tuple(getattr(found, name).shape) != shape:
            of = tuple(getattr(found, name).shape)
            raise ValueError(f"{name}: shape {of}; {shape} is allowed for {K} steps, {S} samples")
    check_values({"receiver": found.receiver}, arrays=True)
    return found


def check_kinds(waveforms: Waveforms, phantom: Phantom, M: Any) -> None:
    """Refuse M that is no array, and M or waveforms of a library that is not the phantom's.

    Args:
        waveforms: they may be in NumPy beside any phantom.
        phantom, M: as above.

    Raises:
        TypeError: names the arguments and what is allowed.
    """
    check_arrays({"M": M})
    played = {name: getattr(waveforms, name) for name in ("b1", "gradient", "dt")}
    theirs = {name: x for name, x in played.items() if not is_numpy(x)}
    check_one_library({"position": phantom.position, "M": M, **theirs})


def pieces(waveforms: Waveforms, motion: motions.Motion | None) -> motions.Segments:
    """Segments within which spins stay where they are; one without motion.

    Args:
        waveforms, motion: as above.
    """
    if motion is not None:
        return motions.segments(waveforms, motion.interval)
    return motions.Segments(waveforms, np.array([0, waveforms.b1.shape[0]]), np.zeros(2))


def with_rf(waveforms: Waveforms) -> Bool[np.ndarray, " K"]:
    """Steps that are played as RF: those that are not 0 and those of pulses.

    Args:
        waveforms: as above.
    """
    b1 = host(waveforms.b1)
    if b1 is None:
        return np.ones(waveforms.b1.shape[0], bool)
    rf = b1 != 0
    for pulse in waveforms.pulses:
        rf[pulse.first : pulse.stop] = True
    return rf


def readouts(parts: motions.Segments) -> Iterator[list[tuple[int, Int[np.ndarray, " s"]]]]:
    """Per segment the free precessions with samples: the step at which each starts, and the steps
    at whose ends samples are taken.

    Args:
        parts: of the waveforms.
    """
    rf = with_rf(parts.waveforms)
    last = np.maximum.accumulate(np.where(rf, np.arange(1, len(rf) + 1), 0))
    sampled = np.flatnonzero(np.asarray(parts.waveforms.sampled))
    for first, stop in itertools.pairwise(parts.first):
        ks = sampled[(sampled >= first) & (sampled < stop)]
        starts = np.maximum(last[ks], first)
        ends = np.flatnonzero(np.diff(starts)) + 1
        yield [(int(last[k[0]]) if last[k[0]] > first else int(first), k)
               for k in np.split(ks, ends) if len(k)]  # fmt: skip


def rows_of(xp: Any, phantom: Phantom, batch: tuple[int, ...]) -> dict[str, Any]:
    """Tissue in float64, (B N,), and sensitivity, (B, coils, N) or None.

    Args:
        xp, phantom, batch: whose library, and the batch axes of the result, B items.
    """
    shape = (*batch, phantom.num_spins)

    def row(x: Any) -> Any:
        return xp.reshape(xp.broadcast_to(as_float64(xp, x, phantom.position), shape), (-1,))

    rows = {name: row(getattr(phantom, name)) for name in TISSUE}
    s = phantom.sensitivity
    if s is not None:
        s = xp.broadcast_to(xp.astype(s, xp.complex128), (*batch, *s.shape[-2:]))
        s = xp.reshape(s, (-1, *s.shape[-2:]))
    return {**rows, "sensitivity": s, "items": math.prod(batch)}


def _start(xp: Any, M: Any, M0: Any, batch: tuple[int, ...], N: int) -> Any:
    if M is None:
        return xp.stack((0 * M0, 0 * M0, M0), axis=-1)
    return xp.reshape(xp.broadcast_to(as_float64(xp, M, M0), (*batch, N, 3)), (-1, 3))


class _Steps:
    """Steps, of which those without RF are played together."""

    def __init__(
        self, xp: Any, waveforms: Waveforms, like: Any, evolve: Callable[..., Any]
    ) -> None:
        def here(x: Any, dtype: Any) -> Any:
            if is_numpy(x):
                return xp.asarray(x, dtype=dtype, device=device_of(like))
            return xp.astype(x, dtype)

        self.xp, self.like, self.evolve = xp, like, evolve
        # Played on their own: RF, and steps of 0 s, in which no gradient has a mean.
        self.alone = with_rf(waveforms)
        known = host(waveforms.dt)
        if known is not None:
            self.alone = self.alone | (known == 0)
        self.b1 = here(waveforms.b1, xp.complex128)
        gradient, dt = here(waveforms.gradient, xp.float64), here(waveforms.dt, xp.float64)
        self.gradient, self.dt = gradient, dt
        # Time and the integral of the gradients at every edge of a step.
        steps = xp.concat((gradient * dt[:, None], dt[:, None]), axis=-1)
        self.edges = xp.cumulative_sum(steps, axis=0, include_initial=True)

    def _at(self, x: Any, index: Any) -> Any:
        xp = self.xp
        where = xp.asarray(np.asarray(index, np.int64), dtype=xp.int64, device=device_of(self.like))
        return xp.take(x, where, axis=0)

    def advanced(
        self, M: Any, first: int, stop: int, r: Any, spins: dict[str, Any], tolerance: float | None
    ) -> Any:
        """M after steps first ... stop - 1."""
        if stop == first:
            return M
        alone = self.alone[first:stop]
        begins = np.flatnonzero(np.concatenate(([True], alone[1:] | alone[:-1])))
        ends = np.append(begins[1:], len(alone)) + first
        passed = self._at(self.edges, ends) - self._at(self.edges, begins + first)
        of = {name: spins[name] for name in ("df", "T1", "T2", "B1", "M0")}
        b1, gradient, dt = (self._at(x, begins + first) for x in (self.b1, self.gradient, self.dt))
        xp = self.xp
        single = xp.asarray(ends - first - begins == 1, device=device_of(self.like))
        means = passed[:, :3] / xp.where(single, xp.ones_like(dt), passed[:, 3])[:, None]
        gradient = xp.where(single[:, None], gradient, means)
        dt = xp.where(single, dt, passed[:, 3])
        return self.evolve(M, b1, gradient, dt, position=r, **of, tolerance=tolerance)

    def sampled(
        self,
        M: Any,
        begin: int,
        ks: np.ndarray,
        r: Any,
        spins: dict[str, Any],
        weights: Weights,
        rows: slice,
    ) -> Any:
        """The sum over spins at the ends of steps ks of a free precession that M starts."""
        xp = self.xp
        passed = self._at(self.edges, ks + 1) - self._at(self.edges, [begin])
        t = passed[:, 3]
        turns = GAMMA_BAR_1H * xp.matmul(r, xp.matrix_transpose(passed[:, :3]))
        turns = turns + spins["df"][:, None] * t
        angle = -2 * math.pi * (turns - xp.round(turns))
        tau, b = weights.tau[rows], weights.b[rows]
        nepers = t / spins["T2"][:, None] + tau / spins["T2p"][:, None] + b * spins["D"][:, None]
        e = xp.exp(-nepers)
        c, s, x, y = e * xp.cos(angle), e * xp.sin(angle), M[:, 0][:, None], M[:, 1][:, None]
        one = xp.astype(c * x - s * y, xp.complex128) + 1j * xp.astype(s * x + c * y, xp.complex128)
        one = xp.reshape(one, (spins["items"], -1, len(ks)))
        if spins["sensitivity"] is None:
            return xp.sum(one, axis=1, keepdims=True)
        return xp.matmul(spins["sensitivity"], one)
