"""Echo-planar imaging: all lines after one excitation, as gradient echo or around a spin echo.

Lobes of alternating sign follow each other without a gap; the blips between them ride on their
ramps, half in the block before and half in the block after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import Gradient
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner, ceil_to
from ipads_stream.sequences.sequence import Sequence


@dataclass(frozen=True, eq=False)
class Train:
    """Lobes and blips.

    Attributes:
        blocks: one per line.
        areas: along x and y that lead to the first sample's line from the centre, T s/m.
        centre: time of k = 0 from the start of the train, s.
        spacing: of echoes, s.
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

    def definitions(self, fov: float, thickness: float | None, TE: float) -> dict[str, Any]:
        """What a file is to know of the sequence."""
        return {**encoding.geometry(fov, thickness), "TE": TE, "EchoSpacing": self.spacing}


def epi_train(
    fov: float, matrix: int, dwell: float, scanner: Scanner, *, blip: float | None = None
) -> Train:
    """The readout of an image in ascending lines; odd lines run backwards.

    Args:
        fov: m, square.
        matrix: samples of a line, and lines.
        dwell: time between samples, s.
        scanner: whose limits hold.
        blip: area from line to line, T s/m; None: that of lines 1 / fov apart.

    Raises:
        ConfigError: what the scanner cannot play, by name.
    """
    line = encoding.readout(fov, matrix, dwell, scanner)
    spacing, ramp = line.gx.stop, float(line.gx.times[1])
    step = 1 / (GAMMA_BAR_1H * fov) if blip is None else blip
    raster = scanner.gradient_raster
    half = max(ceil_to(math.sqrt(step / scanner.max_slew), raster), raster)
    if half > ramp:
        allowed = f"less, so that a blip of {half} s rides on a ramp of {ramp} s"
        raise ConfigError("dwell", dwell, allowed)
    peak = step / half
    up = (spacing - half, spacing), (0.0, peak)
    down = (0.0, half), (peak, 0.0)
    both = (*down[0], *up[0]), (*down[1], *up[1])
    first, last, between = (Gradient(np.array(t), np.array(g)) for t, g in (up, down, both))
    # Backwards, sample matrix - 1 - n must stand where sample n does forwards.
    backward = line.gx.scaled(-1.0)
    mirrored = spacing - line.adc.stop
    adc = encoding.ADC(matrix, dwell, round(mirrored, 9))
    blocks = []
    for y in range(matrix):
        gy: Gradient | None = first if y == 0 else last if y == matrix - 1 else between
        if matrix == 1:
            gy = None
        forward = y % 2 == 0
        gx, window = (line.gx, line.adc) if forward else (backward, adc)
        blocks.append(Block(spacing, gx=gx, gy=gy, adc=window))
    centre = (matrix // 2) * spacing + line.centre
    areas = (-0.5 * line.gx.area, -(matrix // 2) * step)
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
    scanner: Scanner | None = None,
) -> Sequence:
    """Single-shot gradient-echo EPI.

    Args:
        fov: m, square.
        matrix: samples of a line, and lines.
        thickness: of the slice, m; None: everything is excited.
        flip: rad.
        TE: of the line through the centre, s; met to 5 us.
        dwell: time between samples, s.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    scanner = scanner or Scanner()
    check_size({"matrix": matrix}, matrix, matrix)
    excitation = encoding.selection(flip, thickness, scanner)
    train = epi_train(fov, matrix, dwell, scanner)
    prephase = train.prephase(scanner, excitation.rephasing)
    used = excitation.after + prephase.duration + train.centre
    wait = Block(encoding.spare("TE", TE, used, scanner))
    blocks = (excitation.block(), prephase, wait, *train.blocks)
    return Sequence(
        encoding.without_empty(blocks),
        name="epi",
        scanner=scanner,
        definitions=train.definitions(fov, thickness, TE),
    )


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
    scanner: Scanner | None = None,
) -> Sequence:
    """Single-shot EPI around a spin echo.

    Args:
        fov: m, square.
        matrix: samples of a line, and lines.
        thickness: of the slice, m; None: both pulses act everywhere.
        flip, refocusing: angles, rad.
        crushing: turns of the phase by each crusher over the slice, or over a pixel; 0: none.
        TE: of the spin echo and of the line through the centre, s; met to 10 us.
        dwell: time between samples, s.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    scanner = scanner or Scanner()
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
    encoding.spare("TE", TE, 2 * max(before, after), scanner)
    first = Block(encoding.spare("TE", 0.5 * TE, before, scanner))
    second = Block(encoding.spare("TE", 0.5 * TE, after, scanner))
    blocks = (
        excitation.block(), rephase, first, crusher, pulse.block(math.pi / 2), crusher,
        second, prephase, *train.blocks,
    )  # fmt: skip
    return Sequence(
        encoding.without_empty(blocks),
        name="spin_echo_epi",
        scanner=scanner,
        definitions=train.definitions(fov, thickness, TE),
    )
