"""SPEN: a chirp excites place after place, blips refocus place after place (hybrid with EPI)."""

import math

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.epi import epi_train
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner, round_to
from ipads_stream.sequences.sequence import Sequence


@ready
def spen(
    *,
    fov: float = 0.15,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    bandwidth: float = 32e3,
    sweep: float = 4e-3,
    flip: float = math.pi / 2,
    refocusing: float = math.pi,
    crushing: float = 4.0,
    TE: float = 80e-3,
    dwell: float = 6e-6,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """A chirp along y, a refocusing pulse on a slice, and an EPI train during which y is read.

    After the chirp the phase is a parabola of y, whose slope is 2 pi gammabar G (sweep - t(y))
    where t(y) is when y was excited, and 0 at the edge that was excited last. Refocusing turns its
    sign; blips of together gammabar G sweep move the place without slope, which is what is seen,
    from that edge to the other.

    Args:
        fov: m, square; along y it is what the chirp excites.
        thickness: of the slice that is refocused, m; None: everything.
        bandwidth: of the chirp, Hz.
        sweep: its duration, s, a multiple of 10 us.
        flip: rad.
        TE: from the middle of the chirp to the middle of the train; the pulse lies at TE / 2, s.

    Source: Ben-Eliezer, Irani, Frydman, Super-resolved spatially encoded single-scan 2D MRI,
    Magnetic Resonance in Medicine 63(6), 2010; field of view, sweep and bandwidth: MRiLab's
    PSD_SPEN as used for SPEN water-fat separation. The echo time is ours.
    """
    check_size({"matrix": matrix}, matrix, matrix)
    pulses.check_duration(sweep, scanner, "sweep")
    Number(above=0.0)("bandwidth", bandwidth)
    least = bandwidth / (GAMMA_BAR_1H * scanner.max_gradient)
    if not fov >= least:
        raise ConfigError("fov", fov, f"at least {least:.4g} m for bandwidth={bandwidth}")
    chirp = pulses.chirp(flip, scanner, duration=sweep, bandwidth=bandwidth)
    # A slice of the whole field of view is one that the sweep crosses from edge to edge.
    chirp, gy, _ = gradients.slice_selection(chirp, bandwidth, fov, scanner)
    exciting = scanner.block(rf=chirp, gy=gy)
    height, fall = float(gy.amplitudes[1]), float(gy.times[3] - gy.times[2])
    unplayed = float(gy.times[2]) - chirp.stop
    ramp = scanner.block(gy=gradients.trapezoid(-height * (unplayed + 0.5 * fall), scanner))
    pulse = encoding.selection(refocusing, thickness, scanner, use="refocusing")
    crusher = encoding.crusher(crushing, fov, matrix, thickness, "crushing", scanner)
    crush = scanner.block(gz=crusher)
    blip = bandwidth * sweep / (GAMMA_BAR_1H * fov * matrix)
    train = epi_train(fov, matrix, dwell, scanner, blip=blip)
    prephase = scanner.block(gx=gradients.trapezoid(train.areas[0], scanner))
    middle = round_to(0.5 * train.duration, scanner.block_raster)
    before = exciting.duration - chirp.delay - chirp.centre + ramp.duration
    before += crush.duration + pulse.centre
    after = pulse.after + crush.duration + prephase.duration + middle
    first, second = encoding.halves(TE, before, after, scanner)
    blocks = (
        exciting, ramp, first, crush, pulse.block(), crush, second, prephase, *train.blocks,
    )  # fmt: skip
    definitions = {"TE": TE, "EchoSpacing": train.spacing, "Blip": blip}
    return encoding.assembled("spen", blocks, scanner, fov, thickness, definitions)
