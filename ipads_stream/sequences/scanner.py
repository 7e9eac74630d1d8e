"""What a scanner can play: limits, dead times and the rasters of its clocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, RF, Gradient

TINY = 1e-9  # s, below every raster


@dataclass(frozen=True)
class Scanner:
    """Limits of a scanner; the defaults are those of a human scanner of 3 T.

    Attributes:
        max_gradient: per axis, T/m.
        max_slew: per axis, T/m/s.
        max_b1: T.
        rf_dead_time, rf_ringdown_time: before and after a pulse, within its block, s.
        adc_dead_time: before and after a window, within its block, s.
        gradient_raster, rf_raster, adc_raster, block_raster: of times, s.
    """

    max_gradient: float = 40e-3
    max_slew: float = 170.0
    max_b1: float = 30e-6
    rf_dead_time: float = 100e-6
    rf_ringdown_time: float = 20e-6
    adc_dead_time: float = 10e-6
    gradient_raster: float = 10e-6
    rf_raster: float = 1e-6
    adc_raster: float = 100e-9
    block_raster: float = 10e-6

    def __post_init__(self) -> None:
        for name in ("max_gradient", "max_slew", "max_b1"):
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "a number above 0")
        for name in ("gradient_raster", "rf_raster", "adc_raster", "block_raster"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(name, value, "a finite time above 0 s")
        for name in ("rf_dead_time", "rf_ringdown_time", "adc_dead_time"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(name, value, "a finite time from 0 s")

    def block(
        self,
        *,
        rf: RF | None = None,
        gx: Gradient | None = None,
        gy: Gradient | None = None,
        gz: Gradient | None = None,
        adc: ADC | None = None,
        duration: float = 0.0,
    ) -> Block:
        """A block as long as what it plays and the dead times after it, on the block raster.

        Args:
            rf, gx, gy, gz, adc: what it plays.
            duration: at least, s.
        """
        ends = [duration, *(g.stop for g in (gx, gy, gz) if g is not None)]
        if rf is not None:
            ends.append(rf.stop + self.rf_ringdown_time)
        if adc is not None:
            ends.append(adc.stop + self.adc_dead_time)
        return Block(ceil_to(max(ends), self.block_raster), rf=rf, gx=gx, gy=gy, gz=gz, adc=adc)


def ceil_to(time: float, raster: float) -> float:
    """The first point of a raster that is not before a time, both in s."""
    return round(math.ceil((time - TINY) / raster) * raster, 9)


def round_to(time: float, raster: float) -> float:
    """The nearest point of a raster, s."""
    return round(round(time / raster) * raster, 9)


def is_multiple(time: float, raster: float) -> bool:
    """Whether a time is on the raster, and at least one step of it."""
    return time > 0.5 * raster and is_on(time, raster)


def is_on(time: float, raster: float) -> bool:
    return abs(time - round(time / raster) * raster) < min(TINY, 1e-3 * raster)
