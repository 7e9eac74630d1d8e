"""FISP fingerprinting: a train of varying flip angles after an inversion, a spiral per pulse."""

import math

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence
from ipads_stream.sequences.spiral import Spiral

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
# Of the flip angles: pulses of a wave, the angle between waves and that of one wave after another.
LOBE, LOW = 50, math.radians(10)
HIGHS = (math.radians(60), math.radians(30), math.radians(75))


@ready
def fisp_fingerprint(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    num_interleaves: int = 8,
    flips: list[float] | None = None,
    num_frames: int = 100,
    TE: float = 3e-3,
    TR: float = 14e-3,
    TI: float = 20e-3,
    dwell: float = 4e-6,
    spoiling: float = 4.0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """An adiabatic inversion, then a frame per pulse: spiral, wound back, and a spoiler.

    All gradients of a frame but the spoiler are balanced, so that every frame dephases by one and
    the same order: what epg.fisp computes. The spirals turn by the golden angle.

    Args:
        matrix: pixels across.
        num_interleaves: spirals that would fill k-space.
        flips: rad, one per frame; None: num_frames of sine_lobes.
        num_frames: pulses, where flips is None.
        TE: to the start of the spiral, s; met to 5 us.
        TR: s; met to 5 us.
        TI: from the inversion's centre to the first excitation's, s; met to 5 us.

    Source: Jiang et al., MR fingerprinting using fast imaging with steady state precession (FISP)
    with spiral readout, Magnetic Resonance in Medicine 74(6), 2015. The numbers are ours.
    """
    counts = {"matrix": matrix, "num_interleaves": num_interleaves, "num_frames": num_frames}
    check_size(counts, num_frames if flips is None else len(flips), 1)
    angles = sine_lobes(num_frames).tolist() if flips is None else list(flips)
    if not angles or min(angles) <= 0:
        raise ConfigError("flips", flips, "an angle above 0 rad for every frame")
    pulses_played = [encoding.selection(flip, thickness, scanner) for flip in angles]
    excitation = pulses_played[0]
    spoiler = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    blocks = encoding.inversion(TI, excitation, scanner.block(gz=spoiler), scanner)
    read = Spiral.of(fov, matrix, num_interleaves, dwell, scanner)
    check_size(counts, len(angles), max(read.adc.num_samples, read.wave.size))
    rephase = scanner.block(gz=gradients.trapezoid(excitation.rephasing, scanner))
    wait = Block(encoding.spare("TE", TE, excitation.after + rephase.duration + read.lead, scanner))
    spirals = [read.turned(n * GOLDEN_ANGLE) for n in range(len(angles))]
    # All windings back last as long as the strongest, so that frames are alike.
    longest = max(gradients.shortest(g.area, scanner) for pair in spirals for g in pair)
    for pulse, (gx, gy) in zip(pulses_played, spirals, strict=True):
        back = (gradients.trapezoid(-g.area, scanner, duration=longest) for g in (gx, gy))
        frame = [
            pulse.block(),
            rephase,
            wait,
            scanner.block(gx=gx, gy=gy, adc=read.adc),
            scanner.block(gx=next(back), gy=next(back), gz=spoiler),
        ]
        played_for = sum(block.duration for block in frame)
        blocks += [*frame, Block(encoding.spare("TR", TR, played_for, scanner))]
    times = {"TE": TE, "TR": TR, "TI": TI}
    return encoding.assembled("fisp_fingerprint", blocks, scanner, fov, thickness, times)


def sine_lobes(count: int) -> Float[np.ndarray, " count"]:
    """Flip angles, rad, in half sine waves, low + (high - low) sin(pi n / lobe)."""
    n = np.arange(count)
    tops = np.array(HIGHS)[(n // LOBE) % len(HIGHS)]
    return LOW + (tops - LOW) * np.sin(math.pi * (n % LOBE + 0.5) / LOBE)
