"""What a scanner refuses to play; errors name the block, counted from 0, and the event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipads_stream.sequences.block import LATE, Block
from ipads_stream.sequences.events import ADC, RF, Gradient
from ipads_stream.sequences.scanner import Scanner

AXES = ("gx", "gy", "gz")
HEADROOM = 1e-4  # of a limit, for amplitudes that a file rounded
# T/m; what sampled waveforms leave at their ends: 10 us at 200 T/m/s.
JUMP = 2e-3


def check_blocks(blocks: Sequence[Block], scanner: Scanner) -> None:
    """Refuse what lies beyond the scanner, and gradients that do not go on from block to block.

    Args:
        blocks: in order of time.
        scanner: whose limits hold.

    Raises:
        ValueError: names the block and the event.
    """
    good: set[int] = set()
    ends = [0.0, 0.0, 0.0]
    for number, block in enumerate(blocks):
        reasons = {}
        if block.rf is not None:
            reasons["rf"] = _pulse(block, block.rf, scanner)
        if block.adc is not None:
            reasons["adc"] = _window(block, block.adc, scanner)
        for axis, gradient, end in zip(AXES, block.gradients, ends, strict=True):
            reasons[axis] = _joint(block, gradient, end)
            if gradient is not None and not reasons[axis] and id(gradient) not in good:
                reasons[axis] = _gradient(gradient, scanner)
                good.add(id(gradient))
        for name, reason in reasons.items():
            if reason:
                raise ValueError(f"block {number}: {name}: {reason} is allowed")
        ends = [_end(block, gradient) for gradient in block.gradients]
    for axis, end in zip(AXES, ends, strict=True):
        if abs(end) > JUMP:
            raise ValueError(f"last block: {axis}: ends at {end} T/m: 0 T/m is allowed")


def _pulse(block: Block, rf: RF, scanner: Scanner) -> str:
    largest, rest = float(np.max(np.abs(rf.samples))), block.duration - rf.stop
    if largest > scanner.max_b1 * (1 + HEADROOM):
        return f"{largest} T: at most max_b1={scanner.max_b1} T"
    if rf.delay < scanner.rf_dead_time - LATE:
        return f"delay {rf.delay} s: at least rf_dead_time={scanner.rf_dead_time} s"
    if rest < scanner.rf_ringdown_time - LATE:
        return f"{rest} s after it: at least rf_ringdown_time={scanner.rf_ringdown_time} s"
    return ""


def _window(block: Block, adc: ADC, scanner: Scanner) -> str:
    rest = block.duration - adc.stop
    allowed = f"at least adc_dead_time={scanner.adc_dead_time} s"
    if adc.delay < scanner.adc_dead_time - LATE:
        return f"delay {adc.delay} s: {allowed}"
    if rest < scanner.adc_dead_time - LATE:
        return f"{rest} s after it: {allowed}"
    return ""


def _gradient(gradient: Gradient, scanner: Scanner) -> str:
    largest = float(np.max(np.abs(gradient.amplitudes)))
    slew = float(np.max(np.abs(np.diff(gradient.amplitudes)) / np.diff(gradient.times)))
    if largest > scanner.max_gradient * (1 + HEADROOM):
        return f"{largest} T/m: at most max_gradient={scanner.max_gradient} T/m"
    if slew > scanner.max_slew * (1 + HEADROOM):
        return f"slew {slew} T/m/s: at most max_slew={scanner.max_slew} T/m/s"
    return ""


def _joint(block: Block, gradient: Gradient | None, end: float) -> str:
    """Whether a gradient goes on from where the block before ended, and ends in its own."""
    begin = 0.0
    if gradient is not None:
        first, last = float(gradient.amplitudes[0]), float(gradient.amplitudes[-1])
        if gradient.times[0] <= LATE:
            begin = first
        elif abs(first) > JUMP:
            return f"starts at {first} T/m after {gradient.times[0]} s: 0 T/m"
        if gradient.stop < block.duration - LATE and abs(last) > JUMP:
            return f"ends at {last} T/m before the block does: 0 T/m"
    if abs(begin - end) > JUMP:
        return f"starts at {begin} T/m: {end} T/m, where the block before ended,"
    return ""


def _end(block: Block, gradient: Gradient | None) -> float:
    if gradient is None or gradient.stop < block.duration - LATE:
        return 0.0
    return float(gradient.amplitudes[-1])
