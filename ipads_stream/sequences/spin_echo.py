"""Spin echo: excitation, refocusing between crushers, one line."""

import math

from ipads_stream.sequences.echo_train import echo_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
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
    scanner: Scanner = HUMAN,
) -> Sequence:
    """The lines of an image in ascending order, one echo after each excitation.

    Args:
        TE, TR: s; met to 10 and 5 us.
        flip: rad.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    shots = [[line] for line in range(matrix)]
    return echo_train(
        shots, name="spin_echo", spacing="TE", ESP=TE, TR=TR, fov=fov,
        matrix=matrix, thickness=thickness, dwell=dwell, flip=flip, refocusing=refocusing,
        crushing=crushing, scanner=scanner,
    )  # fmt: skip
