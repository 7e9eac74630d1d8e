"""DRONE: relaxation times from a magnetic-resonance fingerprint, by a network in place of matching.

Source: Cohen, Zhu, Rosen, MR fingerprinting deep reconstruction network (DRONE), Magnetic Resonance
in Medicine 80(3), 2018 (arXiv 1710.05267). Its schedules and ranges are not in what was read: those
here are choices of this project (see conf/system/drone.yaml).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.noise import complex_noise
from ipads_stream.acquisition.receive_phase import sign_reference, without_phase
from ipads_stream.core.backend import namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import (
    Distribution,
    Parameter,
    as_parameters,
    draw_parameters,
    importance_weights,
)
from ipads_stream.physics.epg import num_orders
from ipads_stream.physics.fingerprint import (
    fingerprint,
    refuse_unidentifiable,
    relative_bound,
    tissue_grid,
)
from ipads_stream.sequences.fingerprint_schedules import Schedule

PARAMETERS = {
    "T1": Parameter(quantity="time", within=(1e-3, 20.0)),
    "T2": Parameter(quantity="time", within=(1e-3, 10.0)),
    "B1": Parameter(within=(0.1, 3.0)),
    "phase": Parameter(quantity="angle"),
    "snr": Parameter(within=(1.0, math.inf), optional=True),
}
DATA = ("complex", "magnitude")
CERTAIN = 5.0  # standard deviations of the noise by which a sign must be told


@dataclass(frozen=True, kw_only=True)
class DRONE:
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
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("EchoTime", "s")

    T1: Distribution
    T2: Distribution
    B1: Distribution
    phase: Distribution
    schedule: Schedule
    snr: Distribution | None = None
    data: str = "complex"
    estimated: Sequence[str] = ("T1", "T2")

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        if self.data not in DATA:
            raise ConfigError("data", self.data, f"one of {', '.join(DATA)}")
        object.__setattr__(self, "estimated", tuple(self.estimated))
        if self.estimated not in (("T1", "T2"), ("T1", "T2", "B1")):
            raise ConfigError("estimated", self.estimated, "[T1, T2] or [T1, T2, B1]")
        if "B1" in self.estimated and "B1" not in self.unknown:
            raise ConfigError("estimated", self.estimated, "[T1, T2] where B1 is a constant")
        turns = np.mod(self.schedule.frames.phase, math.pi) / math.pi
        if not np.allclose(np.minimum(turns, 1 - turns), 0, atol=1e-6):
            raise ConfigError("schedule", "phases", "pulses of phase 0 and 180 degrees alone")
        ends = (self.T1.support, self.T2.support, self.B1.support)
        try:
            refuse_unidentifiable(self.schedule.frames, *ends, self.unknown)
        except ValueError as error:
            allowed = f"one that encodes {', '.join(self.unknown)} ({error})"
            raise ConfigError("schedule", type(self.schedule).__name__, allowed) from None
        if self.data == "complex":
            _ = self.reference  # refuses a sign that the noise hides

    @property
    def unknown(self) -> tuple[str, ...]:
        """What the signal depends on and nobody knows, the amplitude aside."""
        low, high = self.B1.support
        return ("T1", "T2", "B1") if low < high else ("T1", "T2")

    @property
    def quantities(self) -> dict[str, Quantity]:
        known = {
            "T1": _quantity(self.T1, "ms", "log", "T1map"),
            "T2": _quantity(self.T2, "ms", "log", "T2map"),
            "B1": _quantity(self.B1, "", "linear", "TB1map"),
        }
        return {name: known[name] for name in self.estimated}

    @cached_property
    def orders(self) -> int:
        """Of the phase graph, enough for every tissue, so that no sample depends on its batch."""
        flip, phase, TR, TE, TI, _ = self.schedule.frames
        return num_orders(
            flip, phase, TR, TE, self.T1.support, self.T2.support, self.B1.support, TI
        )

    @cached_property
    def reference(self) -> np.ndarray:
        """On whose side all fingerprints lie: what settles the sign of complex data."""
        grid = tissue_grid(self.T1.support, self.T2.support, self.B1.support, (32, 32, 5))
        tissue = dict(zip(("T1", "T2", "B1"), grid, strict=True))
        reference, margin = sign_reference(np.imag(self.forward(tissue)))
        lowest = self.snr.support[0] if self.snr is not None else math.inf
        if margin * lowest * math.sqrt(len(reference)) < CERTAIN:
            allowed = "magnitude: in the noise the sign of a fingerprint cannot be told here"
            raise ConfigError("data", self.data, allowed)
        return reference.astype(np.float32)

    def _distributions(self) -> dict[str, Distribution]:
        values = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        drawn: Arrays = draw_parameters(
            {name: (value, ()) for name, value in self._distributions().items()}, keys, progress
        )
        return drawn

    def forward(self, params: Arrays) -> Any:
        """The complex noise-free fingerprints, M0 = 1, (B, frames); differentiable by torch."""
        tissue = {name: params[name] for name in ("T1", "T2", "B1")}
        return fingerprint(*self.schedule.frames, **tissue, orders=self.orders)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        tissue = {name: xp.asarray(params[name], dtype=xp.float32) for name in ("T1", "T2", "B1")}
        signal = self.forward(tissue)
        if self.snr is not None:
            rms = xp.sqrt(xp.mean(xp.imag(signal) ** 2, axis=1))
            sigma = rms / xp.asarray(params["snr"], dtype=xp.float32)
            # Circular noise: E|z|^2 is twice the variance of a channel.
            noise = complex_noise(keys["noise"], math.sqrt(2) * sigma, signal.shape[1], xp)
            signal = signal + noise
        turn = np.exp(1j * params["phase"]).astype(np.complex64)
        return Sample(
            inputs={"signal": self._real(signal * xp.asarray(turn)[:, None])},
            targets={name: tissue[name] for name in self.estimated},
            params=params,
            weight=importance_weights(self._distributions(), params),
        )

    def _real(self, signal: Any) -> Any:
        """What the network sees of complex fingerprints, (B, frames), of norm 1."""
        xp = namespace(signal)
        is_complex = self.data == "complex"
        real = without_phase(signal, self.reference) if is_complex else xp.abs(signal)
        size = xp.sqrt(xp.sum(real * real, axis=1))
        return real / xp.where(size > 0, size, xp.ones_like(size))[:, None]

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao: least SD of an unbiased estimate, SI, (B,); the amplitude is unknown, too.

        It is that of complex data, which magnitude data do not surpass.
        """
        tissue = {name: params[name] for name in ("T1", "T2", "B1")}
        relative = relative_bound(self.schedule.frames, self.unknown, self.orders, **tissue)
        noise = 0.0 if self.snr is None else 1.0 / params["snr"]
        return {name: relative[name] * params[name] * noise for name in self.estimated}

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Somebody's fingerprint images, (*space, frames), as inputs.

        Args:
            images: complex for complex data; for magnitude data complex or real.
            axis: echo times of the frames, s, where they are known.

        Raises:
            ConfigError: another number of frames, real images for complex data, what is not finite
                or other echo times than the schedule's.
        """
        TE = self.schedule.frames.TE
        if images.ndim < 2 or images.shape[-1] != len(TE):
            allowed = f"{len(TE)} frames along the last axis, as the schedule has"
            raise ConfigError("data", f"images of shape {images.shape}", allowed)
        if self.data == "complex" and not np.iscomplexobj(images):
            raise ConfigError("data", "real images", "complex ones, or system.data=magnitude")
        if not np.isfinite(images).all():
            raise ConfigError("data", "images that are not finite", "finite numbers")
        if axis is not None and not np.allclose(axis, TE, rtol=0.01, atol=1e-5):
            allowed = f"those of the schedule, {TE.min():g} to {TE.max():g} s"
            raise ConfigError("data", f"echo times {np.min(axis):g} to {np.max(axis):g} s", allowed)
        return {"signal": self._real(as_samples(images, self.kind).astype(np.complex64))}


def _quantity(distribution: Distribution, unit: str, scale: str, bids: str) -> Quantity:
    low, high = distribution.support
    if low == high:  # a constant: a range there must be
        low, high = 0.9 * low, 1.1 * high
    return Quantity(low=low, high=high, unit=unit, scale=scale, bids=bids)
