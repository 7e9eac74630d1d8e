"""MOLED: several small excitations, one refocusing pulse and one EPI train, echoes overlapping."""

import math

import numpy as np

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.epi import epi_train
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def moled(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    flip: float = math.radians(30),
    refocusing: float = math.pi,
    pulse_times: list[float] | None = None,
    refocusing_time: float = 55e-3,
    centre_time: float = 88e-3,
    offsets_x: list[float] | None = None,
    offsets_y: list[float] | None = None,
    crushing: float = 4.0,
    dwell: float = 12e-6,
    acceleration: int = 1,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """Echoes with 2 (refocusing_time - t_n) of T2 decay, one per excitation, apart in k-space.

    The gradients between the pulses give the magnetisation of each its own moment, so that its
    echo is sampled where the train passes offset n: late echoes late, near the time at which they
    refocus, 2 refocusing_time - t_n. Pulses act everywhere.

    Args:
        flip: of each excitation, rad.
        refocusing: angle, rad.
        pulse_times: t_n, of the excitations' centres, s from the first; None: 0, 14, 29, 44 ms.
        refocusing_time: of its centre, s from the first excitation's.
        centre_time: of the train's k = 0, s from the first excitation's.
        offsets_x, offsets_y: of the echoes, as shares of the sampled extent of k-space, between
            -1/2 and 1/2; None: 1/6 in turns of sign, and 3/8, 1/8, -1/8, -3/8.
        crushing: turns of the phase over a pixel by each crusher about the refocusing pulse.
        acceleration: R; one line of R is sampled, of as many as the matrix has.

    Source: echo times 110, 82, 52 and 22 ms and 30 degrees: the review of imaging-physics-based
    data synthesis. Times of the pulses follow from them; offsets and matrix are ours.
    """
    times = [0.0, 14e-3, 29e-3, 44e-3] if pulse_times is None else list(pulse_times)
    xs = [1 / 6, -1 / 6, 1 / 6, -1 / 6] if offsets_x is None else list(offsets_x)
    ys = [3 / 8, 1 / 8, -1 / 8, -3 / 8] if offsets_y is None else list(offsets_y)
    _check(times, xs, ys)
    check_size({"matrix": matrix}, matrix, matrix)
    if acceleration < 1 or (acceleration > 1 and matrix % (2 * acceleration)):
        allowed = f"1, or a whole number of which twice as much divides matrix={matrix}"
        raise ConfigError("acceleration", acceleration, allowed)
    excitation = pulses.sinc(flip, scanner, duration=2e-3, time_bandwidth=6.0, apodization=0.46)
    exciting = scanner.block(rf=excitation)
    pulse = encoding.selection(refocusing, None, scanner, use="refocusing")
    step = acceleration / (GAMMA_BAR_1H * fov)
    train = epi_train(fov, matrix, dwell, scanner, blip=step, lines=matrix // acceleration)
    crusher = scanner.block(gz=encoding.crusher(crushing, fov, matrix, None, "crushing", scanner))
    prephase = train.prephase(scanner)
    extent = matrix / (GAMMA_BAR_1H * fov)
    moments = []
    # From the offset of each echo to that of the next, and from the last to 0.
    for step in -np.diff([xs, ys], append=0.0).T:
        gx, gy = gradients.together((extent * step).tolist(), scanner)
        moments.append(scanner.block(gx=gx, gy=gy))
    centre = excitation.delay + excitation.centre
    stops = [*times[1:], refocusing_time]
    blocks: list[Block] = []
    for start, stop, moment in zip(times, stops, moments, strict=True):
        is_last = moment is moments[-1]
        after = crusher.duration + pulse.centre if is_last else centre
        used = start + exciting.duration - centre + moment.duration + after
        name = "refocusing_time" if is_last else "pulse_times"
        blocks += [exciting, moment, Block(encoding.spare(name, stop, used, scanner))]
    used = refocusing_time + pulse.after + crusher.duration + prephase.duration + train.centre
    rest = Block(encoding.spare("centre_time", centre_time, used, scanner))
    blocks += [crusher, pulse.block(math.pi / 2), crusher, rest, prephase, *train.blocks]
    TE = [round(2 * (refocusing_time - t), 9) for t in times]
    definitions = {"TE": TE, "EchoSpacing": train.spacing}
    return encoding.assembled("moled", blocks, scanner, fov, None, definitions)


def _check(times: list[float], xs: list[float], ys: list[float]) -> None:
    if not times or not np.all(np.diff(times) > 0) or times[0] != 0:
        raise ConfigError("pulse_times", times, "rising times in s, the first 0")
    for name, offsets in {"offsets_x": xs, "offsets_y": ys}.items():
        if len(offsets) != len(times) or not np.all(np.abs(offsets) < 0.5):
            allowed = f"{len(times)} numbers between -1/2 and 1/2, one per excitation"
            raise ConfigError(name, offsets, allowed)
