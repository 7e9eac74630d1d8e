"""From blocks to steps: the form in which a sequence reaches the simulators.

Steps end at edges of RF cells, knots of gradients and samples. Without RF the mean of a gradient
over a step is exact. Under RF a step is no longer than CELL where a gradient varies, and the phase
of an offset pulse turns by no more than TURN in it, which shortens the flip by TURN^2 / 24 = 4e-5
at most. Where that would take more than FRAMED steps, the pulse stands in its own frame instead,
in which its phase does not turn. Neighbouring steps that play the same are one; blocks that do are
worked out once.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.waveforms import Pulse, Use, Waveforms
from ipads_stream.sequences.events import RF, Block, Gradient

SAME = 1e-10  # s; closer edges are one
ALIKE = 1e-13  # of the largest gradient; closer means of neighbours differ by roundings
CELL = 1e-6  # s
TURN = 1 / 32  # rad
FRAMED = 20_000  # steps of a pulse
FEWER = 10  # times as many as cells, else a frame is not worth it
MOST = 100_000_000  # steps of a sequence, which take some 5 GB

# dt (K,), b1 (K,), mean gradient (K, 3), whether a sample ends each step (K,), steps of the pulse
Steps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, int] | None]


def waveforms_of(blocks: Sequence[Block]) -> Waveforms:
    """Steps of blocks in a row, at most MOST."""
    cache: dict[Hashable, Steps] = {}
    parts: list[tuple[np.ndarray, ...]] = []
    receivers, played = [np.zeros(0)], []
    start, first_step = 0.0, 0
    for block in blocks:
        key, rf = _key(block), block.rf
        if key not in cache:
            cache[key] = _steps(block)
        dt, b1, gradient, sampled, span = cache[key]
        parts.append((b1 if rf is None else b1 * np.exp(1j * rf.phase), gradient, dt, sampled))
        if block.adc is not None:
            receivers.append(block.adc.receiver)
        if rf is not None and span is not None:
            begin, end = (first_step + step for step in span)
            played.append((begin, end, start + rf.delay + rf.centre, rf.use, _frame(rf)))
        start += block.duration
        first_step += dt.size
        _check_count(first_step)
    b1, gradient, dt, sampled = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _merged(b1, gradient, dt, sampled, np.concatenate(receivers), played)


def _check_count(count: int) -> None:
    if count > MOST:
        raise ConfigError("steps", count, f"a sequence of at most {MOST} steps")


def _key(block: Block) -> Hashable:
    """What decides the steps but for phases; arrays, which live as long, by identity."""
    rf, adc = block.rf, block.adc
    pulse = None if rf is None else (id(rf.samples), id(rf.edges), rf.delay, rf.frequency)
    window = None if adc is None else (adc.num_samples, adc.dwell, adc.delay)
    knots = tuple(None if g is None else (id(g.times), id(g.amplitudes)) for g in block.gradients)
    return pulse, knots, window, block.duration


def _steps(block: Block) -> Steps:
    """Of one block: lengths, RF without its phase, mean gradients, samples, steps of the pulse."""
    # The line through the centre is encoded by a gradient of no amplitude: its knots are none.
    gradients = [g if g is None or g.amplitudes.any() else None for g in block.gradients]
    times = [np.array([0.0, block.duration])]
    times += [g.times for g in gradients if g is not None]
    if block.adc is not None:
        times.append(block.adc.times)
    if block.rf is not None:
        times.append(block.rf.delay + _cells(block.rf, gradients))
    edges = np.sort(np.concatenate(times))
    edges = edges[np.diff(edges, prepend=-1.0) > SAME]
    middles = 0.5 * (edges[1:] + edges[:-1])
    means = np.zeros((middles.size, 3))
    for axis, gradient in enumerate(gradients):
        if gradient is not None:
            values = np.interp(edges, gradient.times, gradient.amplitudes)
            inside = (middles > gradient.times[0]) & (middles < gradient.times[-1])
            means[:, axis] = np.where(inside, 0.5 * (values[1:] + values[:-1]), 0.0)
    sampled = np.zeros(middles.size, dtype=np.bool_)
    if block.adc is not None:
        sampled[np.searchsorted(edges, block.adc.times - SAME) - 1] = True
    b1 = np.zeros(middles.size, dtype=np.complex128)
    span = None
    if block.rf is not None:
        since = middles - block.rf.delay
        inside = np.flatnonzero((since > 0) & (since < block.rf.duration))
        span = (int(inside[0]), int(inside[-1]) + 1)
        since = since[inside]
        cell = np.searchsorted(block.rf.edges, since, side="right") - 1
        turning = block.rf.frequency - _frame(block.rf)
        b1[inside] = block.rf.samples[cell] * np.exp(-2j * math.pi * turning * since)
    # Steps that are meant to be of one length are, to the last bit: kernels group them by it.
    return np.round(np.diff(edges), 14), b1, means, sampled, span


def _frame(rf: RF) -> float:
    """Frequency of the frame in which a pulse stands, Hz; 0 for the nominal one."""
    steps = 2 * math.pi * abs(rf.frequency) * rf.duration / TURN
    return rf.frequency if steps > max(FRAMED, FEWER * rf.samples.size) else 0.0


def _cells(rf: RF, gradients: Sequence[Gradient | None]) -> Float[np.ndarray, " edges"]:
    """Edges of the pulse's cells, finer where its phase or a gradient varies within them."""
    lengths = np.diff(rf.edges)
    turns = 2 * math.pi * abs(rf.frequency - _frame(rf)) * lengths / TURN
    varying = np.zeros(lengths.size, dtype=np.bool_)
    for gradient in gradients:
        if gradient is not None:
            ramps = np.flatnonzero(np.diff(gradient.amplitudes) != 0)
            for ramp in ramps[gradient.times[ramps] < rf.stop]:
                begin, end = gradient.times[ramp : ramp + 2] - rf.delay
                varying |= (rf.edges[1:] > begin + SAME) & (rf.edges[:-1] < end - SAME)
    parts = np.where(varying, np.maximum(turns, lengths / CELL), turns)
    _check_count(int(parts.sum()))
    parts = np.maximum(np.ceil(parts - 1e-6), 1).astype(np.int64)
    if np.all(parts == 1):
        return rf.edges
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    finer = np.repeat(rf.edges[:-1], parts) + within * np.repeat(lengths / parts, parts)
    return np.append(finer, rf.edges[-1])


def _merged(
    b1: Complex[np.ndarray, " K"],
    gradient: Float[np.ndarray, "K 3"],
    dt: Float[np.ndarray, " K"],
    sampled: Bool[np.ndarray, " K"],
    receiver: Float[np.ndarray, " S"],
    played: list[tuple[int, int, float, Use, float]],
) -> Waveforms:
    """Joins steps of one RF and one gradient, but not across a sample or the end of a pulse."""
    pulse = np.zeros(dt.size, dtype=np.int64)
    for number, (begin, end, *_) in enumerate(played):
        pulse[begin:end] = number + 1
    largest = np.max(np.abs(gradient), axis=0, initial=0.0)
    same = np.all(np.abs(np.diff(gradient, axis=0)) <= ALIKE * largest, axis=1)
    same &= (b1[1:] == b1[:-1]) & (pulse[1:] == pulse[:-1]) & ~sampled[:-1]
    begins = np.append(True, ~same)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], dt.size) - 1
    step = np.cumsum(begins) - 1
    pulses = tuple(
        Pulse(int(step[begin]), int(step[end - 1]) + 1, centre, use, frame)
        for begin, end, centre, use, frame in played
    )
    dt = np.add.reduceat(dt, first)
    return Waveforms(b1[first], gradient[first], dt, sampled[last], receiver, pulses)
