"""Trains of spin echoes: what spin echo, multi-echo and turbo spin echo share."""

from __future__ import annotations

import math
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import Gradient
from ipads_stream.sequences.scanner import Scanner, round_to
from ipads_stream.sequences.sequence import Sequence

# The excited magnetisation lies along the refocusing pulses, as Carr, Purcell, Meiboom and Gill.
EXCITATION_PHASE = math.pi / 2


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the shots are put together from."""

    excitation: encoding.Selection
    refocusing: encoding.Selection
    line: encoding.Readout
    prephase: Gradient
    rephase: Gradient
    crusher: Gradient
    lines: list[Gradient]
    back: list[Gradient]
    winding: float


def echo_train(
    shots: Ordered[Ordered[int]],
    *,
    name: str,
    fov: float,
    matrix: int,
    thickness: float | None,
    ESP: float,
    spacing: str,
    TR: float,
    dwell: float,
    flip: float,
    refocusing: float,
    crushing: float,
    scanner: Scanner,
) -> Sequence:
    """An excitation per shot, and a line per echo.

    Args:
        shots: line numbers of the echoes of each shot.
        name: of the sequence.
        fov, matrix, thickness, dwell: of the image, as of the ready sequences.
        ESP: echo spacing, s, with a readout in its middle.
        spacing: what ESP is called there, for the error.
        TR: s.
        flip, refocusing: angles, rad.
        crushing: turns of the phase by each crusher.
        scanner: whose limits hold.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    encoding.check_matrix(matrix)
    parts = _parts(fov, matrix, thickness, dwell, flip, refocusing, crushing, scanner)
    pulse, reading = parts.refocusing, parts.line.block(scanner).duration
    # Pulses may lie off the middle of their blocks, so the three intervals of ESP / 2, from
    # excitation to pulse, pulse to echo and echo to pulse, are filled up each for itself.
    used = (
        parts.excitation.after + parts.winding + pulse.centre,
        pulse.after + parts.winding + 0.5 * reading,
        0.5 * reading + parts.winding + pulse.centre,
    )
    encoding.spare(spacing, ESP, 2 * max(used), scanner)
    half = used[1] + round_to(0.5 * ESP - used[1], scanner.block_raster)
    first, after, before = (max(round(half - each, 9), 0.0) for each in used)
    train = parts.excitation.duration + parts.winding + first
    train += len(shots[0]) * (pulse.duration + 2 * parts.winding + after + before + reading)
    rest = encoding.spare("TR", TR, train, scanner)
    blocks: list[Block] = []
    for echoes in shots:
        blocks += [
            parts.excitation.block(EXCITATION_PHASE),
            Block(parts.winding, gx=parts.prephase, gz=parts.rephase),
            Block(first),
        ]
        for y in echoes:
            blocks += [
                pulse.block(),
                Block(parts.winding, gy=parts.lines[y], gz=parts.crusher),
                Block(after),
                parts.line.block(scanner),
                Block(before),
                Block(parts.winding, gy=parts.back[y], gz=parts.crusher),
            ]
        blocks.append(Block(rest))
    lines = [float(y) for echoes in shots for y in echoes]
    extras = {spacing: round(2 * half, 9), "TR": TR, "Lines": lines}
    return Sequence(
        encoding.without_empty(blocks),
        name=name,
        scanner=scanner,
        definitions={**encoding.geometry(fov, thickness), **extras},
    )


def _parts(
    fov: float,
    matrix: int,
    thickness: float | None,
    dwell: float,
    flip: float,
    refocusing: float,
    crushing: float,
    scanner: Scanner,
) -> _Parts:
    """Pulses and gradients; all windings last as long as the longest of them."""
    excitation = encoding.selection(flip, thickness, scanner)
    pulse = encoding.selection(refocusing, thickness, scanner, use="refocusing")
    line = encoding.readout(fov, matrix, dwell, scanner)
    crusher = encoding.crushing_area(crushing, fov, matrix, thickness, "crushing")
    # The crusher before the first pulse is played together with the slice's rephasing.
    areas = (0.5 * line.gx.area, crusher, excitation.rephasing + crusher)
    winding, lines, back = encoding.winding(fov, matrix, scanner, *areas)
    return _Parts(
        excitation,
        pulse,
        line,
        prephase=gradients.trapezoid(areas[0], scanner, duration=winding),
        rephase=gradients.trapezoid(areas[2], scanner, duration=winding),
        crusher=gradients.trapezoid(crusher, scanner, duration=winding),
        lines=lines,
        back=back,
        winding=winding,
    )
