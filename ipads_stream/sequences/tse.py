"""Turbo spin echo: another line at every echo of a train."""

from __future__ import annotations

import math

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences.echo_train import echo_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def tse(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    num_echoes: int = 16,
    ESP: float = 10e-3,
    TE: float = 80e-3,
    TR: float = 2.0,
    dwell: float = 20e-6,
    flip: float = math.pi / 2,
    refocusing: float = math.pi,
    crushing: float = 4.0,
    scanner: Scanner | None = None,
) -> Sequence:
    """matrix / num_echoes trains; echo e of each lies in segment e of k-space.

    Segments are shifted round so that line matrix // 2 is measured at the effective TE; which line
    an echo measured is in the definition "Lines", shot by shot.

    Args:
        fov: m, square.
        matrix: samples of a line, and lines.
        thickness: of the slice, m; None: all pulses act everywhere.
        num_echoes: of a train, a divisor of matrix.
        ESP: echo spacing, s; met to 10 us.
        TE: of the line through the centre, s; a multiple of ESP within the train.
        TR: s.
        dwell: time between samples, s.
        flip, refocusing: angles, rad.
        crushing: turns of the phase by each crusher over the slice, or over a pixel; 0: none.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    if num_echoes < 1 or matrix % num_echoes:
        raise ConfigError("num_echoes", num_echoes, f"a divisor of matrix={matrix}")
    if not ESP > 1e-6:
        raise ConfigError("ESP", ESP, "a finite time above 1 us")
    effective = round(TE / ESP) - 1
    if not (0 <= effective < num_echoes and abs(TE - (effective + 1) * ESP) < 1e-6):
        raise ConfigError("TE", TE, f"a multiple of ESP={ESP} up to {num_echoes * ESP:g} s")
    return echo_train(
        _shots(matrix, num_echoes, effective),
        name="tse",
        fov=fov,
        matrix=matrix,
        thickness=thickness,
        ESP=ESP,
        spacing="ESP",
        TR=TR,
        dwell=dwell,
        flip=flip,
        refocusing=refocusing,
        crushing=crushing,
        scanner=scanner or Scanner(),
    )


def _shots(matrix: int, num_echoes: int, effective: int) -> list[list[int]]:
    """Lines of each shot's echoes; echo number effective lies in the segment of the centre."""
    num_shots = matrix // num_echoes
    shift = (matrix // 2) // num_shots - effective
    return [
        [((echo + shift) % num_echoes) * num_shots + shot for echo in range(num_echoes)]
        for shot in range(num_shots)
    ]
