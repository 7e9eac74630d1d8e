"""What Cartesian sequences share: readout lobe, phase encoding, a slice, and waiting.

Sample N // 2 of a readout stands at the middle of its lobe, where k = 0; lines are numbered alike.
The arguments are those of the ready sequences: fov of a square and thickness of a slice in m (None:
pulses act everywhere), matrix samples and lines, times in s, areas in T s/m, angles in rad. All
keep the limits of the scanner; what it cannot play is a ConfigError by name.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Whole
from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences import gradients, pulses
from ipads_stream.sequences.events import ADC, RF, Block, Gradient
from ipads_stream.sequences.scanner import Scanner, ceil_to, is_multiple, round_to
from ipads_stream.sequences.sequence import Sequence

LENGTH = Number(above=0.0)  # m
Slice = float | None
Kept = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Readout:
    """A lobe, half of whose area is wound back before it, with its window."""

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
    """The lobe that samples a line, 1 / fov apart, on its flat top."""
    Whole(low=1)("matrix", matrix)
    LENGTH("fov", fov)
    # The window begins half a dwell before a sample; both have to lie on the receiver's raster.
    if not is_multiple(dwell, 2 * scanner.adc_raster):
        raise ConfigError("dwell", dwell, f"a multiple of {2 * scanner.adc_raster} s above 0")
    amplitude = 1 / (GAMMA_BAR_1H * fov * dwell)
    if amplitude > scanner.max_gradient:
        least = 1 / (GAMMA_BAR_1H * fov * scanner.max_gradient)
        raise ConfigError("dwell", dwell, f"at least {least:.3g} s for fov={fov}")
    # An even number of rasters, so that its middle lies on the raster too.
    flat = ceil_to((matrix + 1) * dwell, 2 * scanner.gradient_raster)
    gx = gradients.flat_top(amplitude, flat, scanner)
    delay = round(0.5 * gx.stop - (matrix // 2 + 0.5) * dwell, 9)
    return Readout(gx, ADC(matrix, dwell, delay))


def winding(
    fov: float, matrix: int, scanner: Scanner, *areas: float
) -> tuple[float, list[Gradient], list[Gradient]]:
    """Phase encoding and its winding back, in the time that these and other areas need at most.

    Given are the time, on the block raster, and the gradients to the lines k = (n - matrix // 2) /
    fov and back from them.
    """
    outermost = (matrix // 2) / (GAMMA_BAR_1H * fov)
    longest = max(gradients.shortest(area, scanner) for area in (outermost, *areas))
    duration = ceil_to(longest, scanner.block_raster)
    lines = [(n - matrix // 2) / (GAMMA_BAR_1H * fov) for n in range(matrix)]
    there = gradients.table(lines, scanner, duration=duration)
    return duration, there, [line.scaled(-1.0) for line in there]


def crushing_area(turns: float, fov: float, matrix: int, thickness: Slice, name: str) -> float:
    """Area that turns the phase this many times over the slice, or over a pixel without one."""
    Number(low=0.0)(name, turns)
    LENGTH("fov", fov)
    if thickness is not None:
        LENGTH("thickness", thickness)
    return gradients.crusher_area(turns, thickness or fov / matrix)


def crusher(
    turns: float, fov: float, matrix: int, thickness: Slice, name: str, scanner: Scanner
) -> Gradient:
    """The shortest trapezoid of a crushing area."""
    return gradients.trapezoid(crushing_area(turns, fov, matrix, thickness, name), scanner)


@dataclass(frozen=True, eq=False)
class Selection:
    """A pulse that acts on a slice, or without a gradient gz everywhere.

    rephasing: area that rephases from the pulse's centre on, T s/m; duration: of the block, s.
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
    thickness: Slice,
    scanner: Scanner,
    *,
    duration: float = 3e-3,
    time_bandwidth: float = 4.0,
    use: Use = "excitation",
) -> Selection:
    """A sinc that acts on a slice, or a rectangular pulse of 0.5 ms that acts everywhere."""
    Number(above=0.0)("refocusing" if use == "refocusing" else "flip", flip)
    gz, rephasing = None, 0.0
    if thickness is None:
        rf = pulses.block(flip, scanner, use=use)
    else:
        LENGTH("thickness", thickness)
        rf = pulses.sinc(flip, scanner, duration=duration, time_bandwidth=time_bandwidth, use=use)
        bandwidth = time_bandwidth / duration
        rf, gz, rephasing = gradients.slice_selection(rf, bandwidth, thickness, scanner)
    return Selection(rf, gz, rephasing, scanner.block(rf=rf, gz=gz).duration)


def inversion(TI: float, excitation: Selection, crush: Block, scanner: Scanner) -> list[Block]:
    """An adiabatic inversion, a crusher and the rest of the time TI to an excitation."""
    rf = pulses.hyperbolic_secant(scanner)
    inverting = scanner.block(rf=rf)
    used = inverting.duration - rf.delay - rf.centre + crush.duration + excitation.centre
    return [inverting, crush, Block(spare("TI", TI, used, scanner))]


def spare(name: str, value: float, used: float, scanner: Scanner) -> float:
    """What is left of a time (TE, TR) beside what is played in it; met to half the block raster."""
    if not (math.isfinite(value) and value >= used - 0.5 * scanner.block_raster):
        raise ConfigError(name, value, f"at least {math.ceil(used * 1e5 - 1e-3) / 1e5:g} s")
    return max(round_to(value - used, scanner.block_raster), 0.0)


def halves(TE: float, before: float, after: float, scanner: Scanner) -> tuple[Block, Block]:
    """Waits before and after a refocusing pulse at TE / 2, beside what is played there (s)."""
    spare("TE", TE, 2 * max(before, after), scanner)
    first, second = (spare("TE", 0.5 * TE, used, scanner) for used in (before, after))
    return Block(first), Block(second)


def assembled(
    name: str, blocks: Iterable[Block], scanner: Scanner, fov: float, thickness: Slice, kept: Kept
) -> Sequence:
    """The sequence of all blocks that last (a wait may be none); kept: definitions of a file."""
    lasting = tuple(block for block in blocks if block.duration > 0)
    return Sequence(lasting, name, scanner, {"FOV": [fov, fov, thickness or 0.0], **kept})
