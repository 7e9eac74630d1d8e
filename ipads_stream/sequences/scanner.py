"""What a scanner can play: limits, dead times and the rasters of its clocks."""

import math
from dataclasses import dataclass

from ipads_stream.core.fields import check, number
from ipads_stream.sequences.events import ADC, RF, Block, Gradient

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

    max_gradient: float = number(40e-3, above=0.0, infinite=True)
    max_slew: float = number(170.0, above=0.0, infinite=True)
    max_b1: float = number(30e-6, above=0.0, infinite=True)
    rf_dead_time: float = number(100e-6, low=0.0)
    rf_ringdown_time: float = number(20e-6, low=0.0)
    adc_dead_time: float = number(10e-6, low=0.0)
    gradient_raster: float = number(10e-6, above=0.0)
    rf_raster: float = number(1e-6, above=0.0)
    adc_raster: float = number(100e-9, above=0.0)
    block_raster: float = number(10e-6, above=0.0)

    def __post_init__(self) -> None:
        check(self)

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


HUMAN = Scanner()


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
