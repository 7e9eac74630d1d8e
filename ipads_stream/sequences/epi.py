"""Echo-planar imaging: all lines after one excitation, as gradient echo or around a spin echo.

Lobes of alternating sign follow each other without a gap; the blips between them ride on their
ramps, half in the block before and half in the block after.
"""

import math
from dataclasses import dataclass

import numpy as np

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.events import Block, Gradient
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner, ceil_to
from ipads_stream.sequences.sequence import Sequence


@dataclass(frozen=True, eq=False)
class Train:
    """Lobes and blips, a block for every line.

    areas: along x and y from the centre to the first sample's line, T s/m; centre: time of k = 0
    from the start of the train, s; spacing: of echoes, s.
    """

    blocks: tuple[Block, ...]
    areas: tuple[float, float]
    centre: float
    spacing: float

    @property
    def duration(self) -> float:
        return len(self.blocks) * self.spacing

    def prephase(self, scanner: Scanner, rephasing: float = 0.0) -> Block:
        """Gradients to the first sample's line, and a slice's rephasing area (T s/m) along z."""
        gx, gy, gz = gradients.together([*self.areas, rephasing], scanner)
        return scanner.block(gx=gx, gy=gy, gz=gz if rephasing else None)


def epi_train(
    fov: float,
    matrix: int,
    dwell: float,
    scanner: Scanner,
    *,
    blip: float | None = None,
    lines: int | None = None,
) -> Train:
    """The readout of an image in ascending lines, 1 / fov or an area ``blip`` (T s/m) apart.

    Odd lines run backwards. There are ``matrix`` lines, or as many as given.
    """
    count = matrix if lines is None else lines
    line = encoding.readout(fov, matrix, dwell, scanner)
    spacing, ramp = line.gx.stop, float(line.gx.times[1])
    step = 1 / (GAMMA_BAR_1H * fov) if blip is None else blip
    raster = scanner.gradient_raster
    half = max(ceil_to(math.sqrt(step / scanner.max_slew), raster), raster)
    if half > ramp:
        allowed = f"less, so that a blip of {half} s rides on a ramp of {ramp} s"
        raise ConfigError("dwell", dwell, allowed)
    peak = step / half
    times, heights = np.array([0.0, half, spacing - half, spacing]), np.array([peak, 0, 0, peak])
    between = Gradient(times, heights)
    last, first = Gradient(times[:2], heights[:2]), Gradient(times[2:], heights[2:])
    blips = [first, *[between] * (count - 2), last] if count > 1 else [None]
    # Backwards, sample matrix - 1 - n must stand where sample n does forwards.
    adc = encoding.ADC(matrix, dwell, round(spacing - line.adc.stop, 9))
    lobes = [(line.gx, line.adc), (line.gx.scaled(-1.0), adc)]
    blocks = []
    for y, gy in enumerate(blips):
        gx, window = lobes[y % 2]
        blocks.append(Block(spacing, gx=gx, gy=gy, adc=window))
    centre = (count // 2) * spacing + line.centre
    areas = (-0.5 * line.gx.area, -(count // 2) * step)
    return Train(tuple(blocks), areas, centre, spacing)


@ready
def epi(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flip: float = math.pi / 2,
    TE: float = 30e-3,
    dwell: float = 4e-6,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """Single-shot gradient-echo EPI.

    Args:
        flip: rad.
        TE: of the line through the centre, s; met to 5 us.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    excitation = encoding.selection(flip, thickness, scanner)
    train = epi_train(fov, matrix, dwell, scanner)
    prephase = train.prephase(scanner, excitation.rephasing)
    used = excitation.after + prephase.duration + train.centre
    wait = Block(encoding.spare("TE", TE, used, scanner))
    blocks = (excitation.block(), prephase, wait, *train.blocks)
    definitions = {"TE": TE, "EchoSpacing": train.spacing}
    return encoding.assembled("epi", blocks, scanner, fov, thickness, definitions)


@ready
def spin_echo_epi(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flip: float = math.pi / 2,
    refocusing: float = math.pi,
    crushing: float = 4.0,
    TE: float = 80e-3,
    dwell: float = 4e-6,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """Single-shot EPI around a spin echo.

    Args:
        flip: rad.
        TE: of the spin echo and of the line through the centre, s; met to 10 us.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    excitation = encoding.selection(flip, thickness, scanner)
    pulse = encoding.selection(refocusing, thickness, scanner, use="refocusing")
    train = epi_train(fov, matrix, dwell, scanner)
    crush = encoding.crusher(crushing, fov, matrix, thickness, "crushing", scanner)
    rephase = scanner.block(gz=gradients.trapezoid(excitation.rephasing, scanner))
    crusher = scanner.block(gz=crush)
    prephase = train.prephase(scanner)
    before = excitation.after + rephase.duration + crusher.duration + pulse.centre
    after = pulse.after + crusher.duration + prephase.duration + train.centre
    first, second = encoding.halves(TE, before, after, scanner)
    blocks = (
        excitation.block(), rephase, first, crusher, pulse.block(math.pi / 2), crusher,
        second, prephase, *train.blocks,
    )  # fmt: skip
    definitions = {"TE": TE, "EchoSpacing": train.spacing}
    return encoding.assembled("spin_echo_epi", blocks, scanner, fov, thickness, definitions)
