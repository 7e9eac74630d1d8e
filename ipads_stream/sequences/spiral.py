"""Spiral: interleaved Archimedean spirals outwards, as fast as the scanner allows."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, Gradient
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import Scanner, ceil_to, is_multiple
from ipads_stream.sequences.sequence import Sequence

FINER = 20  # steps of the integration per gradient raster
SHORTEST = 10  # points of the gradient raster in a spiral
LONGEST = 1.0  # s, of a spiral


@ready
def spiral(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    num_interleaves: int = 4,
    flip: float = math.radians(15),
    TE: float = 3e-3,
    TR: float = 30e-3,
    dwell: float = 4e-6,
    rf_increment: float = math.radians(117),
    spoiling: float = 4.0,
    scanner: Scanner | None = None,
) -> Sequence:
    """One spiral per excitation, each turned by 2 pi / num_interleaves against the one before.

    Args:
        fov: m, square; turns lie 1 / fov apart.
        matrix: pixels across; spirals end at k = matrix / (2 fov).
        thickness: of the slice, m; None: everything is excited.
        num_interleaves: spirals that fill k-space.
        flip: rad.
        TE: to the start of the spiral, s; met to 5 us.
        TR: s; met to 5 us.
        dwell: time between samples, s.
        rf_increment: of RF spoiling, rad; 0: none.
        spoiling: turns of the phase over the slice, or over a pixel where there is none; 0: none.
        scanner: whose limits hold; None: a human one of 3 T.

    Raises:
        ConfigError: a value that the scanner cannot play, by name.
    """
    scanner = scanner or Scanner()
    counts = {"matrix": matrix, "num_interleaves": num_interleaves}
    check_size(counts, num_interleaves, 1)
    excitation = encoding.selection(flip, thickness, scanner)
    rephase = scanner.block(gz=gradients.trapezoid(excitation.rephasing, scanner))
    wave = spiral_waveform(fov, matrix, num_interleaves, scanner)
    lead = ceil_to(scanner.adc_dead_time, scanner.gradient_raster)
    adc = window(wave, dwell, lead, scanner)
    check_size(counts, num_interleaves, max(adc.num_samples, wave.size))
    crush = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    wait = Block(encoding.spare("TE", TE, excitation.after + rephase.duration + lead, scanner))
    blocks: list[Block] = []
    phases = pulses.spoiling_phases(num_interleaves, rf_increment).tolist()
    for n, phase in enumerate(phases):
        turned = wave * np.exp(2j * math.pi * n / num_interleaves)
        gx, gy = (played(part, lead, scanner) for part in (turned.real, turned.imag))
        shot = [
            excitation.block(phase),
            rephase,
            wait,
            scanner.block(gx=gx, gy=gy, adc=adc.turned(phase)),
            scanner.block(gz=crush),
        ]
        used = sum(block.duration for block in shot)
        blocks += [*shot, Block(encoding.spare("TR", TR, used, scanner))]
    return Sequence(
        encoding.without_empty(blocks),
        name="spiral",
        scanner=scanner,
        definitions={**encoding.geometry(fov, thickness), "TE": TE, "TR": TR},
    )


def spiral_waveform(
    fov: float, matrix: int, num_interleaves: int, scanner: Scanner
) -> Complex[np.ndarray, " knots"]:
    """Gradient gx + i gy at the points of the gradient raster, T/m, to the end of the spiral.

    k = c theta exp(i theta), c = num_interleaves / (2 pi fov). At every moment theta speeds up as
    slew and gradient allow: |dk/dt| and |d2k/dt2|, with dk/dt = c (1 + i theta) w e^(i theta) and
    d2k/dt2 = c [(1 + i theta) w' + (2 i - theta) w^2] e^(i theta), w = d theta / dt.

    Args:
        fov, matrix, num_interleaves: as of the sequence.
        scanner: whose limits hold, for the length of the vector.

    Raises:
        ConfigError: a spiral of fewer points than SHORTEST, or that takes longer than LONGEST.
    """
    encoding.check_length("fov", fov)
    pace = num_interleaves / (2 * math.pi * fov)
    end = 0.5 * matrix / fov / pace
    dt = scanner.gradient_raster / FINER
    # Rounding to the raster steepens corners a little: stay below the limits.
    slew = 0.98 * GAMMA_BAR_1H * scanner.max_slew / pace
    top = 0.98 * GAMMA_BAR_1H * scanner.max_gradient / pace
    theta = speed = 0.0
    angles = [0.0]
    while theta < end:
        # |(1 + i theta) a + (2 i - theta) w^2| = slew, solved for a.
        square, mixed = 1 + theta**2, theta * speed**2
        rest = (4 + theta**2) * speed**4 - slew**2
        root = math.sqrt(max(mixed**2 - square * rest, 0.0))
        before = speed
        speed = min(speed + (root - mixed) / square * dt, top / math.sqrt(square))
        theta += 0.5 * (before + speed) * dt
        angles.append(theta)
        if len(angles) * dt > LONGEST:
            allowed = f"less, or more fov or num_interleaves: a spiral of at most {LONGEST:g} s"
            raise ConfigError("matrix", matrix, allowed)
    theta_at = np.array(angles)[::FINER]
    if theta_at.size < SHORTEST:
        allowed = f"less, or more matrix: a spiral of at least {SHORTEST} points of the raster"
        raise ConfigError("num_interleaves", num_interleaves, allowed)
    k = pace * theta_at * np.exp(1j * theta_at)
    # Central differences do not ring, as straight lines would that meet k at every point of the
    # raster; what is played is known from the waveform itself.
    gradient = np.gradient(k, scanner.gradient_raster) / GAMMA_BAR_1H
    gradient[0] = 0.0
    return gradient


def window(wave: Complex[np.ndarray, " knots"], dwell: float, lead: float, scanner: Scanner) -> ADC:
    """The window in which a spiral is sampled, from its start to its end.

    Args:
        wave: of the spiral.
        dwell: time between samples, s.
        lead: before the spiral, s.
        scanner: whose raster holds.

    Raises:
        ConfigError: a dwell time off the raster, or too long for one sample.
    """
    count = int((wave.size - 1) * scanner.gradient_raster / dwell) if dwell > 0 else 0
    if count < 1 or not is_multiple(dwell, scanner.adc_raster):
        longest = (wave.size - 1) * scanner.gradient_raster
        allowed = f"a multiple of {scanner.adc_raster} s above 0, up to {longest:g} s"
        raise ConfigError("dwell", dwell, allowed)
    return ADC(count, dwell, lead)


def played(wave: Float[np.ndarray, " knots"], lead: float, scanner: Scanner) -> Gradient:
    """The wave after a lead, wound down to zero at the end."""
    raster = scanner.gradient_raster
    down = max(math.ceil(abs(wave[-1]) / (0.98 * scanner.max_slew * raster)), 1)
    ending = wave[-1] * np.arange(down - 1, -1, -1) / down
    knots = np.append(wave, ending)
    times = np.round(lead + np.arange(knots.size) * raster, 9)
    return Gradient(times, knots)
