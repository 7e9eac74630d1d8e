"""DRONE: relaxation times from a magnetic-resonance fingerprint, by a network in place of matching.

Source: Cohen, Zhu, Rosen, MR fingerprinting deep reconstruction network (DRONE), Magnetic Resonance
in Medicine 80(3), 2018 (arXiv 1710.05267). Its schedules and ranges are not in what was read: those
here are choices of this project (see conf/system/drone.yaml).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.special import gammaincinv

from ipads_stream.acquisition.noise import complex_noise
from ipads_stream.acquisition.noise_limit import chosen_rows, with_noise
from ipads_stream.acquisition.receive_phase import sign_reference, without_phase
from ipads_stream.core.backend import moved, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Names, choice, ruled
from ipads_stream.core.images import check_axis, measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics.epg import num_orders
from ipads_stream.physics.epg.fingerprint import (
    fingerprint,
    refuse_unidentifiable,
    relative_bound,
    tissue_grid,
)
from ipads_stream.sequences.fingerprint_schedules import FrameSchedule
from ipads_stream.systems.base import Axis, ParametricSystem

TISSUE = ("T1", "T2", "B1")
REPORTED = {
    "T1": {"unit": "ms", "scale": "log", "bids": "T1map"},
    "T2": {"unit": "ms", "scale": "log", "bids": "T2map"},
    "B1": {"bids": "TB1map"},
}
Support = tuple[float, float]
CERTAIN = 5.0  # standard deviations of the noise by which a sign must be certain
EXPLAINED = 0.1  # of the least noise of the training: what of fingerprints its residual may hold
CHANCE = 1e-3  # that a signal of the training is taken to be cleaner than all of it
FEWEST = 4  # frames beyond what fingerprints explain, to estimate the noise from


@dataclass(frozen=True, kw_only=True)
class DRONE(ParametricSystem):
    """Fingerprints of voxels with one T1 and T2 (article Fig. 2), by extended phase graphs.

    Input: ``signal`` (B, frames) float32 of norm 1: the magnitude, or of complex data the real part
    after the unknown phase was removed. Targets: T1, T2 (s) and, if asked for, B1, each (B,).

    Attributes:
        T1, T2: s; T2 is below T1 (``Truncated(below=T1)``).
        B1: factor of the flip angles; unknown to the network where it varies.
        phase: of the receiver, rad; only of complex data.
        snr: root mean square of the noise-free frames over the standard deviation of the noise in
            each real channel; None: no noise.
        schedule: flip angles and timings of the frames (sequences/fingerprint_schedules.py).
        data: "complex" or "magnitude".
        estimated: T1 and T2, perhaps B1.
    """

    name: ClassVar[str] = "drone"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    design: ClassVar[str] = "ipads_stream.evaluation.design.fingerprints.flip_trains"
    baselines: ClassVar[dict[str, str]] = {
        "dictionary": "ipads_stream.baselines.fingerprints.methods.dictionary",
        "dictionary and fit": "ipads_stream.baselines.fingerprints.methods.dictionary_and_fit",
        "posterior mean": "ipads_stream.baselines.fingerprints.methods.posterior_mean",
    }

    T1: Distribution = parameter(quantity="time", within=(1e-3, 20.0))
    T2: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    B1: Distribution = parameter(within=(0.1, 3.0))
    phase: Distribution = parameter(quantity="angle")
    schedule: FrameSchedule
    snr: Distribution | None = parameter(within=(1.0, math.inf), optional=True)
    data: str = choice("complex", among=("complex", "magnitude"))
    estimated: Sequence[str] = ruled(Names(what="quantities"), ("T1", "T2"))

    def check(self) -> None:
        if self.estimated not in (("T1", "T2"), TISSUE):
            raise ConfigError("estimated", self.estimated, "[T1, T2] or [T1, T2, B1]")
        if "B1" in self.estimated and "B1" not in self.unknown:
            raise ConfigError("estimated", self.estimated, "[T1, T2] where B1 is a constant")
        if self.T2.support[0] > 2 * self.T1.support[1]:
            raise ConfigError("T2", self.T2.support, "at most 2 T1, as of all matter")
        turns = np.mod(self.schedule.frames.phase, math.pi) / math.pi
        if not np.allclose(np.minimum(turns, 1 - turns), 0, atol=1e-6):
            raise ConfigError("schedule", "phases", "pulses of phase 0 and 180 degrees alone")
        try:
            refuse_unidentifiable(self.schedule.frames, *self.supports, self.unknown)
        except ValueError as error:
            allowed = f"one that encodes {', '.join(self.unknown)} ({error})"
            raise ConfigError("schedule", type(self.schedule).__name__, allowed) from None
        if self.data == "complex":
            _ = self.reference  # refuses a sign that the noise hides

    @property
    def supports(self) -> tuple[Support, Support, Support]:
        """Of T1, T2 (s) and B1."""
        return self.T1.support, self.T2.support, self.B1.support

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is unknown of the signal, the amplitude aside."""
        low, high = self.B1.support
        return TISSUE if low < high else ("T1", "T2")

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {"signal": Axis("frame")}

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates, over the ranges that are drawn."""
        supports = dict(zip(TISSUE, self.supports, strict=True))
        return {name: Quantity.over(supports[name], **REPORTED[name]) for name in self.estimated}

    @cached_property
    def orders(self) -> int:
        """Of the phase graph, enough for every tissue, so that no sample depends on its batch."""
        return num_orders(self.schedule.frames.TR, *self.supports[:2])

    @cached_property
    def reference(self) -> np.ndarray:
        """On whose side all fingerprints lie: what settles the sign of complex data."""
        grid = tissue_grid(*self.supports, (32, 32, 5))
        tissue = dict(zip(TISSUE, grid, strict=True))
        reference, margin = sign_reference(np.imag(self.forward(tissue)))
        lowest = self.snr.support[0] if self.snr is not None else math.inf
        if margin * lowest * math.sqrt(len(reference)) < CERTAIN:
            allowed = "magnitude: the noise hides the sign of a fingerprint here"
            raise ConfigError("data", self.data, allowed)
        return reference.astype(np.float32)

    def forward(self, params: Arrays) -> Any:
        """The complex noise-free fingerprints, M0 = 1, (B, frames); differentiable by torch."""
        tissue = {name: params[name] for name in TISSUE}
        return fingerprint(*self.schedule.frames, **tissue, orders=self.orders)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        turn = np.exp(1j * params["phase"]).astype(np.complex64)
        drawn = [*TISSUE, *(["snr"] if self.snr is not None else [])]
        numbers = (params[name].astype(np.float32) for name in drawn)
        turn, *columns = moved(xp, turn, *numbers)
        tissue = dict(zip(drawn, columns, strict=True))
        signal = self.forward(tissue)
        if self.snr is not None:
            rms = xp.sqrt(xp.mean(xp.imag(signal) ** 2, axis=1))
            sigma = rms / tissue["snr"]
            # Circular noise: E|z|^2 is twice the variance of a channel.
            noise = complex_noise(keys["noise"], math.sqrt(2) * sigma, signal.shape[1], xp)
            signal = signal + noise
        inputs = {"signal": self._real(signal * turn[:, None])}
        return self.batch(inputs, {name: tissue[name] for name in self.estimated}, params)

    def _real(self, signal: Any) -> Any:
        """What the network sees of complex fingerprints, (B, frames), of norm 1."""
        xp = namespace(signal)
        is_complex = self.data == "complex"
        real = without_phase(signal, self.reference) if is_complex else xp.abs(signal)
        size = xp.sqrt(xp.sum(real * real, axis=1))
        return real / xp.where(size > 0, size, xp.ones_like(size))[:, None]

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]:
        """Inputs with noise where they are certainly above the highest ``snr``, and where.

        The noise of a signal is estimated from what no fingerprint explains. Nothing is changed
        without noise in training, or where the fingerprints explain all that the frames hold.
        """
        signals = np.asarray(inputs["signal"])
        if self.snr is None or self._explained is None:
            return dict(inputs), np.zeros(len(signals), bool)
        frames, basis = self._explained
        single = signals.astype(np.float64)
        some = single[:, frames]
        rest, whole = basis.shape[1] - len(basis), np.sum(some**2, axis=1)
        variance = np.maximum(whole - np.sum((some @ basis.T) ** 2, axis=1), 0.0) / rest
        least = 1 / (self.snr.support[1] * math.sqrt(signals.shape[1]))  # of signals of norm 1
        is_clean = (whole > 0) & (variance < least**2 * 2 / rest * gammaincinv(rest / 2, CHANCE))
        added = np.where(is_clean, np.sqrt(np.maximum(least**2 - variance, 0.0)), 0.0)
        noisy = with_noise(single, added, is_magnitude=self.data == "magnitude")
        noisy /= np.maximum(np.linalg.norm(noisy, axis=1, keepdims=True), 1e-30)
        return chosen_rows(inputs, {"signal": noisy.astype(signals.dtype)}, is_clean), is_clean

    @cached_property
    def _explained(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Frames, and orthonormal directions (K, some of them) of all fingerprints to the noise.

        Of magnitudes those frames where no fingerprint changes its sign, which no few directions
        follow. None where fewer than ``FEWEST`` of them would be left.
        """
        assert self.snr is not None
        grid = tissue_grid(*self.supports, (32, 32, 5))
        signals = np.imag(self.forward(dict(zip(TISSUE, grid, strict=True))))
        signals /= np.linalg.norm(signals, axis=1, keepdims=True)
        frames = np.abs(np.sign(signals).sum(axis=0)) == len(signals)
        if self.data == "complex":
            frames[:] = True
        else:
            signals = np.abs(signals)
        signals, num = signals[:, frames], signals.shape[1]
        basis = np.linalg.svd(signals, full_matrices=False)[2]
        power = (signals @ basis.T) ** 2
        left = np.append(np.cumsum(power[:, ::-1], axis=1)[:, ::-1].max(axis=0), 0.0)
        rest = frames.sum() - np.arange(len(left))
        enough = np.flatnonzero(left <= rest / num * (EXPLAINED / self.snr.support[1]) ** 2)
        if not enough.size or rest[enough[0]] < FEWEST:
            return None
        return frames, basis[: enough[0]]

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao: least SD of an unbiased estimate, SI, (B,); the amplitude is unknown, too.

        It is that of complex data, which magnitude data do not surpass.
        """
        tissue = {name: params[name] for name in TISSUE}
        relative = relative_bound(self.schedule.frames, self.unknown, self.orders, **tissue)
        noise = 0.0 if self.snr is None else 1.0 / params["snr"]
        return {name: relative[name] * params[name] * noise for name in self.estimated}

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """The network's inputs from fingerprint images, (*space, frames).

        Args:
            images: complex for complex data; for magnitude data complex or real.
            axis: echo times of the frames, s, where they are known.

        Raises:
            ConfigError: another number of frames, real images for complex data, what is not finite
                or other echo times than the schedule's.
        """
        TE = self.schedule.frames.TE
        counts, content = [len(TE)], f"{len(TE)} frames, as the schedule has"
        numbers: Any = "complex" if self.data == "complex" else "any"
        frames = measured_samples(
            images, self.kind, counts=counts, content=content, numbers=numbers
        )
        check_axis(axis, TE, "echo times (s)", rtol=0.01, atol=1e-5)
        return {"signal": self._real(frames.astype(np.complex64))}
