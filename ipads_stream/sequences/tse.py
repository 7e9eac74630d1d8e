"""Turbo spin echo: another line at every echo of a train."""

import math

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.sequences.echo_train import echo_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
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
    scanner: Scanner = HUMAN,
) -> Sequence:
    """matrix / num_echoes trains; echo e of each lies in segment e of k-space.

    Segments are shifted round so that line matrix // 2 is measured at the effective TE; which line
    an echo measured is in the definition "Lines", shot by shot.

    Args:
        num_echoes: of a train, a divisor of matrix.
        ESP: echo spacing, s; met to 10 us.
        TE: of the line through the centre, s; a multiple of ESP within the train.
        TR: s.
        flip: rad.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    if num_echoes < 1 or matrix % num_echoes:
        raise ConfigError("num_echoes", num_echoes, f"a divisor of matrix={matrix}")
    Number(above=1e-6)("ESP", ESP)
    effective = round(TE / ESP) - 1
    if not (0 <= effective < num_echoes and abs(TE - (effective + 1) * ESP) < 1e-6):
        raise ConfigError("TE", TE, f"a multiple of ESP={ESP} up to {num_echoes * ESP:g} s")
    shots = _shots(matrix, num_echoes, effective)
    return echo_train(
        shots, name="tse", spacing="ESP", ESP=ESP, TR=TR, fov=fov,
        matrix=matrix, thickness=thickness, dwell=dwell, flip=flip, refocusing=refocusing,
        crushing=crushing, scanner=scanner,
    )  # fmt: skip


def _shots(matrix: int, num_echoes: int, effective: int) -> list[list[int]]:
    """Lines of each shot's echoes; echo number effective lies in the segment of the centre."""
    num_shots = matrix // num_echoes
    shift = (matrix // 2) // num_shots - effective
    return [
        [((echo + shift) % num_echoes) * num_shots + shot for echo in range(num_echoes)]
        for shot in range(num_shots)
    ]
