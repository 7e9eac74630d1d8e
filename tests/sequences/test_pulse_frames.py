"""Long pulses far off resonance: a few steps in their own frame, as many small ones would give."""

import dataclasses
import math

import numpy as np
import pytest

from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import single_shot
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.physics.bloch.sequence_signal_formula import signal_formula
from ipads_stream.sequences import ADC, RF, Block, Gradient, Scanner, Sequence, steps

FREE = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)
PULSE = RF.sampled(
    np.array([4e-7 + 1e-7j]), 0.05, use="excitation", frequency=2500.0, phase=0.4, delay=2e-4
)
LOBE = Gradient.trapezoid(5e-3, rise=1e-4, flat=1e-3, fall=1e-4)
SEQUENCE = Sequence(
    (
        Block(0.06, rf=PULSE),
        Block(2e-3, gx=LOBE),
        Block(0.06, rf=dataclasses.replace(PULSE, phase=1.0), gy=LOBE),
        Block(2e-2, adc=ADC(20, 1e-3)),
    ),
    scanner=FREE,
)  # fmt: skip


def phantom():
    rng = np.random.default_rng(0)
    df = 2500 + rng.normal(0, 20, 12)
    return Phantom(position=rng.uniform(-0.1, 0.1, (12, 3)), df=df, T1=1.0, T2=0.08)


def test_a_frame_gives_what_many_small_steps_tend_to(monkeypatch):
    waveforms = SEQUENCE.waveforms()
    assert [pulse.frame for pulse in waveforms.pulses] == [2500.0, 2500.0]
    assert waveforms.b1.size < 5000  # of which most are under the varying gradient
    framed = bloch.signal(SEQUENCE, phantom())
    monkeypatch.setattr(steps, "FRAMED", math.inf)
    errors = []
    for turn in (1 / 32, 1 / 128):
        monkeypatch.setattr(steps, "TURN", turn)
        many = SEQUENCE.waveforms()
        assert not any(pulse.frame for pulse in many.pulses)
        errors.append(np.abs(bloch.signal(many, phantom()) - framed).max())
    assert np.abs(framed).max() > 1
    assert errors[1] < 1e-4
    assert errors[1] < errors[0] / 8  # second order in the turn


def test_the_formula_turns_into_the_frame_and_back():
    np.testing.assert_allclose(
        signal_formula(SEQUENCE, phantom()), bloch.signal(SEQUENCE, phantom()), atol=1e-9
    )


def test_seconds_of_saturation_are_one_step():
    rf = RF.sampled(np.array([2e-6 + 0j]), 5.0, use="saturation", frequency=-38e3)
    waveforms = Sequence((Block(5.0, rf=rf), Block(1e-3)), scanner=FREE).waveforms()
    assert waveforms.b1.size == 2
    np.testing.assert_array_equal(waveforms.dt, [5.0, 1e-3])


def test_a_shot_in_parts_takes_no_frames():
    with pytest.raises(ValueError, match="pulses: one in a frame of its own"):
        single_shot.parts_of(SEQUENCE)
