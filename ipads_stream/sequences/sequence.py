"""A pulse sequence: blocks played one after the other, within the limits of a scanner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ipads_stream.physics.waveforms import Waveforms
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.checks import check_blocks
from ipads_stream.sequences.events import refuse
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.steps import MOST, waveforms_of


@dataclass(frozen=True, eq=False)
class Sequence:
    """Blocks in order of time.

    Attributes:
        blocks: at least one.
        name: what it is called, in pictures and in files.
        scanner: whose limits hold.
        definitions: what else is known of it, as a Pulseq file keeps it: FOV and the like, SI.

    Raises:
        ValueError: beyond the limits of the scanner, or gradients that do not go on from block to
            block; names the block, counted from 0, and the event.
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
        check_blocks(self.blocks, self.scanner)

    @property
    def duration(self) -> float:
        """Of all blocks, s."""
        return float(sum(block.duration for block in self.blocks))

    @property
    def num_samples(self) -> int:
        """That the receiver takes, over all blocks."""
        return sum(block.adc.num_samples for block in self.blocks if block.adc is not None)

    def waveforms(self) -> Waveforms:
        """Steps of constant RF and gradients, as the simulators take them."""
        return waveforms_of(self.blocks)
