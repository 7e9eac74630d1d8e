"""SPAMM tagging: a grid of dark lines is put into the magnetisation and watched as it moves."""

import math

from ipads_stream.sequences import encoding, gradients, pulses
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.events import Block
from ipads_stream.sequences.ready import check_size, ready
from ipads_stream.sequences.scanner import HUMAN, Scanner
from ipads_stream.sequences.sequence import Sequence


@ready
def spamm(
    *,
    fov: float = 0.36,
    matrix: int = 64,
    thickness: float | None = 8e-3,
    tag_spacing: float = 6.67e-3,
    tag_flips: list[float] | None = None,
    num_frames: int = 10,
    interval: float = 60e-3,
    flip: float = math.radians(14),
    TE: float = 24e-3,
    dwell: float = 4e-6,
    spoiling: float = 4.0,
    scanner: Scanner = HUMAN,
) -> Sequence:
    """Two trains of pulses, tags along both diagonals, then an image at every interval.

    Between the pulses of a train a gradient turns the phase once per tag spacing, so that Mz
    becomes a periodic function of place; what is left transverse is spoiled after each train.

    Args:
        thickness: of the imaged slice, m; tags lie everywhere. None: all is imaged.
        tag_spacing: distance of tags along a diagonal, m.
        tag_flips: of the pulses of a train, rad; None: 10, 20, 40, 20 and 10 degrees.
        num_frames: images.
        interval: from image to image, s; met to 5 us.
        flip, TE: of the images, as of epi.

    Source: Axel, Dougherty, Radiology 171, 1989 and 172, 1989 (SPAMM and its binomial trains);
    flip angles, spacing and the field of view: Loecher, Perotti, Ennis, Medical Image Analysis 74,
    2021. Images by EPI and their times are ours.
    """
    angles = tag_flips or [math.radians(angle) for angle in (10, 20, 40, 20, 10)]
    encoding.LENGTH("tag_spacing", tag_spacing)
    check_size({"matrix": matrix, "num_frames": num_frames}, num_frames * matrix, matrix)
    crusher = encoding.crushing_area(spoiling, fov, matrix, thickness, "spoiling")
    crush = scanner.block(gz=gradients.trapezoid(crusher, scanner))
    # A longer crusher after the second train, or its echo of the first would be imaged.
    longer = scanner.block(gz=gradients.trapezoid(2.5 * crusher, scanner))
    area = gradients.crusher_area(1.0, tag_spacing) / math.sqrt(2)
    up, down = (gradients.trapezoid(sign * area, scanner) for sign in (1.0, -1.0))
    blocks: list[Block] = []
    for gy, spoiler in ((up, crush), (down, longer)):
        for n, angle in enumerate(angles):
            rf = pulses.block(angle, scanner, duration=100e-6, use="preparation")
            blocks.append(scanner.block(rf=rf))
            blocks.append(scanner.block(gx=up, gy=gy) if n + 1 < len(angles) else spoiler)
    image = epi(
        fov=fov, matrix=matrix, thickness=thickness, flip=flip, TE=TE, dwell=dwell, scanner=scanner
    )
    frame = [*image.blocks, crush]
    wait = encoding.spare("interval", interval, sum(block.duration for block in frame), scanner)
    for _ in range(num_frames):
        blocks += [*frame, Block(wait)]
    definitions = {"TE": TE, "TagSpacing": tag_spacing}
    return encoding.assembled("spamm", blocks, scanner, fov, thickness, definitions)
