"""Pulse sequences as data: blocks of RF, gradients and readouts; Pulseq files; ready sequences.

from ipads_stream.sequences import bssfp, epi, spiral
signals = bloch.signal(spiral(num_interleaves=8).waveforms(), phantom)
"""

from ipads_stream.sequences.bssfp import bssfp
from ipads_stream.sequences.cest import cest
from ipads_stream.sequences.epi import epi, spin_echo_epi
from ipads_stream.sequences.epi_fingerprint import epi_fingerprint
from ipads_stream.sequences.events import ADC, RF, Block, Gradient
from ipads_stream.sequences.fisp_fingerprint import fisp_fingerprint
from ipads_stream.sequences.gradient_echo import gradient_echo
from ipads_stream.sequences.moled import moled
from ipads_stream.sequences.multi_echo import multi_echo
from ipads_stream.sequences.pulseq_reading import read_pulseq
from ipads_stream.sequences.pulseq_shims import read_shims
from ipads_stream.sequences.pulseq_writing import write_pulseq
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.sequences.sequence import Sequence
from ipads_stream.sequences.spamm import spamm
from ipads_stream.sequences.spen import spen
from ipads_stream.sequences.spin_echo import spin_echo
from ipads_stream.sequences.spiral import spiral
from ipads_stream.sequences.tse import tse

__all__ = [
    "ADC", "RF", "Block", "Gradient", "Scanner", "Sequence", "bssfp", "cest", "epi",
    "epi_fingerprint", "fisp_fingerprint", "gradient_echo", "moled", "multi_echo", "read_pulseq",
    "read_shims",
    "spamm", "spen", "spin_echo", "spin_echo_epi", "spiral", "tse", "write_pulseq",
]  # fmt: skip
