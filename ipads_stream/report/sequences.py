"""Pictures of a pulse sequence: its diagram and its path through k-space."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.physics.bloch import pathway
from ipads_stream.physics.waveforms import Waveforms
from ipads_stream.report.figures import BLACK, BLUE, GREEN, GREY, VERMILION, drawing
from ipads_stream.sequences import Block, Sequence

COLOURS = (BLUE, GREEN, VERMILION)
REPEATS = 128  # repetitions drawn behind the one in front
POINTS = 300_000  # samples drawn of a path
LEAD = 4  # a preparation is shown for so many times what follows its excitation


@dataclass(frozen=True)
class Span:
    """The repetition that a diagram shows.

    Attributes:
        start, stop: s.
        number: of the repetition, counted from 1.
        starts: of all repetitions, s.
        excited: begins of the excitation of each, s.
    """

    start: float
    stop: float
    number: int
    starts: tuple[float, ...]
    excited: tuple[float, ...]

    @property
    def lead(self) -> float:
        """Time shown before the excitation, s."""
        return self.excited[self.number - 1] - self.start

    @property
    def label(self) -> str:
        """Of an axis of times in it."""
        return "time (ms)" if self.start == 0 else f"time after {_time(self.start)} (ms)"


def preview_sequence(sequence: Sequence, output: Path) -> list[Path]:
    """PNG files in ``output``: the diagram of one repetition, and k-space where there is one."""
    waveforms = sequence.waveforms()
    output.mkdir(parents=True, exist_ok=True)
    paths = [diagram(sequence, waveforms, output / "diagram.png")]
    if waveforms.sampled.any():
        paths.append(k_space(sequence, waveforms, output / "k_space.png"))
    return paths


def span_of(sequence: Sequence, waveforms: Waveforms) -> Span:
    """The first repetition in which something is measured, to the last that happens in it.

    A repetition begins with the block of an excitation; before the first, with the sequence. Where
    all excitations precede all samples, as in MOLED, there is one. A preparation that lasts much
    longer than what follows it is shown from later on.
    """
    begins = np.cumsum([0.0, *(block.duration for block in sequence.blocks)])
    is_excitation = [b.rf is not None and b.rf.use == "excitation" for b in sequence.blocks]
    excited = np.append(begins[:-1][is_excitation], [] if any(is_excitation) else 0.0)
    ends = np.cumsum(waveforms.dt)
    samples = ends[waveforms.sampled]
    starts = np.append(0.0, excited[1:])
    if samples.size and starts[-1] < samples[0]:
        starts, excited = np.zeros(1), excited[:1]
    number = int(np.searchsorted(starts, samples[0], side="right")) - 1 if samples.size else 0
    start = float(starts[number])
    stop = float(starts[number + 1]) if number + 1 < starts.size else sequence.duration
    busy = (waveforms.b1 != 0) | waveforms.gradient.any(axis=1) | waveforms.sampled
    busy &= (ends > start) & (ends < stop + 1e-9)
    last = float(ends[busy].max()) if busy.any() else stop
    first = float(excited[number])
    if first - start > LEAD * (last - first) > 0:
        start = first - LEAD * (last - first)
    stop = min(stop, last + 0.03 * (last - start))
    return Span(start, stop, number + 1, tuple(starts.tolist()), tuple(excited.tolist()))


def diagram(sequence: Sequence, waveforms: Waveforms, path: Path) -> Path:
    """RF amplitude and phase, gradients and windows of one repetition; the others in grey."""
    span = span_of(sequence, waveforms)
    title = f"{sequence.name}: {_time(sequence.duration)}, {sequence.num_samples} samples"
    if len(span.starts) > 1:
        title += f"; repetition {span.number} of {len(span.starts)}, the others in grey"
    if uses := sequence.definitions.get("PulseUses"):
        title += f"\nuses of pulses as decided, not as written: {textwrap.shorten(uses, 60)}"
    with drawing(path, 6, 1, height=8.4, share=(True, False)) as axes:
        rows = [row[0] for row in axes]
        _pulses(rows[0], rows[1], sequence, span)
        for axis, row in enumerate(rows[2:5]):
            _gradient(row, sequence, axis, span)
        for start, block in _timed_blocks(sequence):
            if (adc := block.adc) is not None and span.start <= start < span.stop:
                window = 1e3 * (start - span.start + adc.delay), 1e3 * adc.num_samples * adc.dwell
                rows[5].broken_barh([window], (0, 1), color=BLACK, alpha=0.75, lw=0)
        rows[0].set_title(title)
        rows[5].set(ylim=(0, 1.3), yticks=[], ylabel="ADC", xlabel=span.label,
                    xlim=(0, 1e3 * (span.stop - span.start)))  # fmt: skip
        rows[0].get_figure().align_ylabels(rows)
    return path


def _time(seconds: float) -> str:
    return f"{seconds:.4g} s" if seconds >= 1 else f"{1e3 * seconds:.4g} ms"


def _pulses(amplitude: Any, phase: Any, sequence: Sequence, span: Span) -> None:
    for start, block in _timed_blocks(sequence):
        rf = block.rf
        if rf is not None and span.start < start + rf.stop and start < span.stop:
            edges = rf.edges
            if edges.size == 2:  # a rectangle: enough points for the phase of an offset
                edges = np.linspace(0, rf.duration, 200)
            middles = 0.5 * (edges[1:] + edges[:-1])
            cell = np.searchsorted(rf.edges, middles, side="right") - 1
            turn = rf.phase - 2 * math.pi * rf.frequency * middles
            b1 = rf.samples[cell] * np.exp(1j * turn)
            t = 1e3 * (start - span.start + rf.delay + edges)
            amplitude.stairs(1e6 * np.abs(b1), t, fill=True, color=GREY, alpha=0.4)
            amplitude.stairs(1e6 * np.abs(b1), t, color=BLACK, lw=1.0)
            shown = np.abs(b1) > 1e-3 * np.max(np.abs(b1), initial=0.0)
            degrees = np.where(shown, np.degrees(np.angle(b1)), np.nan)
            degrees[degrees < -179.99] = 180.0
            phase.plot(1e3 * (start - span.start + rf.delay + middles), degrees, ".", ms=2, c=BLACK)
    amplitude.set_ylabel("RF (µT)")
    amplitude.set_ylim(bottom=0)
    phase.set(ylabel="phase (°)", ylim=(-200, 200), yticks=[-180, 0, 180])


def _gradient(axis: Any, sequence: Sequence, number: int, span: Span) -> None:
    times, heights = gradient_curve(sequence, number)
    length = span.stop - span.start
    stops = (*span.starts[1:], times[-1])
    for n, (excited, stop) in enumerate(list(zip(span.excited, stops, strict=True))[:REPEATS]):
        if n + 1 != span.number:
            near = _within(times, excited, min(excited + length - span.lead, stop))
            t = times[near] - excited + span.lead
            axis.plot(1e3 * t, 1e3 * heights[near], c=GREY, lw=0.5, alpha=0.35)
    near = _within(times, span.start, span.stop)
    shown = 1e3 * (times[near] - span.start), 1e3 * heights[near]
    axis.plot(*shown, c=COLOURS[number], lw=1.3)
    axis.fill_between(*shown, color=COLOURS[number], alpha=0.15, lw=0)
    axis.axhline(0, c=BLACK, lw=0.5)
    largest = max(1e3 * float(np.max(np.abs(heights), initial=0.0)), 1.0)
    axis.set(ylim=(-1.15 * largest, 1.15 * largest), ylabel=f"$G_{'xyz'[number]}$ (mT/m)")


def _timed_blocks(sequence: Sequence) -> Iterator[tuple[float, Block]]:
    """Each block with the time at which it starts, s."""
    starts = itertools.accumulate((block.duration for block in sequence.blocks), initial=0.0)
    return zip(starts, sequence.blocks, strict=False)


def _within(times: Float[np.ndarray, " n"], start: float, stop: float) -> slice:
    """Of the points, those within and one at either side."""
    first, last = np.searchsorted(times, [start, stop])
    return slice(max(int(first) - 1, 0), int(last) + 1)


def gradient_curve(
    sequence: Sequence, axis: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Knots of one gradient over the whole sequence: times, s, and amplitudes, T/m."""
    drawn = ((start, block.gradients[axis]) for start, block in _timed_blocks(sequence))
    shapes = [(start + g.times, g.amplitudes) for start, g in drawn if g is not None]
    stop = sum(block.duration for block in sequence.blocks)
    ends = [(np.zeros(1), np.zeros(1)), *shapes, (np.array([stop]), np.zeros(1))]
    times, heights = zip(*ends, strict=True)
    return np.concatenate(times), np.concatenate(heights)


def k_space(sequence: Sequence, waveforms: Waveforms, path: Path) -> Path:
    """Where samples lie in k-space, counted from the excitation before them, and when."""
    try:
        k = pathway.along(waveforms, memory=0.0).k
    except ValueError as error:
        with drawing(path, 1, 1, height=2.0) as axes:
            axes[0, 0].set_axis_off()
            axes[0, 0].set_title(f"{sequence.name}: no single path through k-space")
            axes[0, 0].text(0, 0.5, str(error), wrap=True, va="center")
        return path
    times = np.cumsum(waveforms.dt)[waveforms.sampled]
    with drawing(path, 1, 2, height=4.6) as axes:
        axes[0, 0].set_title(f"{sequence.name}: {k.shape[0]} samples in k-space")
        _plane(axes[0, 0], k, times)
        _course(axes[0, 1], k, times, span_of(sequence, waveforms))
    return path


def _plane(axis: Any, k: Float[np.ndarray, "S 3"], times: Float[np.ndarray, " S"]) -> None:
    """The two directions in which k spreads most; the colour is time."""
    across, up = sorted(np.argsort(-np.ptp(k, axis=0), kind="stable")[:2].tolist())
    thinned = slice(None, None, -(-k.shape[0] // POINTS))
    unit, factor = ("s", 1.0) if times[-1] > 10 else ("ms", 1e3)
    marks = axis.scatter(k[thinned, across], k[thinned, up], c=factor * times[thinned], s=3, lw=0)
    axis.get_figure().colorbar(marks, ax=axis, shrink=0.8, label=f"time of the sample ({unit})")
    axis.set_aspect("equal", adjustable="datalim")
    axis.set(xlabel=f"$k_{'xyz'[across]}$ (1/m)", ylabel=f"$k_{'xyz'[up]}$ (1/m)")


def _course(
    axis: Any, k: Float[np.ndarray, "S 3"], times: Float[np.ndarray, " S"], span: Span
) -> None:
    """k at the samples of one repetition, joined within a window."""
    shown = (times > span.start) & (times <= span.stop)
    k, t = k[shown], times[shown] - span.start
    gaps = np.diff(t)
    breaks = np.flatnonzero(gaps > 1.5 * np.min(gaps, initial=np.inf)) + 1
    t = np.insert(1e3 * t, breaks, np.nan)
    style = "-" if breaks.size < k.shape[0] - 1 else "."
    for number, colour in enumerate(COLOURS):
        values = np.insert(k[:, number], breaks, np.nan)
        axis.plot(t, values, style, lw=1.2, c=colour, label=f"$k_{'xyz'[number]}$")
    title = f"repetition {span.number} of {len(span.starts)}"
    axis.set(title=title, xlabel=span.label, ylabel="k (1/m)")
    axis.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
