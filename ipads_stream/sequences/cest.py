"""CEST: a train of saturation pulses off resonance, then a single-shot image, per offset."""

import math
from dataclasses import replace

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.sequences import encoding, pulses
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.events import RF, Block
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def cest(
    *,
    offsets_ppm: list[float] | None = None,
    B0: float = 3.0,
    amplitude: float = 2e-6,
    duration: float = 50e-3,
    gap: float = 5e-3,
    number: int = 20,
    shape: str = "block",
    recovery: float = 2.0,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flip: float = math.pi / 2,
    TE: float = 30e-3,
    dwell: float = 4e-6,
    spoiling: float = 4.0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """For each offset: recovery, a train of pulses, a spoiler, a single-shot gradient-echo EPI.

    Pulses keep the phase that a continuous wave at the offset would have.

    Args:
        offsets_ppm: of the pulses from the nominal frequency; None: 3.5 alone.
        B0: main field, T.
        amplitude: mean of a pulse, T.
        duration, gap: of a pulse and after it, s, multiples of 10 us.
        number: of pulses.
        shape: "block" or "gaussian".
        recovery: before the train, s.
        flip, TE: of the image, as of epi.
    """
    offsets = [3.5] if offsets_ppm is None else list(offsets_ppm)
    for name, value in {"B0": B0, "amplitude": amplitude}.items():
        Number(above=0.0)(name, value)
    check_size({"number": number}, len(offsets) * number, 1)
    check_size({"matrix": matrix}, len(offsets) * matrix, matrix)
    least = scanner.rf_dead_time + scanner.rf_ringdown_time
    if not gap >= least:
        raise ConfigError("gap", gap, f"at least {least:g} s")
    image = epi(
        fov=fov, matrix=matrix, thickness=thickness, flip=flip, TE=TE, dwell=dwell, scanner=scanner
    )
    crusher = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    crush = scanner.block(gz=crusher)
    pulse = _pulse(shape, amplitude, duration, scanner)
    # Each block is pulse and gap, so that the last gap precedes the spoiler as all others do.
    length = encoding.spare("duration", duration + gap, 0.0, scanner)
    recovering = Block(encoding.spare("recovery", recovery, 0.0, scanner))
    blocks: list[Block] = []
    for offset in offsets:
        frequency = offset * 1e-6 * GAMMA_BAR_1H * B0
        blocks.append(recovering)
        for n in range(number):
            phase = -2 * math.pi * math.fmod(frequency * n * length, 1.0)
            blocks.append(Block(length, rf=replace(pulse, frequency=frequency, phase=phase)))
        blocks += [crush, *image.blocks, crush]
    definitions = {"TE": TE, "Offsets_ppm": offsets}
    return encoding.assembled("cest", blocks, scanner, fov, thickness, definitions)


def _pulse(shape: str, amplitude: float, duration: float, scanner: Scanner) -> RF:
    flip = GAMMA_1H * amplitude * duration
    if shape == "block":
        return pulses.block(flip, scanner, duration=duration, use="saturation")
    if shape == "gaussian":
        # Down to 1 % at its ends.
        bandwidth = 4 * math.sqrt(math.log(2) * math.log(100)) / (math.pi * duration)
        return pulses.gaussian(flip, scanner, duration=duration, bandwidth=bandwidth)
    raise ConfigError("shape", shape, "block or gaussian")
