"""Multi-echo spin echo: one line at every echo of a train, for T2 and myelin water."""

import math

from ipads_stream.sequences.echo_train import echo_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def multi_echo(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    num_echoes: int = 32,
    ESP: float = 10e-3,
    TR: float = 1.0,
    dwell: float = 20e-6,
    flip: float = math.pi / 2,
    refocusing: float = math.pi,
    crushing: float = 4.0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """The lines of num_echoes images in ascending order, a train for each line.

    Samples come in the order (line, echo, sample). Carr-Purcell-Meiboom-Gill: the excited
    magnetisation lies along the refocusing pulses, and every echo is encoded and wound back, so
    that stimulated echoes fall on the echoes.

    Args:
        num_echoes: of a train.
        ESP, TR: echo spacing and repetition, s; met to 10 and 5 us.
        flip: rad.
    """
    counts = {"matrix": matrix, "num_echoes": num_echoes}
    check_size(counts, matrix * num_echoes, matrix)
    shots = [[line] * num_echoes for line in range(matrix)]
    return echo_train(
        shots, name="multi_echo", spacing="ESP", ESP=ESP, TR=TR, fov=fov,
        matrix=matrix, thickness=thickness, dwell=dwell, flip=flip, refocusing=refocusing,
        crushing=crushing, scanner=scanner,
    )  # fmt: skip
