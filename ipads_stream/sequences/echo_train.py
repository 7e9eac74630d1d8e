"""Trains of spin echoes: what spin echo, multi-echo and turbo spin echo share."""

import math
from collections.abc import Sequence as Ordered

from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.scanner import Scanner, round_to
from ipads_stream.sequences.sequence import Sequence

# The excited magnetisation lies along the refocusing pulses, as Carr, Purcell, Meiboom and Gill.
EXCITATION_PHASE = math.pi / 2


def echo_train(
    shots: Ordered[Ordered[int]],
    *,
    name: str,
    spacing: str,
    ESP: float,
    TR: float,
    fov: float,
    matrix: int,
    thickness: float | None,
    dwell: float,
    flip: float,
    refocusing: float,
    crushing: float,
    scanner: Scanner,
) -> Sequence:
    """An excitation per shot, and a line per echo, in the middle of each echo spacing ESP, s.

    shots: line numbers of the echoes; spacing: what ESP is called there, for the error; the others
    are those of the ready sequences.
    """
    excitation = encoding.selection(flip, thickness, scanner)
    pulse = encoding.selection(refocusing, thickness, scanner, use="refocusing")
    line = encoding.readout(fov, matrix, dwell, scanner)
    crusher = encoding.crushing_area(crushing, fov, matrix, thickness, "crushing")
    # All windings last as long as the longest; the first crusher joins the slice's rephasing.
    areas = (0.5 * line.gx.area, excitation.rephasing + crusher, crusher)
    winding, lines, back = encoding.winding(fov, matrix, scanner, *areas)
    gx, gz, crush = (gradients.trapezoid(area, scanner, duration=winding) for area in areas)
    reading = line.block(scanner).duration
    # Pulses may lie off the middle of their blocks, so the three intervals of ESP / 2, from
    # excitation to pulse, pulse to echo and echo to pulse, are filled up each for itself.
    used = (
        excitation.after + winding + pulse.centre,
        pulse.after + winding + 0.5 * reading,
        0.5 * reading + winding + pulse.centre,
    )
    encoding.spare(spacing, ESP, 2 * max(used), scanner)
    half = used[1] + round_to(0.5 * ESP - used[1], scanner.block_raster)
    first, after, before = (max(round(half - each, 9), 0.0) for each in used)
    train = excitation.duration + winding + first
    train += len(shots[0]) * (pulse.duration + 2 * winding + after + before + reading)
    recovery = encoding.spare("TR", TR, train, scanner)
    blocks: list[Block] = []
    for echoes in shots:
        blocks += [excitation.block(EXCITATION_PHASE), Block(winding, gx=gx, gz=gz), Block(first)]
        for y in echoes:
            blocks += [
                pulse.block(),
                Block(winding, gy=lines[y], gz=crush),
                Block(after),
                line.block(scanner),
                Block(before),
                Block(winding, gy=back[y], gz=crush),
            ]
        blocks.append(Block(recovery))
    order = [float(y) for echoes in shots for y in echoes]
    extras = {spacing: round(2 * half, 9), "TR": TR, "Lines": order}
    return encoding.assembled(name, blocks, scanner, fov, thickness, extras)
