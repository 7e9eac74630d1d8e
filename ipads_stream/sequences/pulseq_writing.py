"""Sequences of ours into Pulseq files, version 1.5, through pypulseq.

A file keeps six digits of amplitudes, phases and frequencies, and nine of shapes; times stand on
the rasters of the scanner, and what does not lie on them is refused. Ready sequences use amplitudes
of six digits: read again, gradients and times are the same and only phases are off, by 5e-6 rad.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Hashable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.files import write_text
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, RF, Gradient
from ipads_stream.sequences.pulseq_reading import quiet
from ipads_stream.sequences.scanner import Scanner, is_on
from ipads_stream.sequences.sequence import Sequence

NEAR = 1e-12  # T/m; below it an end of a trapezoid is zero
MICRO = 1e-6  # s; trapezoids and delays of gradients and windows are kept in whole us
NANO = 1e-9  # s; dwell times are kept in whole ns


def write_pulseq(sequence: Sequence, path: str | Path) -> Path:
    """Writes a Pulseq file, whole or not at all; returns its path.

    Args:
        sequence: to write.
        path: of the file.

    Raises:
        ValueError: a time off its raster; names the block and the event.
    """
    path = Path(path)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        built = _built(sequence)
        written = Path(folder) / "sequence.seq"
        # Events were registered once each; removing duplicates would round delays to whole us.
        built.write(str(written), check_timing=False, remove_duplicates=False)
        text = written.read_text(encoding="utf-8")
    write_text(path, text)
    return path


def _built(sequence: Sequence) -> Any:
    import pypulseq

    scanner = sequence.scanner
    built = pypulseq.Sequence(
        pypulseq.Opts(
            max_grad=scanner.max_gradient * GAMMA_BAR_1H,
            max_slew=scanner.max_slew * GAMMA_BAR_1H,
            grad_raster_time=scanner.gradient_raster,
            rf_raster_time=scanner.rf_raster,
            adc_raster_time=scanner.adc_raster,
            block_duration_raster=scanner.block_raster,
        )
    )
    for key, value in {"Name": sequence.name, **sequence.definitions}.items():
        built.set_definition(key, value)
    known: dict[Hashable, SimpleNamespace] = {}
    for number, block in enumerate(sequence.blocks):
        try:
            events = _events(block, scanner, known)
            _register(events, built)
        except ValueError as error:
            raise ValueError(f"block {number}: {error}") from error
        built.add_block(*events, SimpleNamespace(type="delay", delay=block.duration))
    return built


def _events(
    block: Block, scanner: Scanner, known: dict[Hashable, SimpleNamespace]
) -> list[SimpleNamespace]:
    """Events as pypulseq takes them; the same object for the same event of ours."""
    _on("duration", block.duration, scanner.block_raster)
    events = []
    if block.rf is not None:
        if id(block.rf) not in known:
            known[id(block.rf)] = _rf(block.rf, scanner)
        events.append(known[id(block.rf)])
    for channel, gradient in zip("xyz", block.gradients, strict=True):
        if gradient is not None:
            key = (channel, id(gradient))
            if key not in known:
                known[key] = _gradient(gradient, channel, scanner)
            events.append(known[key])
    if block.adc is not None:
        if id(block.adc) not in known:
            known[id(block.adc)] = _adc(block.adc)
        events.append(known[id(block.adc)])
    return events


def _register(events: list[SimpleNamespace], built: Any) -> None:
    """Gives events their numbers once; pypulseq would compress their shapes in every block."""
    for event in events:
        if hasattr(event, "id"):
            continue
        if event.type == "rf":
            event.id, event.shape_IDs = built.register_rf_event(event)
        elif event.type == "adc":
            event.id, _ = built.register_adc_event(event)
        elif event.type == "grad":
            event.id, event.shape_IDs = built.register_grad_event(event)
        else:
            event.id = built.register_grad_event(event)


def _on(name: str, time: float, raster: float) -> None:
    if not is_on(time, raster):
        raise ValueError(f"{name}={time}: a multiple of {raster} s is allowed")


def _rf(rf: RF, scanner: Scanner) -> SimpleNamespace:
    _on("rf.delay", rf.delay, scanner.rf_raster)
    signal, t = _points(rf, scanner.rf_raster)
    return SimpleNamespace(
        type="rf",
        signal=np.conj(signal) * GAMMA_BAR_1H,
        t=t,
        shape_dur=rf.duration,
        center=rf.centre,
        delay=rf.delay,
        freq_offset=rf.frequency,
        phase_offset=_turns(-rf.phase),
        freq_ppm=0.0,
        phase_ppm=0.0,
        dead_time=0.0,
        ringdown_time=0.0,
        use=rf.use,
    )


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


def _gradient(gradient: Gradient, channel: str, scanner: Scanner) -> SimpleNamespace:
    times, heights = gradient.times, gradient.amplitudes * GAMMA_BAR_1H
    name, raster = f"g{channel}", scanner.gradient_raster
    _on(f"{name}.times", float(times[0]), MICRO)
    if _is_trapezoid(gradient):
        for time in times:
            _on(f"{name}.times", float(time), MICRO)
        return SimpleNamespace(
            type="trap",
            channel=channel,
            amplitude=float(heights[1]),
            rise_time=float(times[1] - times[0]),
            flat_time=float(times[2] - times[1]) if times.size == 4 else 0.0,
            fall_time=float(times[-1] - times[-2]),
            delay=float(times[0]),
        )
    since = times - times[0]
    count = times.size - 2
    middles = (np.arange(count) + 0.5) * raster
    is_sampled = count > 4 and np.allclose(since[1:-1], middles, rtol=0, atol=1e-3 * raster)
    if is_sampled and is_on(float(since[-1]), raster):
        since, inner = middles, heights[1:-1]
    else:
        inner = heights
        for time in times:
            _on(f"{name}.times", float(time), raster)
    return SimpleNamespace(
        type="grad",
        channel=channel,
        waveform=inner,
        tt=since,
        first=float(heights[0]),
        last=float(heights[-1]),
        delay=float(times[0]),
    )


def _is_trapezoid(gradient: Gradient) -> bool:
    heights = gradient.amplitudes
    if heights.size not in (3, 4) or max(abs(heights[0]), abs(heights[-1])) > NEAR:
        return False
    return heights.size == 3 or bool(abs(heights[1] - heights[2]) < NEAR)


def _adc(adc: ADC) -> SimpleNamespace:
    _on("adc.dwell", adc.dwell, NANO)
    _on("adc.delay", adc.delay, MICRO)
    is_modulated = np.ndim(adc.phase) == 1
    return SimpleNamespace(
        type="adc",
        num_samples=adc.num_samples,
        dwell=adc.dwell,
        delay=adc.delay,
        freq_offset=adc.frequency,
        phase_offset=0.0 if is_modulated else _turns(-float(adc.phase)),
        phase_modulation=-np.asarray(adc.phase) if is_modulated else None,
        freq_ppm=0.0,
        phase_ppm=0.0,
        dead_time=0.0,
    )
