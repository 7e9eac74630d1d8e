"""Pulseq files, versions 1.2 to 1.5, into sequences of ours.

pypulseq parses the text; its blocks are turned into ours here, because its events are untyped and
its conventions differ: a file counts amplitudes in Hz and Hz/m, and a positive frequency turns as
exp(+2 pi i f t) and means spins of higher field. Here those spins turn as exp(-2 pi i f t), so all
phases are conjugated: of pulses, of their shapes and of receivers.

What cannot be simulated faithfully is refused: versions and extensions that are not known (among
them rotations and RF shims), and offsets in ppm without B0. Left out, since they change nothing
that is simulated: labels and triggers (an input trigger is not waited for). A soft delay lasts as
long as the file says unless it is given. Nuclei other than 1H play as written: amplitudes in Hz
already hold their gyromagnetic ratio.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences.block import Block
from ipads_stream.sequences.events import ADC, RF, USES, Gradient
from ipads_stream.sequences.scanner import TINY, Scanner
from ipads_stream.sequences.sequence import Sequence

HARMLESS = ("TRIGGERS", "LABELSET", "LABELINC", "DELAYS")
RASTERS = ("GradientRasterTime", "RadiofrequencyRasterTime", "AdcRasterTime", "BlockDurationRaster")
DIGITS = 10  # of times in s: a file keeps them in us or ns
BLIND = (ValueError, RuntimeError, LookupError, TypeError, AttributeError, AssertionError)


def read_pulseq(
    path: str | Path,
    *,
    scanner: Scanner | None = None,
    B0: float | None = None,
    soft_delays: Mapping[str, float] | None = None,
) -> Sequence:
    """The sequence of a Pulseq file.

    Args:
        path: of the file.
        scanner: whose limits the sequence must keep; None: any that could exist.
        B0: T, for offsets that the file gives in ppm.
        soft_delays: their hint -> s; the others last as long as the file says.

    Raises:
        ValueError: not a Pulseq file, or one that cannot be simulated faithfully, with the reason.
        FileNotFoundError: no such file.

    Source: Layton et al., Magn Reson Med 2017; 77: 1544 (Pulseq); pypulseq.
    """
    path = Path(path)
    minor = _check_text(path, path.read_text(encoding="utf-8", errors="replace"))
    with quiet():
        import pypulseq

        parsed = pypulseq.Sequence()
        try:
            parsed.read(str(path), remove_duplicates=False)
        except BLIND as error:
            raise ValueError(f"{path}: cannot be read as a Pulseq file ({error})") from error
        try:
            parsed.apply_soft_delay(**(soft_delays or {}))
        except ValueError as error:
            raise ValueError(f"soft_delays={dict(soft_delays or {})}: {error}") from error
        blocks = tuple(_blocks(parsed, path, B0))
    if minor < 5:
        blocks = tuple(_with_use(block) for block in blocks)
    definitions = {
        key: value if isinstance(value, str) else np.asarray(value, dtype=np.float64).tolist()
        for key, value in parsed.definitions.items()
        if key not in (*RASTERS, "TotalDuration")
    }
    name = str(definitions.get("Name", path.stem))
    scanner = scanner or _any_scanner(parsed)
    try:
        return Sequence(blocks, name=name, scanner=scanner, definitions=definitions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what pypulseq warns of and prints."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _any_scanner(parsed: Any) -> Scanner:
    """One that plays whatever could exist, on the rasters of the file."""
    return Scanner(
        max_gradient=1.0,
        max_slew=1e5,
        max_b1=1.0,
        rf_dead_time=0.0,
        rf_ringdown_time=0.0,
        adc_dead_time=0.0,
        gradient_raster=float(parsed.grad_raster_time),
        rf_raster=float(parsed.rf_raster_time),
        adc_raster=float(parsed.adc_raster_time),
        block_raster=float(parsed.block_duration_raster),
    )


def _check_text(path: Path, text: str) -> int:
    """The minor version; refuses what pypulseq would misread or not name."""
    version = re.search(r"^\[VERSION\]\s*major\s+(\d+)\s+minor\s+(\d+)", text, re.MULTILINE)
    if version is None:
        raise ValueError(f"{path}: no [VERSION]; a Pulseq file is allowed")
    major, minor = (int(number) for number in version.groups())
    if not (major == 1 and 2 <= minor <= 5):
        raise ValueError(f"{path}: version {major}.{minor}; 1.2 to 1.5 are allowed")
    for name in re.findall(r"^extension\s+(\S+)", text, re.MULTILINE):
        if name not in HARMLESS:
            allowed = ", ".join(HARMLESS)
            raise ValueError(f"{path}: extension {name} is not simulated; allowed are {allowed}")
    return minor


def _blocks(parsed: Any, path: Path, B0: float | None) -> Iterator[Block]:
    """Each event is turned once, however many blocks play it."""
    events: dict[tuple[str, int], Any] = {}
    for number, ids in parsed.block_events.items():
        played = dict(zip(("rf", "gx", "gy", "gz", "adc"), map(int, ids[1:6]), strict=True))
        keys = {name: (name.strip("xyz"), index) for name, index in played.items() if index > 0}
        if any(key not in events for key in keys.values()):
            block = parsed.get_block(number)
            for name, key in keys.items():
                if key not in events:
                    try:
                        events[key] = _event(getattr(block, name), parsed, B0)
                    except BLIND as error:
                        raise ValueError(f"{path}: block {number}: {name}: {error}") from error
        duration = round(float(parsed.block_durations[number]), DIGITS)
        yield Block(duration, **{name: events[key] for name, key in keys.items()})


def _with_use(block: Block) -> Block:
    """A block whose pulse is labelled by what it does; files know the use only from 1.5 on.

    Off resonance without a gradient it saturates; else it excites up to 90 degrees and refocuses
    beyond.
    """
    rf = block.rf
    if rf is None:
        return block
    playing = [
        g
        for g in block.gradients
        if g is not None and g.times[0] < rf.stop - TINY and g.stop > rf.delay + TINY
    ]
    use: Use = "excitation" if rf.flip <= math.radians(90.01) else "refocusing"
    if rf.frequency != 0 and not playing:
        use = "saturation"
    return replace(block, rf=replace(rf, use=use))


def _event(event: SimpleNamespace, parsed: Any, B0: float | None) -> RF | Gradient | ADC | None:
    if event.type == "rf":
        return _rf(event, parsed.rf_raster_time, B0)
    if event.type == "adc":
        return _adc(event, B0)
    return _gradient(event, parsed.grad_raster_time)


def _time(value: Any) -> float:
    return round(float(value), DIGITS)


def _offsets(event: SimpleNamespace, B0: float | None) -> tuple[float, float]:
    """Frequency, Hz, and phase, rad, as the file counts them."""
    if (event.freq_ppm or event.phase_ppm) and B0 is None:
        raise ValueError(f"an offset of {event.freq_ppm} ppm needs B0")
    larmor = 0.0 if B0 is None else GAMMA_BAR_1H * B0 * 1e-6
    return (
        float(event.freq_offset + event.freq_ppm * larmor),
        float(event.phase_offset + event.phase_ppm * larmor),
    )


def _rf(event: SimpleNamespace, raster: float, B0: float | None) -> RF:
    frequency, phase = _offsets(event, B0)
    signal = np.conj(np.asarray(event.signal, dtype=np.complex128)) / GAMMA_BAR_1H
    samples, edges = _cells(signal, np.round(event.t, DIGITS), raster)
    use: Use = event.use if event.use in USES else "other"
    centre = min(_time(event.center), float(edges[-1]))
    return RF(samples, edges, centre, use, _time(event.delay), frequency, -phase)


def _cells(
    signal: Complex[np.ndarray, " n"], t: Float[np.ndarray, " n"], raster: float
) -> tuple[Complex[np.ndarray, " cells"], Float[np.ndarray, " edges"]]:
    """Cells of a pulse: around its samples, or between points joined by straight lines."""
    dwell = 2 * t[0]
    if t[0] > 0 and np.allclose(t, (np.arange(t.size) + 0.5) * dwell, rtol=0, atol=TINY):
        return signal, np.round(np.arange(t.size + 1) * dwell, DIGITS)
    if np.all(signal == signal[0]):
        samples, edges = signal[:1], np.array([t[0], t[-1]])
    else:
        count = max(math.ceil((t[-1] - t[0]) / raster - 1e-6), 1)
        edges = np.linspace(t[0], t[-1], count + 1)
        samples = np.interp(0.5 * (edges[1:] + edges[:-1]), t, signal)
    if t[0] > 0:
        samples, edges = np.append(0j, samples), np.append(0.0, edges)
    return samples, np.round(edges, DIGITS)


def _gradient(event: SimpleNamespace, raster: float) -> Gradient | None:
    if event.type == "trap":
        if event.amplitude == 0:  # also the empty trapezoids of old files
            return None
        parts = {name: _time(getattr(event, f"{name}_time")) for name in ("rise", "flat", "fall")}
        delay = _time(event.delay)
        return Gradient.trapezoid(float(event.amplitude) / GAMMA_BAR_1H, **parts, delay=delay)
    times, heights = np.asarray(event.tt, np.float64), np.asarray(event.waveform, np.float64)
    if times[0] > TINY:  # sampled on the raster, or twice as finely: the ends are given apart
        step = raster if event.time_id == 0 else 2 * times[0]
        end = times[-1] + (times[0] if event.time_id == 0 else 0.5 * step)
        times = np.concatenate([[0.0], times, [end]])
        heights = np.concatenate([[event.first], heights, [event.last]])
    times = np.round(_time(event.delay) + times, DIGITS)
    return Gradient(times, heights.astype(np.float64) / GAMMA_BAR_1H)


def _adc(event: SimpleNamespace, B0: float | None) -> ADC:
    frequency, phase = _offsets(event, B0)
    modulation = np.asarray(event.phase_modulation, dtype=np.float64)
    return ADC(
        int(event.num_samples),
        _time(event.dwell),
        _time(event.delay),
        frequency,
        -(phase + modulation) if modulation.size else -phase,
    )
