"""What Cartesian sequences share: readout lobe, phase encoding, a slice, and waiting.

Sample N // 2 of a readout stands at the middle of its lobe, where k = 0; lines are numbered alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences import pulses
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, RF, Gradient
from ipads_stream.sequences.gradients import (
    crusher_area,
    flat_top,
    shortest,
    slice_selection,
    table,
    trapezoid,
)
from ipads_stream.sequences.scanner import Scanner, ceil_to, is_multiple, round_to


@dataclass(frozen=True, eq=False)
class Readout:
    """A lobe with its window.

    Attributes:
        gx: lobe; half of its area is to be wound back before it.
        adc: window.
    """

    gx: Gradient
    adc: ADC

    @property
    def centre(self) -> float:
        """Time of k = 0 from the start of the block, s."""
        return 0.5 * self.gx.stop

    def block(self, scanner: Scanner, phase: float = 0.0) -> Block:
        """The lobe with the receiver at a phase (rad)."""
        return scanner.block(gx=self.gx, adc=self.adc.turned(phase))


def readout(fov: float, matrix: int, dwell: float, scanner: Scanner) -> Readout:
    """The lobe that samples a line, 1 / fov apart, on its flat top.

    Args:
        fov: along the line, m.
        matrix: number of samples.
        dwell: time between them, s.
        scanner: whose limits hold.

    Raises:
        ConfigError: what the scanner cannot play, by name.
    """
    check_matrix(matrix)
    check_length("fov", fov)
    # The window begins half a dwell before a sample; both have to lie on the receiver's raster.
    if not is_multiple(dwell, 2 * scanner.adc_raster):
        raise ConfigError("dwell", dwell, f"a multiple of {2 * scanner.adc_raster} s above 0")
    amplitude = 1 / (GAMMA_BAR_1H * fov * dwell)
    if amplitude > scanner.max_gradient:
        least = 1 / (GAMMA_BAR_1H * fov * scanner.max_gradient)
        raise ConfigError("dwell", dwell, f"at least {least:.3g} s for fov={fov}")
    # An even number of rasters, so that its middle lies on the raster too.
    flat = ceil_to((matrix + 1) * dwell, 2 * scanner.gradient_raster)
    gx = flat_top(amplitude, flat, scanner)
    delay = round(0.5 * gx.stop - (matrix // 2 + 0.5) * dwell, 9)
    return Readout(gx, ADC(matrix, dwell, delay))


def phase_encoding(fov: float, matrix: int, scanner: Scanner, duration: float) -> list[Gradient]:
    """Gradients to the lines k = (n - matrix // 2) / fov, n = 0 ... matrix - 1.

    Args:
        fov: m.
        matrix: number of lines.
        scanner: whose limits hold.
        duration: of each gradient, s.
    """
    areas = [(n - matrix // 2) / (GAMMA_BAR_1H * fov) for n in range(matrix)]
    return table(areas, scanner, duration=duration)


def winding(
    fov: float, matrix: int, scanner: Scanner, *areas: float
) -> tuple[float, list[Gradient], list[Gradient]]:
    """Phase encoding and its winding back, in the time that these and other areas need at most.

    Args:
        fov: m.
        matrix: number of lines.
        scanner: whose limits hold.
        areas: of what is played together with them, T s/m.

    Returns:
        The time, s, on the block raster, and the gradients to the lines and back from them.
    """
    outermost = (matrix // 2) / (GAMMA_BAR_1H * fov)
    longest = max(shortest(area, scanner) for area in (outermost, *areas))
    duration = ceil_to(longest, scanner.block_raster)
    there, back = (phase_encoding(f, matrix, scanner, duration) for f in (fov, -fov))
    return duration, there, back


def crushing_area(
    turns: float, fov: float, matrix: int, thickness: float | None, name: str
) -> float:
    """Area that turns the phase so often over the slice, or over a pixel where there is none.

    Args:
        turns: from 0.
        fov, matrix, thickness: of the image.
        name: of the number of turns, for the error.

    Raises:
        ConfigError: not a number of turns.
    """
    if not (math.isfinite(turns) and turns >= 0):
        raise ConfigError(name, turns, "a finite number from 0")
    check_length("fov", fov)
    if thickness is not None:
        check_length("thickness", thickness)
    return crusher_area(turns, thickness or fov / matrix)


def crusher(
    turns: float,
    fov: float,
    matrix: int,
    thickness: float | None,
    name: str,
    scanner: Scanner,
) -> Gradient:
    """The shortest trapezoid of a crushing area.

    Args:
        turns, fov, matrix, thickness, name: as of crushing_area.
        scanner: whose limits hold.
    """
    return trapezoid(crushing_area(turns, fov, matrix, thickness, name), scanner)


def without_empty(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks that last: a wait may be none."""
    return tuple(block for block in blocks if block.duration > 0)


@dataclass(frozen=True, eq=False)
class Selection:
    """A pulse that acts on a slice, or everywhere.

    Attributes:
        rf: pulse.
        gz: gradient that selects; None: it acts everywhere.
        rephasing: area that rephases from the pulse's centre on, T s/m.
        duration: of its block, s.
    """

    rf: RF
    gz: Gradient | None
    rephasing: float
    duration: float

    @property
    def centre(self) -> float:
        """Time at which the pulse acts, s from the start of the block."""
        return self.rf.delay + self.rf.centre

    @property
    def after(self) -> float:
        """Time from there to the end of the block, s."""
        return self.duration - self.centre

    def block(self, phase: float = 0.0) -> Block:
        """The pulse turned by a phase, rad."""
        return Block(self.duration, rf=self.rf.turned(self.rf.phase + phase), gz=self.gz)


def selection(
    flip: float,
    thickness: float | None,
    scanner: Scanner,
    *,
    duration: float = 3e-3,
    time_bandwidth: float = 4.0,
    offset: float = 0.0,
    use: Use = "excitation",
) -> Selection:
    """A sinc that acts on a slice, or a rectangular pulse of 0.5 ms that acts everywhere.

    Args:
        flip: rad.
        thickness: of the slice, m; None: everywhere.
        scanner: whose limits hold.
        duration, time_bandwidth: of the sinc, s and 1.
        offset: of the slice from the isocentre, m.
        use: what it is played for.
    """
    if not (math.isfinite(flip) and flip > 0):
        name = "refocusing" if use == "refocusing" else "flip"
        raise ConfigError(name, flip, "a finite angle above 0 rad")
    gz, rephasing = None, 0.0
    if thickness is None:
        rf = pulses.block(flip, scanner, use=use)
    else:
        check_length("thickness", thickness)
        rf = pulses.sinc(flip, scanner, duration=duration, time_bandwidth=time_bandwidth, use=use)
        bandwidth = time_bandwidth / duration
        rf, gz, rephasing = slice_selection(rf, bandwidth, thickness, scanner, offset=offset)
    return Selection(rf, gz, rephasing, scanner.block(rf=rf, gz=gz).duration)


def inversion(TI: float, excitation: Selection, crush: Block, scanner: Scanner) -> list[Block]:
    """An adiabatic inversion, a crusher and the rest of the time to an excitation.

    Args:
        TI: from the inversion's centre to the excitation's, s; met to half of the block raster.
        excitation: that follows.
        crush: block of the crusher.
        scanner: whose limits hold.

    Raises:
        ConfigError: less time than is played in it.
    """
    rf = pulses.hyperbolic_secant(scanner)
    inverting = scanner.block(rf=rf)
    used = inverting.duration - rf.delay - rf.centre + crush.duration + excitation.centre
    return [inverting, crush, Block(spare("TI", TI, used, scanner))]


def spare(name: str, value: float, used: float, scanner: Scanner) -> float:
    """What is left of a time (TE, TR) beside what is played in it, s, on the block raster.

    Args:
        name: of the time, for the error.
        value: s; met to half of the block raster.
        used: s.
        scanner: whose raster holds.

    Raises:
        ConfigError: less than what is played.
    """
    if not (math.isfinite(value) and value >= used - 0.5 * scanner.block_raster):
        raise ConfigError(name, value, f"at least {math.ceil(used * 1e5 - 1e-3) / 1e5:g} s")
    return max(round_to(value - used, scanner.block_raster), 0.0)


def check_matrix(matrix: int, name: str = "matrix") -> None:
    if matrix < 1:
        raise ConfigError(name, matrix, "a whole number from 1")


def check_length(name: str, length: float) -> None:
    if not (math.isfinite(length) and length > 0):
        raise ConfigError(name, length, "a finite length above 0 m")


def geometry(fov: float, thickness: float | None) -> dict[str, list[float]]:
    """Definitions of a sequence: the field of view, m; the slice's is 0 where there is none."""
    return {"FOV": [fov, fov, thickness or 0.0]}
