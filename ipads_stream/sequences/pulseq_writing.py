"""Sequences of ours into Pulseq files, version 1.5.

Numbers are written with all their digits (pypulseq writes six, and shapes in steps of 1e-7), so
that a sequence read again simulates as the one that was written: amplitudes and phases differ by
roundings of double precision. Times stand on the rasters of the scanner, and what does not lie on
them is refused.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.files import write_text
from ipads_stream.sequences.events import ADC, RF, Block, Gradient, refuse
from ipads_stream.sequences.scanner import Scanner, is_on
from ipads_stream.sequences.sequence import Sequence

NEAR = 1e-12  # T/m; below it an end of a trapezoid is zero
MICRO = 1e-6  # s; trapezoids and delays of gradients and windows are kept in whole us
NANO = 1e-9  # s; dwell times are kept in whole ns

COLUMNS = {
    "RF": "id Hz mag_id phase_id time_id us us ppm rad/MHz Hz rad use",
    "GRADIENTS": "id Hz/m first last shape_id time_id us",
    "TRAP": "id Hz/m rise flat fall delay (us)",
    "ADC": "id num ns us ppm rad/MHz Hz rad phase_id",
}
SIGNED = """
[SIGNATURE]
# MD5 of the text before the line break that precedes [SIGNATURE]
Type md5
Hash {}
"""


def write_pulseq(sequence: Sequence, path: str | Path) -> Path:
    """Writes a Pulseq file, whole or not at all; returns its path.

    Read again it gives the same times, and amplitudes and phases to 1e-14 of the largest, whether
    a sequence is ours or was itself read from a file. Signals then agree to 1e-9 of the largest.

    Args:
        sequence: to write.
        path: of the file.

    Raises:
        ValueError: a time off its raster; names the block and the event.

    Source: the specification of Pulseq files 1.5; Layton et al., Magn Reson Med 2017; 77: 1544.
    """
    path = Path(path)
    text = _text(sequence)
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    write_text(path, text + SIGNED.format(digest))
    return path


# By section its lines, each once, with the numbers by which others name them; under "known" the
# events that were written before.
Tables = defaultdict[str, dict[Any, int]]


def _entered(tables: Tables, section: str, line: str, others: str = "") -> int:
    """Number of a line, new where it was not there; others: a section that shares the numbers."""
    return tables[section].setdefault(line, len(tables[section]) + len(tables[others]) + 1)


def _shape(tables: Tables, samples: Iterable[float]) -> int:
    """Number of a shape, kept as it is: the format's compression rounds."""
    lines = [_number(sample) for sample in samples]
    return _entered(tables, "SHAPES", "\n".join([f"num_samples {len(lines)}", *lines]))


def _number(value: float) -> str:
    """The shortest text that reads as the same number; no sign of zero."""
    return repr(float(value) + 0.0)


def _text(sequence: Sequence) -> str:
    scanner, tables = sequence.scanner, Tables(dict)
    rows = []
    for number, block in enumerate(sequence.blocks):
        try:
            rows.append(f"{number + 1} {_row(block, scanner, tables)}")
        except ValueError as error:
            raise ValueError(f"block {number}: {error}") from error
    definitions = {
        "Name": sequence.name,
        **sequence.definitions,
        "AdcRasterTime": scanner.adc_raster,
        "BlockDurationRaster": scanner.block_raster,
        "GradientRasterTime": scanner.gradient_raster,
        "RadiofrequencyRasterTime": scanner.rf_raster,
        "TotalDuration": sequence.duration,
    }
    defined = (f"{key} {_definition(value)}" for key, value in sorted(definitions.items()))
    parts = [
        "# Pulseq sequence file",
        _section("[VERSION]", "", ("major 1", "minor 5", "revision 0")),
        _section("[DEFINITIONS]", "", defined),
        _section("[BLOCKS]", "NUM DUR RF GX GY GZ ADC EXT", rows),
    ]
    for name, columns in COLUMNS.items():
        if tables[name]:
            lines = (f"{number} {line}" for line, number in tables[name].items())
            parts.append(_section(f"[{name}]", columns, lines))
    shapes = (f"\nshape_id {i}\n{line}" for line, i in tables["SHAPES"].items())
    if tables["SHAPES"]:
        parts.append(_section("[SHAPES]", "", shapes))
    return "\n\n".join(parts) + "\n"


def _section(name: str, columns: str, lines: Iterable[str]) -> str:
    return "\n".join([*([f"# {columns}"] if columns else []), name, *lines])


def _definition(value: Any) -> str:
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(_definition(item) for item in value)
    return str(value) if isinstance(value, str) else _number(value)


def _row(block: Block, scanner: Scanner, tables: Tables) -> str:
    """Of a block: its duration, the numbers of its events, and no extension."""
    _on("duration", block.duration, scanner.block_raster)
    numbers = [round(block.duration / scanner.block_raster)]
    for name in ("rf", "gx", "gy", "gz", "adc"):
        event, known = getattr(block, name), tables["known"]
        if event is not None and id(event) not in known:
            known[id(event)] = WRITERS[type(event)](event, name, scanner, tables)
        numbers.append(0 if event is None else known[id(event)])
    return " ".join(str(number) for number in (*numbers, 0))


def _on(name: str, time: float, raster: float) -> None:
    if not is_on(time, raster):
        refuse(name, time, f"a multiple of {raster} s")


def _micro(time: float) -> str:
    """In us; a centre may lie between points of a raster, so no digit of a ns is lost."""
    return _number(round(time * 1e6, 6))


def _rf(rf: RF, name: str, scanner: Scanner, tables: Tables) -> int:
    _on("rf.delay", rf.delay, scanner.rf_raster)
    signal, t = _points(rf, scanner.rf_raster)
    signal = np.conj(signal) * GAMMA_BAR_1H
    sizes, turns = np.abs(signal), np.mod(np.angle(signal) / (2 * math.pi), 1.0)
    largest = float(np.max(sizes))
    on_raster = t / scanner.rf_raster
    is_regular = np.allclose(on_raster, np.arange(t.size) + 0.5, rtol=0, atol=1e-6)
    shapes = f"{_shape(tables, sizes / (largest or 1.0))} {_shape(tables, turns)}"
    time_id = 0 if is_regular else _shape(tables, np.round(on_raster, 6))
    times = f"{_micro(rf.centre)} {_micro(rf.delay)}"
    offsets = f"0 0 {_number(rf.frequency)} {_number(_turns(-rf.phase))}"
    line = f"{_number(largest)} {shapes} {time_id} {times} {offsets} {rf.use[0]}"
    return _entered(tables, "RF", line)


def _points(
    rf: RF, raster: float
) -> tuple[Complex[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Samples of a pulse and their times: cells' middles, or both ends of a rectangle."""
    for edge in rf.edges:
        _on("rf.edges", float(edge), raster)
    if rf.samples.size == 1:
        return np.repeat(rf.samples, 2), rf.edges
    lengths = np.diff(rf.edges)
    if np.allclose(lengths, lengths[0], rtol=0, atol=1e-3 * raster):
        return rf.samples, rf.edges[:-1] + 0.5 * lengths[0]
    signal = np.repeat(rf.samples, np.rint(lengths / raster).astype(np.int64))
    return signal, (np.arange(signal.size) + 0.5) * raster


def _turns(phase: float) -> float:
    return math.fmod(phase, 2 * math.pi)


def _gradient(gradient: Gradient, name: str, scanner: Scanner, tables: Tables) -> int:
    times, heights = gradient.times, gradient.amplitudes * GAMMA_BAR_1H
    raster = scanner.gradient_raster
    _on(f"{name}.times", float(times[0]), MICRO)
    delay = round(float(times[0]) / MICRO)
    if _is_trapezoid(gradient):
        for time in times:
            _on(f"{name}.times", float(time), MICRO)
        parts = np.rint(np.diff(times) / MICRO).astype(np.int64).tolist()
        rise, flat, fall = parts if len(parts) == 3 else (parts[0], 0, parts[1])
        line = f"{_number(heights[1])} {rise} {flat} {fall} {delay}"
        return _entered(tables, "TRAP", line, "GRADIENTS")
    since = (times - times[0]) / raster
    inner, ends = heights[1:-1], f"{_number(heights[0])} {_number(heights[-1])}"
    middles = np.arange(inner.size) + 0.5
    is_sampled = inner.size > 4 and np.allclose(since[1:-1], middles, rtol=0, atol=1e-3)
    time_id = 0
    if not (is_sampled and is_on(float(times[-1] - times[0]), raster)):
        for time in times:
            _on(f"{name}.times", float(time), raster)
        inner, time_id = heights, _shape(tables, np.rint(since))
    largest = float(np.max(np.abs(inner)))
    shape = _shape(tables, inner / (largest or 1.0))
    line = f"{_number(largest)} {ends} {shape} {time_id} {delay}"
    return _entered(tables, "GRADIENTS", line, "TRAP")


def _is_trapezoid(gradient: Gradient) -> bool:
    heights = gradient.amplitudes
    if heights.size not in (3, 4) or max(abs(heights[0]), abs(heights[-1])) > NEAR:
        return False
    return heights.size == 3 or bool(abs(heights[1] - heights[2]) < NEAR)


def _adc(adc: ADC, name: str, scanner: Scanner, tables: Tables) -> int:
    _on("adc.dwell", adc.dwell, NANO)
    _on("adc.delay", adc.delay, MICRO)
    is_modulated = np.ndim(adc.phase) == 1
    window = f"{adc.num_samples} {round(adc.dwell / NANO)} {round(adc.delay / MICRO)}"
    phase = 0.0 if is_modulated else _turns(-float(adc.phase))
    phase_id = _shape(tables, -np.asarray(adc.phase)) if is_modulated else 0
    line = f"{window} 0 0 {_number(adc.frequency)} {_number(phase)} {phase_id}"
    return _entered(tables, "ADC", line)


WRITERS: dict[type, Callable[..., int]] = {RF: _rf, ADC: _adc, Gradient: _gradient}
