"""Spoiled gradient echo: one line after each pulse, RF and gradient spoiling between."""

import math

from ipads_stream.core.fields import Whole
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import MOST_LINES, check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def gradient_echo(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flip: float = math.radians(15),
    TE: float = 5e-3,
    TR: float = 20e-3,
    dwell: float = 20e-6,
    rf_increment: float = math.radians(117),
    spoiling: float = 4.0,
    num_dummies: int = 0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """The lines of an image in ascending order, phase encoding wound back, the rest spoiled.

    The pulse's phase is rf_increment n (n + 1) / 2 and the receiver follows it.

    Args:
        flip: rad.
        TE, TR: s; met to 5 us.
        rf_increment: of RF spoiling, rad; 0: none.
        num_dummies: repetitions without readout before the first line.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    Whole(low=0, high=MOST_LINES)("num_dummies", num_dummies)
    excitation = encoding.selection(flip, thickness, scanner)
    line = encoding.readout(fov, matrix, dwell, scanner)
    areas = (-0.5 * line.gx.area, excitation.rephasing)
    before, lines, back = encoding.winding(fov, matrix, scanner, *areas)
    gx, gz = (gradients.trapezoid(area, scanner, duration=before) for area in areas)
    crush = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    reading = line.block(scanner).duration
    after = scanner.block(gy=back[0], gz=crush).duration
    wait = encoding.spare("TE", TE, excitation.after + before + line.centre, scanner)
    used = excitation.duration + before + wait + reading + after
    recovery = encoding.spare("TR", TR, used, scanner)
    blocks: list[Block] = []
    phases = pulses.spoiling_phases(num_dummies + matrix, rf_increment)
    for n, phase in enumerate(phases.tolist()):
        y = max(n - num_dummies, 0)
        read = line.block(scanner, phase)
        blocks += [
            excitation.block(phase),
            scanner.block(gx=gx, gy=lines[y], gz=gz),
            Block(wait),
            read if n >= num_dummies else Block(reading, gx=line.gx),
            scanner.block(gy=back[y], gz=crush),
            Block(recovery),
        ]
    times = {"TE": TE, "TR": TR}
    return encoding.assembled("gradient_echo", blocks, scanner, fov, thickness, times)
