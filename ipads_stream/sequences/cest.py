"""CEST: a train of saturation pulses off resonance, then a single-shot image, per offset."""

from __future__ import annotations

import math
from dataclasses import replace

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, pulses
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.events import RF
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner
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
    scanner: Scanner | None = None,
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
        fov, matrix, thickness, flip, TE, dwell: of the image, as of epi.
        spoiling: turns of the phase over the slice, or over a pixel where there is none.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    scanner = scanner or Scanner()
    offsets = [3.5] if offsets_ppm is None else list(offsets_ppm)
    if not offsets:
        raise ConfigError("offsets_ppm", offsets_ppm, "one finite number or more")
    for name, value in {"B0": B0, "amplitude": amplitude}.items():
        if not value > 0:
            raise ConfigError(name, value, "a number above 0 T")
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
    rest = Block(encoding.spare("recovery", recovery, 0.0, scanner))
    blocks: list[Block] = []
    for offset in offsets:
        frequency = offset * 1e-6 * GAMMA_BAR_1H * B0
        blocks += [rest, *_train(pulse, frequency, number, length)]
        blocks += [crush, *image.blocks, crush]
    return Sequence(
        encoding.without_empty(blocks),
        name="cest",
        scanner=scanner,
        definitions={**encoding.geometry(fov, thickness), "TE": TE, "Offsets_ppm": offsets},
    )


def _train(pulse: RF, frequency: float, number: int, length: float) -> list[Block]:
    """Pulses in the phase of a continuous wave, one every length (s)."""
    turns = [math.fmod(frequency * n * length, 1.0) for n in range(number)]
    return [
        Block(length, rf=replace(pulse, frequency=frequency, phase=-2 * math.pi * turn))
        for turn in turns
    ]


def _pulse(shape: str, amplitude: float, duration: float, scanner: Scanner) -> RF:
    flip = GAMMA_1H * amplitude * duration
    if shape == "block":
        return pulses.block(flip, scanner, duration=duration, use="saturation")
    if shape == "gaussian":
        # Down to 1 % at its ends.
        bandwidth = 4 * math.sqrt(math.log(2) * math.log(100)) / (math.pi * duration)
        return pulses.gaussian(flip, scanner, duration=duration, bandwidth=bandwidth)
    raise ConfigError("shape", shape, "block or gaussian")
