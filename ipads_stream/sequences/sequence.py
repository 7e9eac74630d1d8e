"""A pulse sequence: blocks played one after the other, within the limits of a scanner."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ipads_stream.core.notebook import Shown
from ipads_stream.physics.waveforms import Interval, Waveforms
from ipads_stream.sequences.events import LATE, Block, refuse
from ipads_stream.sequences.intervals import intervals_of
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.steps import MOST, waveforms_of

AXES = ("gx", "gy", "gz")
HEADROOM = 1e-4  # of a limit, for amplitudes that a file rounded
JUMP = 2e-3  # T/m; what sampled waveforms leave at their ends: 10 us at 200 T/m/s


@dataclass(frozen=True, eq=False)
class Sequence(Shown):
    """Blocks in order of time.

    Attributes:
        blocks: at least one.
        name: what it is called, in pictures and in files.
        scanner: whose limits hold.
        definitions: what else is known of it, as a Pulseq file keeps it: FOV and the like, SI.

    Raises:
        ValueError: beyond the limits of the scanner, or gradients that jump between blocks; names
            the block, counted from 0, and the event.
    """

    blocks: tuple[Block, ...]
    name: str = "sequence"
    scanner: Scanner = field(default_factory=Scanner)
    definitions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.duration > 0:
            refuse("blocks", f"{self.duration} s", "more than 0 s together")
        if self.num_samples > MOST:
            refuse("samples", self.num_samples, f"at most {MOST}")
        _check_blocks(self.blocks, self.scanner)

    @property
    def duration(self) -> float:
        """Of all blocks, s."""
        return float(sum(block.duration for block in self.blocks))

    @property
    def num_samples(self) -> int:
        """That the receiver takes, over all blocks."""
        return sum(block.adc.num_samples for block in self.blocks if block.adc is not None)

    @property
    def headline(self) -> str:
        return f"Sequence {self.name}: {1e3 * self.duration:.4g} ms, {self.num_samples} samples"

    @property
    def entries(self) -> dict[str, Any]:
        pulses = sum(block.rf is not None for block in self.blocks)
        counts = {"blocks": len(self.blocks), "RF pulses": pulses, "scanner": self.scanner}
        return counts | dict(self.definitions)

    def waveforms(self) -> Waveforms:
        """Steps of constant RF and gradients, as the simulators take them."""
        return waveforms_of(self.blocks)

    def intervals(self) -> Iterator[Interval]:
        """Parts with and without RF, as the simulator of exchanging pools takes them."""
        return intervals_of(self.blocks)


def _check_blocks(blocks: Iterable[Block], scanner: Scanner) -> None:
    """Refuses, by block and event, what the scanner cannot play, and gradients with a jump."""
    checked: set[int] = set()
    ends = [0.0, 0.0, 0.0]
    for number, block in enumerate(blocks):
        for fault in _faults(block, ends, scanner, checked):
            raise ValueError(f"block {number}: {fault} is allowed")
        last = block.duration - LATE
        ends = [0.0 if g is None or g.stop < last else g.amplitudes[-1] for g in block.gradients]
    for axis, end in zip(AXES, ends, strict=True):
        if abs(end) > JUMP:
            raise ValueError(f"last block: {axis}: ends at {float(end)} T/m: 0 T/m is allowed")


def _faults(
    block: Block, ends: Iterable[float], scanner: Scanner, checked: set[int]
) -> Iterator[str]:
    """What a block plays and what would be allowed; ends: gradients (T/m) of the block before."""
    rf, adc = block.rf, block.adc
    if rf is not None:
        largest, after = float(np.max(np.abs(rf.samples))), block.duration - rf.stop
        if largest > scanner.max_b1 * (1 + HEADROOM):
            yield f"rf: {largest} T: at most max_b1={scanner.max_b1} T"
        if rf.delay < scanner.rf_dead_time - LATE:
            yield f"rf: delay {rf.delay} s: at least rf_dead_time={scanner.rf_dead_time} s"
        if after < scanner.rf_ringdown_time - LATE:
            yield f"rf: {after} s after it: at least rf_ringdown_time={scanner.rf_ringdown_time} s"
    if adc is not None:
        after = block.duration - adc.stop
        for time, place in ((adc.delay, f"delay {adc.delay} s"), (after, f"{after} s after it")):
            if time < scanner.adc_dead_time - LATE:
                yield f"adc: {place}: at least adc_dead_time={scanner.adc_dead_time} s"
    for axis, gradient, end in zip(AXES, block.gradients, ends, strict=True):
        begin = 0.0
        if gradient is not None:
            first, last = float(gradient.amplitudes[0]), float(gradient.amplitudes[-1])
            if gradient.times[0] <= LATE:
                begin = first
            elif abs(first) > JUMP:
                yield f"{axis}: starts at {first} T/m after {gradient.times[0]} s: 0 T/m"
            if gradient.stop < block.duration - LATE and abs(last) > JUMP:
                yield f"{axis}: ends at {last} T/m before the block does: 0 T/m"
        if abs(begin - end) > JUMP:
            yield f"{axis}: starts at {begin} T/m: {float(end)} T/m, where the block before ended,"
        if gradient is not None and id(gradient) not in checked:
            checked.add(id(gradient))
            largest = float(np.max(np.abs(gradient.amplitudes)))
            slew = float(np.max(np.abs(np.diff(gradient.amplitudes)) / np.diff(gradient.times)))
            if largest > scanner.max_gradient * (1 + HEADROOM):
                yield f"{axis}: {largest} T/m: at most max_gradient={scanner.max_gradient} T/m"
            if slew > scanner.max_slew * (1 + HEADROOM):
                yield f"{axis}: slew {slew} T/m/s: at most max_slew={scanner.max_slew} T/m/s"
