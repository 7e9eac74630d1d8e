"""Random sequences: their steps hold the integrals of what the blocks say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.sequences import ADC, RF, Block, Gradient, Scanner, Sequence

SCANNER = Scanner(max_slew=1e4, rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)
US = 1e-6


@st.composite
def gradients(draw, microseconds):
    knots = draw(st.lists(st.integers(0, microseconds // 10), min_size=3, max_size=6, unique=True))
    heights = draw(st.lists(st.floats(-0.03, 0.03), min_size=len(knots), max_size=len(knots)))
    heights[0] = heights[-1] = 0.0
    return Gradient(np.array(sorted(knots)) * 10 * US, np.array(heights))


@st.composite
def blocks(draw):
    microseconds = draw(st.integers(40, 400)) * 10
    axes = [draw(st.none() | gradients(microseconds)) for _ in range(3)]
    rf = adc = None
    played = draw(st.sampled_from(["rf", "adc", "neither"]))
    if played == "rf":
        count = draw(st.integers(1, 20))
        parts = draw(st.lists(st.floats(-1, 1), min_size=2 * count, max_size=2 * count))
        samples = 1e-5 * (np.array(parts[:count]) + 1j * np.array(parts[count:]))
        rf = RF.sampled(
            samples,
            10 * US,
            use="other",
            delay=draw(st.integers(0, 200)) * US,
            frequency=draw(st.sampled_from([0.0, 3e3, -2e4])),
            phase=draw(st.floats(-7, 7)),
        )
    elif played == "adc":
        adc = ADC(draw(st.integers(1, 30)), 5.3 * US, delay=draw(st.integers(0, 200)) * US)
    return Block(microseconds * US, rf=rf, gx=axes[0], gy=axes[1], gz=axes[2], adc=adc)


def integral(sequence, axis, times):
    """Of the gradient up to times, between all knots of the whole sequence in a row."""
    start, knots, heights = 0.0, [0.0], [0.0]
    for block in sequence.blocks:
        gradient = block.gradients[axis]
        if gradient is not None:
            knots.extend(start + gradient.times)
            heights.extend(gradient.amplitudes)
        start += block.duration
    knots, heights = np.append(knots, start), np.append(heights, 0.0)
    points = np.sort(np.concatenate([knots, times]))
    values = np.interp(points, knots, heights)
    total = np.append(0, np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(points)))
    return np.interp(times, points, total)


@settings(max_examples=150, deadline=None)
@given(played=st.lists(blocks(), min_size=1, max_size=5))
def test_steps_hold_the_integrals(played):
    sequence = Sequence(tuple(played), scanner=SCANNER)
    w = sequence.waveforms()
    assert np.all(w.dt > 0) and np.isfinite(w.b1).all() and np.isfinite(w.gradient).all()
    assert abs(w.dt.sum() - sequence.duration) < 1e-11
    ends = np.cumsum(w.dt)
    starts = np.cumsum([0.0, *(block.duration for block in played)])
    expected = [t + b.adc.times for t, b in zip(starts, played, strict=False) if b.adc is not None]
    times = np.concatenate([*expected, [sequence.duration]])
    np.testing.assert_allclose(ends[w.sampled], times[:-1], rtol=0, atol=1e-11)
    moments = np.cumsum(w.gradient * w.dt[:, None], axis=0)
    at = np.append(np.flatnonzero(w.sampled), w.dt.size - 1)
    for axis in range(3):
        np.testing.assert_allclose(moments[at, axis], integral(sequence, axis, times), atol=1e-14)
    pulses = [block.rf for block in played if block.rf is not None]
    assert len(pulses) == len(w.pulses)
    for rf, pulse in zip(pulses, w.pulses, strict=True):
        steps = slice(pulse.first, pulse.stop)
        assert abs(w.dt[steps].sum() - rf.duration) < 1e-11
        # The energy does not depend on phase and frequency.
        energy = np.sum(np.abs(w.b1[steps]) ** 2 * w.dt[steps])
        np.testing.assert_allclose(energy, np.sum(np.abs(rf.samples) ** 2) * 10 * US, rtol=1e-7)
    outside = np.ones(w.dt.size, bool)
    for pulse in w.pulses:
        outside[pulse.first : pulse.stop] = False
    assert not w.b1[outside].any()
