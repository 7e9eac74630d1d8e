"""From blocks to intervals: the form in which a sequence reaches exchanging pools."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from ipads_stream.physics.waveforms import Interval
from ipads_stream.sequences.events import LATE, Block


def intervals_of(blocks: Iterable[Block]) -> Iterator[Interval]:
    """Intervals of blocks in a row; a block with a gradient spoils at its end.

    Raises:
        ValueError: a window that opens during a pulse, by its block.
    """
    for number, block in enumerate(blocks):
        rf, adc = block.rf, block.adc
        edges = {0.0, block.duration}
        if rf is not None:
            edges |= {rf.delay, min(rf.stop, block.duration)}
        opens = block.duration + 1.0 if adc is None else adc.delay
        if adc is not None:
            edges.add(opens)
            if rf is not None and rf.delay + LATE < opens < rf.stop - LATE:
                raise ValueError(f"block {number}: adc: opens during a pulse, after {opens} s")
        spoils = any(g is not None and g.amplitudes.any() for g in block.gradients)
        times = sorted(edges)
        for start, stop in itertools.pairwise([*times, times[-1]]):
            is_end = start == block.duration
            flags = (start == opens, spoils and is_end, adc is not None and is_end)
            if rf is not None and start == rf.delay and not is_end:
                dt = np.diff(rf.edges)
                yield Interval(dt, rf.samples, rf.frequency, rf.phase, *flags)
            elif stop > start or any(flags):
                yield Interval(np.array([stop - start]), None, 0.0, 0.0, *flags)
