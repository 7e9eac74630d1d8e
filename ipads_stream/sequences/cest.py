"""CEST: a train of saturation pulses off resonance, then a single-shot image, per offset."""

from __future__ import annotations

import math

import numpy as np

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.events import RF
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.sequence import Sequence


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
    if not offsets or not np.all(np.isfinite(offsets)):
        raise ConfigError("offsets_ppm", offsets_ppm, "one finite number or more")
    for name, value in {"B0": B0, "amplitude": amplitude}.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(name, value, "a finite number above 0 T")
    encoding.check_matrix(number, "number")
    least = scanner.rf_dead_time + scanner.rf_ringdown_time
    if not gap >= least:
        raise ConfigError("gap", gap, f"at least {least:g} s")
    image = epi(
        fov=fov, matrix=matrix, thickness=thickness, flip=flip, TE=TE, dwell=dwell, scanner=scanner
    )
    crusher = gradients.crusher_area(spoiling, thickness or fov / matrix)
    crush = scanner.block(gz=gradients.trapezoid(crusher, scanner))
    pulse = _pulse(shape, amplitude, duration, scanner)
    # Each block is pulse and gap, so that the last gap precedes the spoiler as all others do.
    length = encoding.spare("duration", duration + gap, 0.0, scanner)
    blocks: list[Block] = []
    for offset in offsets:
        frequency = offset * 1e-6 * GAMMA_BAR_1H * B0
        blocks.append(Block(encoding.spare("recovery", recovery, 0.0, scanner)))
        for n in range(number):
            phase = math.fmod(-2 * math.pi * frequency * n * length, 2 * math.pi)
            turned = RF(
                pulse.samples, pulse.edges, pulse.centre, pulse.use, pulse.delay, frequency, phase
            )
            blocks.append(Block(length, rf=turned))
        blocks += [crush, *image.blocks, crush]
    return Sequence(
        tuple(block for block in blocks if block.duration > 0),
        name="cest",
        scanner=scanner,
        definitions={**encoding.geometry(fov, thickness), "TE": TE, "Offsets_ppm": offsets},
    )


def _pulse(shape: str, amplitude: float, duration: float, scanner: Scanner) -> RF:
    flip = GAMMA_1H * amplitude * duration
    if shape == "block":
        return pulses.block(flip, scanner, duration=duration, use="saturation")
    if shape == "gaussian":
        # Down to 1 % at its ends.
        bandwidth = 4 * math.sqrt(math.log(2) * math.log(100)) / (math.pi * duration)
        return pulses.gaussian(flip, scanner, duration=duration, bandwidth=bandwidth)
    raise ConfigError("shape", shape, "block or gaussian")
