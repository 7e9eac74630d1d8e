"""Spiral: interleaved Archimedean spirals outwards, as fast as the scanner allows."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.events import ADC, Block, Gradient
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner, ceil_to, is_multiple
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
    scanner: Scanner = HUMAN,
) -> Sequence:
    """One spiral per excitation, each turned by 2 pi / num_interleaves against the one before.

    Args:
        fov: m, square; turns lie 1 / fov apart.
        matrix: pixels across; spirals end at k = matrix / (2 fov).
        num_interleaves: spirals that fill k-space.
        flip: rad.
        TE: to the start of the spiral, s; met to 5 us.
        TR: s; met to 5 us.
        rf_increment: of RF spoiling, rad; 0: none.
    """
    counts = {"matrix": matrix, "num_interleaves": num_interleaves}
    check_size(counts, num_interleaves, 1)
    excitation = encoding.selection(flip, thickness, scanner)
    rephase = scanner.block(gz=gradients.trapezoid(excitation.rephasing, scanner))
    read = Spiral.of(fov, matrix, num_interleaves, dwell, scanner)
    check_size(counts, num_interleaves, max(read.adc.num_samples, read.wave.size))
    crush = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    wait = Block(encoding.spare("TE", TE, excitation.after + rephase.duration + read.lead, scanner))
    blocks: list[Block] = []
    phases = pulses.spoiling_phases(num_interleaves, rf_increment).tolist()
    for n, phase in enumerate(phases):
        gx, gy = read.turned(2 * math.pi * n / num_interleaves)
        shot = [
            excitation.block(phase),
            rephase,
            wait,
            scanner.block(gx=gx, gy=gy, adc=read.adc.turned(phase)),
            scanner.block(gz=crush),
        ]
        used = sum(block.duration for block in shot)
        blocks += [*shot, Block(encoding.spare("TR", TR, used, scanner))]
    return encoding.assembled("spiral", blocks, scanner, fov, thickness, {"TE": TE, "TR": TR})


def spiral_waveform(
    fov: float, matrix: int, num_interleaves: int, scanner: Scanner
) -> Complex[np.ndarray, " knots"]:
    """Gradient gx + i gy at the points of the gradient raster, T/m, to the end of the spiral.

    k = c theta exp(i theta), c = num_interleaves / (2 pi fov). At every moment theta speeds up as
    slew and gradient allow: |dk/dt| and |d2k/dt2|, with dk/dt = c (1 + i theta) w e^(i theta) and
    d2k/dt2 = c [(1 + i theta) w' + (2 i - theta) w^2] e^(i theta), w = d theta / dt.
    """
    encoding.LENGTH("fov", fov)
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
        excess = (4 + theta**2) * speed**4 - slew**2
        root = math.sqrt(max(mixed**2 - square * excess, 0.0))
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


@dataclass(frozen=True, eq=False)
class Spiral:
    """A spiral with its window.

    wave: gradient gx + i gy at the points of the gradient raster, T/m; lead: time before it, s;
    adc: window from its start to its end.
    """

    wave: Complex[np.ndarray, " knots"]
    lead: float
    adc: ADC
    scanner: Scanner

    @classmethod
    def of(
        cls, fov: float, matrix: int, num_interleaves: int, dwell: float, scanner: Scanner
    ) -> "Spiral":
        """The spiral of an image; the arguments are those of the sequence."""
        wave = spiral_waveform(fov, matrix, num_interleaves, scanner)
        longest = (wave.size - 1) * scanner.gradient_raster
        count = int(longest / dwell) if dwell > 0 else 0
        if count < 1 or not is_multiple(dwell, scanner.adc_raster):
            allowed = f"a multiple of {scanner.adc_raster} s above 0, up to {longest:g} s"
            raise ConfigError("dwell", dwell, allowed)
        lead = ceil_to(scanner.adc_dead_time, scanner.gradient_raster)
        return cls(wave, lead, ADC(count, dwell, lead), scanner)

    def turned(self, angle: float) -> tuple[Gradient, Gradient]:
        """gx and gy of the spiral turned by an angle (rad), wound down to zero at the end."""
        turned, raster = self.wave * np.exp(1j * angle), self.scanner.gradient_raster
        played = []
        for wave in (turned.real, turned.imag):
            down = max(math.ceil(abs(wave[-1]) / (0.98 * self.scanner.max_slew * raster)), 1)
            knots = np.append(wave, wave[-1] * np.arange(down - 1, -1, -1) / down)
            played.append(Gradient(np.round(self.lead + np.arange(knots.size) * raster, 9), knots))
        return played[0], played[1]
