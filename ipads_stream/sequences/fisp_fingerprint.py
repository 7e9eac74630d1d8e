"""FISP fingerprinting: a train of varying flip angles after an inversion, a spiral per pulse."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import Gradient
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner, ceil_to
from ipads_stream.sequences.sequence import Sequence
from ipads_stream.sequences.spiral import played, spiral_waveform, window

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


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
    scanner: Scanner | None = None,
) -> Sequence:
    """An adiabatic inversion, then a frame per pulse: spiral, wound back, and a spoiler.

    All gradients of a frame but the spoiler are balanced, so that every frame dephases by one and
    the same order: what epg.fisp computes. The spirals turn by the golden angle.

    Args:
        fov: m, square.
        matrix: pixels across.
        thickness: of the slice, m; None: everything is excited.
        num_interleaves: spirals that would fill k-space.
        flips: rad, one per frame; None: num_frames of sine_lobes.
        num_frames: pulses, where flips is None.
        TE: to the start of the spiral, s; met to 5 us.
        TR: s; met to 5 us.
        TI: from the inversion's centre to the first excitation's, s; met to 5 us.
        dwell: time between samples, s.
        spoiling: turns of the phase over the slice, or over a pixel where there is none.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.

    Source: Jiang et al., MR fingerprinting using fast imaging with steady state precession (FISP)
    with spiral readout, Magnetic Resonance in Medicine 74(6), 2015. The numbers are ours.
    """
    scanner = scanner or Scanner()
    counts = {"matrix": matrix, "num_interleaves": num_interleaves, "num_frames": num_frames}
    check_size(counts, num_frames if flips is None else len(flips), 1)
    angles = sine_lobes(num_frames).tolist() if flips is None else list(flips)
    if not angles or min(angles) <= 0:
        raise ConfigError("flips", flips, "an angle above 0 rad for every frame")
    pulses_played = [encoding.selection(flip, thickness, scanner) for flip in angles]
    excitation = pulses_played[0]
    spoiler = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    blocks = encoding.inversion(TI, excitation, scanner.block(gz=spoiler), scanner)
    wave = spiral_waveform(fov, matrix, num_interleaves, scanner)
    lead = ceil_to(scanner.adc_dead_time, scanner.gradient_raster)
    adc = window(wave, dwell, lead, scanner)
    check_size(counts, len(angles), max(adc.num_samples, wave.size))
    rephase = scanner.block(gz=gradients.trapezoid(excitation.rephasing, scanner))
    wait = Block(encoding.spare("TE", TE, excitation.after + rephase.duration + lead, scanner))
    spirals = [_turned(wave, n * GOLDEN_ANGLE, lead, scanner) for n in range(len(angles))]
    # All windings back last as long as the strongest, so that frames are alike.
    longest = max(gradients.shortest(g.area, scanner) for pair in spirals for g in pair)
    for pulse, (gx, gy) in zip(pulses_played, spirals, strict=True):
        back = (gradients.trapezoid(-g.area, scanner, duration=longest) for g in (gx, gy))
        frame = [
            pulse.block(),
            rephase,
            wait,
            scanner.block(gx=gx, gy=gy, adc=adc),
            scanner.block(gx=next(back), gy=next(back), gz=spoiler),
        ]
        played_for = sum(block.duration for block in frame)
        blocks += [*frame, Block(encoding.spare("TR", TR, played_for, scanner))]
    return Sequence(
        encoding.without_empty(blocks),
        name="fisp_fingerprint",
        scanner=scanner,
        definitions={**encoding.geometry(fov, thickness), "TE": TE, "TR": TR, "TI": TI},
    )


def sine_lobes(
    count: int,
    *,
    lobe: int = 50,
    low: float = math.radians(10),
    highs: tuple[float, ...] = (math.radians(60), math.radians(30), math.radians(75)),
) -> Float[np.ndarray, " count"]:
    """Flip angles that rise and fall in half sine waves, low + (high - low) sin(pi n / lobe).

    Args:
        count: of angles.
        lobe: pulses of a wave.
        low: between waves, rad.
        highs: of one wave after another, rad, from the start again when used up.
    """
    n = np.arange(count)
    tops = np.array(highs)[(n // lobe) % len(highs)]
    return low + (tops - low) * np.sin(math.pi * (n % lobe + 0.5) / lobe)


def _turned(
    wave: Float[np.ndarray, " knots"] | np.ndarray, angle: float, lead: float, scanner: Scanner
) -> tuple[Gradient, Gradient]:
    turned = wave * np.exp(1j * angle)
    return played(turned.real, lead, scanner), played(turned.imag, lead, scanner)
