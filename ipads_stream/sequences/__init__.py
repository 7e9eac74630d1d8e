"""Pulse sequences as data: blocks of RF, gradients and readouts; Pulseq files; ready sequences."""

from __future__ import annotations

from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, RF, Gradient
from ipads_stream.sequences.pulseq_reading import read_pulseq
from ipads_stream.sequences.pulseq_writing import write_pulseq
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.sequence import Sequence

__all__ = [
    "ADC", "RF", "Block", "Gradient", "Scanner", "Sequence", "read_pulseq", "write_pulseq",
]  # fmt: skip
