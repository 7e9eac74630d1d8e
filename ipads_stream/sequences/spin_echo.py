"""Spin echo: excitation, refocusing between crushers, one line."""

from __future__ import annotations

import math

from ipads_stream.sequences.echo_train import echo_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def spin_echo(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    TE: float = 20e-3,
    TR: float = 1.0,
    dwell: float = 20e-6,
    flip: float = math.pi / 2,
    refocusing: float = math.pi,
    crushing: float = 4.0,
    scanner: Scanner | None = None,
) -> Sequence:
    """The lines of an image in ascending order, one echo after each excitation.

    Args:
        fov: m, square.
        matrix: samples of a line, and lines.
        thickness: of the slice, m; None: both pulses act everywhere.
        TE, TR: s; met to 10 and 5 us.
        dwell: time between samples, s.
        flip, refocusing: angles, rad.
        crushing: turns of the phase by each crusher over the slice, or over a pixel; 0: none.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    return echo_train(
        [[line] for line in range(matrix)],
        name="spin_echo",
        fov=fov,
        matrix=matrix,
        thickness=thickness,
        ESP=TE,
        spacing="TE",
        TR=TR,
        dwell=dwell,
        flip=flip,
        refocusing=refocusing,
        crushing=crushing,
        scanner=scanner or Scanner(),
    )
