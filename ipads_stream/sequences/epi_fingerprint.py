"""EPI fingerprinting: flip angle, TE and TR vary from frame to frame, each a single-shot image."""

import math
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences import encoding
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence

# 25 frames: the number is DRONE's, the schedule ours. TE varies, so that T2* is encoded.
FLIPS = tuple(math.radians(30 + 25 * math.sin(2 * math.pi * n / 25)) for n in range(25))
TES = tuple(25e-3 + 1e-3 * ((7 * n) % 25) for n in range(25))
TRS = tuple(120e-3 + 4e-3 * ((11 * n) % 25) for n in range(25))


@ready
def epi_fingerprint(
    *,
    fov: float = 0.22,
    matrix: int = 64,
    thickness: float | None = 5e-3,
    flips: list[float] | None = None,
    TEs: list[float] | None = None,
    TRs: list[float] | None = None,
    TI: float = 20e-3,
    dwell: float = 4e-6,
    spoiling: float = 4.0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """An adiabatic inversion, then a single-shot gradient-echo EPI per frame, spoiled.

    Args:
        flips: rad, one per frame; None: a sine between 5 and 55 degrees.
        TEs, TRs: s, one per frame; met to 5 us; None: 25 to 49 ms and 120 to 216 ms.
        TI: from the inversion's centre to the first excitation's, s; met to 10 us.

    Source: Cohen, Zhu, Rosen, MR fingerprinting deep reconstruction network (DRONE), Magnetic
    Resonance in Medicine 80(3), 2018: 25 frames. Its schedule was not published in what was read.
    """
    angles = list(FLIPS if flips is None else flips)
    TEs, TRs = list(TES if TEs is None else TEs), list(TRS if TRs is None else TRs)
    if not (len(angles) == len(TEs) == len(TRs) > 0):
        sizes = (len(angles), len(TEs), len(TRs))
        raise ConfigError("flips, TEs, TRs", sizes, "as many of each, at least one")
    if min(angles) <= 0:
        raise ConfigError("flips", flips, "an angle above 0 rad for every frame")
    check_size({"matrix": matrix}, len(angles) * matrix, matrix)
    image: dict[str, Any] = {"fov": fov, "matrix": matrix, "thickness": thickness}
    spoiler = encoding.crusher(spoiling, fov, matrix, thickness, "spoiling", scanner)
    crush = scanner.block(gz=spoiler)
    excitation = encoding.selection(angles[0], thickness, scanner)
    blocks = encoding.inversion(TI, excitation, crush, scanner)
    for flip, TE, TR in zip(angles, TEs, TRs, strict=True):
        try:
            frame = epi(**image, flip=flip, TE=TE, dwell=dwell, scanner=scanner)
        except ConfigError as error:
            name = {"TE": "TEs"}.get(error.key, error.key)
            raise ConfigError(name, error.value, error.allowed) from None
        shot = [*frame.blocks, crush]
        played_for = sum(block.duration for block in shot)
        blocks += [*shot, Block(encoding.spare("TRs", TR, played_for, scanner))]
    return encoding.assembled("epi_fingerprint", blocks, scanner, fov, thickness, {"TI": TI})
