"""Blocks and what they play: RF pulses, gradients, windows in which the receiver listens.

SI units throughout. Signs are those of the package: spins of off-resonance df precess as
exp(-2 pi i df t), so a pulse or a receiver at frequency f turns as exp(-2 pi i f t) and is
resonant with spins of df = f.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.waveforms import Use

LATE = 1e-9  # s; what a sum of rounded times may lie beyond the end of its block
USES = ("excitation", "refocusing", "inversion", "saturation", "preparation", "other")


def refuse(name: str, value: Any, allowed: str) -> None:
    raise ValueError(f"{name}={value}: {allowed} is allowed")


def check_finite(owner: str, **numbers: Any) -> None:
    """Refuse what is not finite; names the field of its owner, e.g. RF.phase."""
    for name, value in numbers.items():
        if not np.all(np.isfinite(value)):
            wrong = np.asarray(value)[~np.isfinite(value)].flat[0]
            refuse(f"{owner}.{name}", wrong, "a finite number")


def check_time(owner: str, **times: float) -> None:
    for name, value in times.items():
        if not (math.isfinite(value) and value >= 0):
            refuse(f"{owner}.{name}", value, "a finite time from 0 s")


def check_order(owner: str, times: Float[np.ndarray, " n"]) -> None:
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if wrong.size:
        at = f"{owner}[{wrong[0] + 1}]"
        refuse(at, times[wrong[0] + 1], f"a time after the one before it ({times[wrong[0]]} s)")


@dataclass(frozen=True, eq=False)
class RF:
    """A pulse that is constant within its cells.

    b1(t) = samples(t) exp(i phase - 2 pi i frequency t), t from the start of the pulse.

    Attributes:
        samples: T, one per cell, (n,).
        edges: of the cells, s from the start of the pulse, the first 0, (n + 1,).
        centre: time at which it acts, s from the start of the pulse.
        use: what it is played for.
        delay: of its start from the start of the block, s.
        frequency: off-resonance of the spins with which it is resonant, Hz.
        phase: rad.

    Raises:
        ValueError: a field that makes no sense, by name.
    """

    samples: Complex[np.ndarray, " n"]
    edges: Float[np.ndarray, " edges"]
    centre: float
    use: Use
    delay: float = 0.0
    frequency: float = 0.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.edges.shape != (self.samples.size + 1,):
            refuse("RF.edges", f"{self.edges.shape}", f"one more than {self.samples.shape} samples")
        if not self.samples.size:
            refuse("RF.samples", "none", "at least one")
        check_finite("RF", samples=self.samples, edges=self.edges)
        check_finite("RF", frequency=self.frequency, phase=self.phase)
        check_time("RF", delay=self.delay, centre=self.centre)
        check_order("RF.edges", self.edges)
        if self.edges[0] != 0:
            refuse("RF.edges[0]", self.edges[0], "0 s")
        if self.centre > self.duration * (1 + 1e-9):
            refuse("RF.centre", self.centre, f"a time within the pulse of {self.duration} s")
        if self.use not in USES:
            refuse("RF.use", self.use, f"one of {', '.join(USES)}")

    @classmethod
    def sampled(
        cls,
        samples: Complex[np.ndarray, " n"],
        dwell: float,
        *,
        use: Use,
        centre: float | None = None,
        delay: float = 0.0,
        frequency: float = 0.0,
        phase: float = 0.0,
    ) -> "RF":
        """A pulse of cells of length dwell, s; it acts at its middle unless a centre is given."""
        edges = np.arange(samples.size + 1) * dwell
        centre = edges[-1] / 2 if centre is None else centre
        return cls(samples, edges, float(centre), use, delay, frequency, phase)

    @property
    def duration(self) -> float:
        """Of the pulse without its delay, s."""
        return float(self.edges[-1])

    @property
    def stop(self) -> float:
        """Its end, s from the start of the block."""
        return self.delay + self.duration

    @property
    def flip(self) -> float:
        """Flip angle on resonance of a pulse of constant phase, gamma |integral of b1|, rad."""
        return GAMMA_1H * float(abs(np.sum(self.samples * np.diff(self.edges))))

    def turned(self, phase: float) -> "RF":
        """The same pulse at another phase (rad)."""
        return replace(self, phase=phase)


@dataclass(frozen=True, eq=False)
class Gradient:
    """A gradient along one axis, linear between its knots and zero outside them.

    Attributes:
        times: of the knots, s from the start of the block, (n,), n at least 2.
        amplitudes: T/m, (n,). Where the first or the last is not zero, the knot lies at the start
            or the end of the block, and the neighbouring block goes on from there.

    Raises:
        ValueError: a field that makes no sense, by name.
    """

    times: Float[np.ndarray, " n"]
    amplitudes: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or self.times.shape != self.amplitudes.shape:
            shapes = f"{self.times.shape} and {self.amplitudes.shape}"
            refuse("Gradient.times, Gradient.amplitudes", shapes, "one shape (n,)")
        if self.times.size < 2:
            refuse("Gradient.times", self.times, "two knots or more")
        check_finite("Gradient", times=self.times, amplitudes=self.amplitudes)
        check_time("Gradient", start=float(self.times[0]))
        check_order("Gradient.times", self.times)

    @classmethod
    def trapezoid(
        cls, amplitude: float, *, rise: float, flat: float, fall: float, delay: float = 0.0
    ) -> "Gradient":
        """A trapezoid, or a triangle where flat is 0.

        amplitude: of the flat top, T/m; rise, flat, fall: s; delay: from the start of the block, s.
        """
        check_time("Gradient", delay=delay, rise=rise, flat=flat, fall=fall)
        # On nanoseconds: a sum of rasters is otherwise off by a rounding that differs by block.
        times = np.round(delay + np.cumsum([0.0, rise, flat, fall]), 9)
        heights = np.array([0.0, amplitude, amplitude, 0.0])
        knots = [0, 1, 3] if flat == 0 else [0, 1, 2, 3]
        return cls(times[knots], heights[knots])

    @property
    def stop(self) -> float:
        """Its end, s from the start of the block."""
        return float(self.times[-1])

    @property
    def area(self) -> float:
        """Integral over time, T s/m."""
        heights = 0.5 * (self.amplitudes[1:] + self.amplitudes[:-1])
        return float(np.sum(heights * np.diff(self.times)))

    def scaled(self, factor: float) -> "Gradient":
        return replace(self, amplitudes=factor * self.amplitudes)

    def delayed(self, delay: float) -> "Gradient":
        """The same gradient, later by a delay (s)."""
        return replace(self, times=np.round(self.times + delay, 9))


@dataclass(frozen=True, eq=False)
class ADC:
    """The window of the receiver; a sample stands at the middle of each dwell time.

    Attributes:
        num_samples: in the window.
        dwell: time between samples, s.
        delay: of the window's start from the start of the block, s.
        frequency: to which the receiver is tuned, Hz; its phase counts from the window's start.
        phase: of the receiver, rad, a number or one per sample, (num_samples,).

    Raises:
        ValueError: a field that makes no sense, by name.
    """

    num_samples: int
    dwell: float
    delay: float = 0.0
    frequency: float = 0.0
    phase: float | Float[np.ndarray, " num_samples"] = 0.0

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            refuse("ADC.num_samples", self.num_samples, "a whole number from 1")
        if not (math.isfinite(self.dwell) and self.dwell > 0):
            refuse("ADC.dwell", self.dwell, "a finite time above 0 s")
        check_time("ADC", delay=self.delay)
        check_finite("ADC", frequency=self.frequency, phase=self.phase)
        if np.shape(self.phase) not in ((), (self.num_samples,)):
            refuse("ADC.phase", np.shape(self.phase), f"a number or ({self.num_samples},)")

    @property
    def stop(self) -> float:
        """End of the window, s from the start of the block."""
        return self.delay + self.num_samples * self.dwell

    @property
    def times(self) -> Float[np.ndarray, " num_samples"]:
        """Of the samples, s from the start of the block."""
        return self.delay + (np.arange(self.num_samples) + 0.5) * self.dwell

    @property
    def receiver(self) -> Float[np.ndarray, " num_samples"]:
        """Phase of the receiver at the samples, rad; it is subtracted from the signal's."""
        return self.phase - 2 * math.pi * self.frequency * (self.times - self.delay)

    def turned(self, phase: float) -> "ADC":
        """The same window at another phase (rad)."""
        return replace(self, phase=phase)


@dataclass(frozen=True, eq=False)
class Block:
    """Events that start together, each after its own delay; nothing but a duration is a delay.

    Attributes:
        duration: s.
        rf: pulse.
        gx, gy, gz: gradients.
        adc: window of the receiver.

    Raises:
        ValueError: a duration that makes no sense, or an event that ends after the block.
    """

    duration: float
    rf: RF | None = None
    gx: Gradient | None = None
    gy: Gradient | None = None
    gz: Gradient | None = None
    adc: ADC | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration) and self.duration >= 0):
            refuse("Block.duration", self.duration, "a finite time from 0 s")
        for name in ("rf", "gx", "gy", "gz", "adc"):
            event = getattr(self, name)
            if event is not None and event.stop > self.duration + LATE:
                allowed = f"an end within the block of {self.duration} s"
                refuse(f"Block.{name}.stop", event.stop, allowed)

    @property
    def gradients(self) -> tuple[Gradient | None, Gradient | None, Gradient | None]:
        """Along x, y and z."""
        return self.gx, self.gy, self.gz
