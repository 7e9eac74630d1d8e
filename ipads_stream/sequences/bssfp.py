"""Balanced steady-state free precession: every gradient wound back within each TR."""

import math

from ipads_stream.core.fields import Whole
from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import MOST_LINES, check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def bssfp(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flip: float = math.radians(45),
    TR: float = 6e-3,
    dwell: float = 20e-6,
    increment: float = math.pi,
    num_dummies: int = 0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """The lines of an image in ascending order, TE = TR / 2, after a pulse of flip / 2.

    The phase of pulse n is n increment and the receiver follows it; the half pulse is n = -1, half
    a TR before pulse 0.

    Args:
        flip: rad.
        TR: s; met to 10 us.
        increment: of the phase from pulse to pulse, rad; pi: alternating.
        num_dummies: repetitions without readout before the first line.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    Whole(low=0, high=MOST_LINES)("num_dummies", num_dummies)
    pulse = encoding.selection(flip, thickness, scanner, duration=1e-3, time_bandwidth=2.0)
    start = encoding.selection(flip / 2, thickness, scanner, duration=1e-3, time_bandwidth=2.0)
    line = encoding.readout(fov, matrix, dwell, scanner)
    areas = (-0.5 * line.gx.area, pulse.rephasing, 2 * pulse.rephasing)
    winding, lines, back = encoding.winding(fov, matrix, scanner, *areas)
    gx, gz, both = (gradients.trapezoid(area, scanner, duration=winding) for area in areas)
    reading = line.block(scanner).duration
    used = (pulse.after + winding + 0.5 * reading, 0.5 * reading + winding + pulse.centre)
    first = start.after + winding + pulse.centre
    encoding.spare("TR", TR, 2 * max(*used, first), scanner)
    after, before = (encoding.spare("TR", 0.5 * TR, each, scanner) for each in used)
    to_first = encoding.spare("TR", 0.5 * TR, first, scanner)
    blocks = [start.block(-increment), Block(winding, gz=both), Block(to_first)]
    for n in range(num_dummies + matrix):
        y, phase = max(n - num_dummies, 0), math.fmod(n * increment, 2 * math.pi)
        read = line.block(scanner, phase)
        blocks += [
            pulse.block(phase),
            Block(winding, gx=gx, gy=lines[y], gz=gz),
            Block(after),
            read if n >= num_dummies else Block(reading, gx=line.gx),
            Block(before),
            Block(winding, gx=gx, gy=back[y], gz=gz),
        ]
    return encoding.assembled("bssfp", blocks, scanner, fov, thickness, {"TR": TR})
