"""The data model: what sequences are made of, what is refused, and the steps they become."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.sequences import ADC, RF, Block, Gradient, Scanner, Sequence

IDEAL = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)
PULSE = RF.sampled(np.array([1e-6, 2e-6, 2e-6, 1e-6]) + 0j, 10e-6, use="excitation")
LOBE = Gradient.trapezoid(10e-3, rise=100e-6, flat=1e-3, fall=200e-6)


def steps_of(*blocks):
    return Sequence(tuple(blocks), scanner=IDEAL).waveforms()


def moment(w, upto=None):
    """Integral of the gradient over all steps, or up to each sample."""
    total = np.cumsum(w.gradient * w.dt[:, None], axis=0)
    return total[w.sampled] if upto == "samples" else total[-1]


def test_areas_and_ends():
    assert LOBE.area == pytest.approx(10e-3 * (1e-3 + 150e-6), rel=1e-12)
    assert LOBE.stop == pytest.approx(1.3e-3, abs=1e-15)
    assert LOBE.delayed(1e-3).stop == pytest.approx(2.3e-3, abs=1e-15)
    assert LOBE.scaled(-2.0).area == pytest.approx(-2 * LOBE.area)
    assert PULSE.flip == pytest.approx(GAMMA_1H * 6e-11)
    triangle = Gradient.trapezoid(1e-3, rise=1e-4, flat=0.0, fall=1e-4)
    assert triangle.times.size == 3 and triangle.area == pytest.approx(1e-7)


def test_steps_cover_the_duration_and_keep_every_area():
    adc = ADC(16, 20e-6, delay=130e-6)
    w = steps_of(
        Block(1e-3),
        Block(1.3e-3, gx=LOBE, gz=Gradient.trapezoid(-5e-3, rise=1e-4, flat=0.0, fall=1e-4)),
        Block(2e-3, gx=LOBE, adc=adc),
    )
    assert w.dt.sum() == pytest.approx(4.3e-3, rel=1e-13)
    assert np.all(w.dt > 0)
    np.testing.assert_allclose(moment(w), [2 * LOBE.area, 0, -5e-7], rtol=1e-12, atol=1e-18)
    assert w.sampled.sum() == 16 == w.receiver.size


def test_samples_stand_at_the_middle_of_each_dwell():
    """The moment at a sample is the trapezoid's own integral up to there."""
    adc = ADC(40, 30e-6, delay=50e-6)
    w = steps_of(Block(1e-3), Block(1.4e-3, gy=LOBE, adc=adc))
    t = np.cumsum(w.dt)[w.sampled]
    np.testing.assert_allclose(t, 1e-3 + 50e-6 + (np.arange(40) + 0.5) * 30e-6, rtol=1e-12)
    t = t - 1e-3
    rise = 10e-3 * np.minimum(t, 1e-4) ** 2 / 2e-4
    flat = 10e-3 * np.clip(t - 1e-4, 0, 1e-3)
    into = np.clip(t - 1.1e-3, 0, 2e-4)
    fall = 10e-3 * (into - into**2 / 4e-4)
    np.testing.assert_allclose(moment(w, "samples")[:, 1], rise + flat + fall, rtol=1e-9)


def test_steps_that_play_the_same_are_one():
    w = steps_of(Block(1e-3), Block(2e-3), Block(60e-6, rf=PULSE), Block(1.3e-3, gx=LOBE))
    #  delay | 3 cells (two of the four are equal) | rest of the block | ramp, flat, ramp
    np.testing.assert_allclose(w.dt, [3e-3, 1e-5, 2e-5, 1e-5, 2e-5, 1e-4, 1e-3, 2e-4], rtol=1e-9)
    (pulse,) = w.pulses
    assert (pulse.first, pulse.stop, pulse.use) == (1, 4, "excitation")
    assert pulse.centre == pytest.approx(3.02e-3)


def test_a_sample_keeps_steps_apart():
    w = steps_of(Block(1e-3, adc=ADC(10, 1e-4)))
    np.testing.assert_allclose(w.dt, [5e-5, *[1e-4] * 9, 5e-5], rtol=1e-9)
    assert w.sampled.tolist() == [True] * 10 + [False]


def test_phase_and_frequency_of_pulse_and_receiver():
    """Both turn as exp(-2 pi i f t) from the start of pulse or window."""
    rf = dataclasses.replace(PULSE, frequency=400.0, phase=0.3, delay=20e-6)
    adc = ADC(4, 50e-6, delay=100e-6, frequency=-200.0, phase=0.7)
    w = steps_of(Block(1e-3, rf=rf), Block(1e-3, adc=adc))
    first, stop = w.pulses[0].first, w.pulses[0].stop
    middles = np.cumsum(w.dt)[first:stop] - w.dt[first:stop] / 2 - 20e-6
    np.testing.assert_allclose(
        np.angle(w.b1[first:stop]), 0.3 - 2 * math.pi * 400 * middles, atol=1e-12
    )
    np.testing.assert_allclose(np.abs(w.b1[first:stop]), [1e-6, 2e-6, 2e-6, 1e-6])
    expected = 0.7 + 2 * math.pi * 200 * (np.arange(4) + 0.5) * 50e-6
    np.testing.assert_allclose(w.receiver, expected, rtol=1e-12)


def test_a_pulse_at_a_frequency_turns_spins_of_that_frequency():
    """A hard pulse at +5 kHz flips spins of df = 5 kHz fully, and those of -5 kHz hardly."""
    samples = np.array([math.pi / 2 / (GAMMA_1H * 2e-3)]) + 0j
    rf = RF.sampled(samples, 2e-3, use="excitation", frequency=5000.0)
    w = steps_of(Block(2e-3, rf=rf))
    assert w.dt.size > 1000
    M = np.array([[0.0, 0, 1], [0, 0, 1]])
    out = bloch.evolve(M, w.b1, w.gradient, w.dt, df=np.array([5000.0, -5000.0]), T1=np.inf,
                       T2=np.inf)  # fmt: skip
    assert abs(out[0, 2]) < 1e-4
    assert out[1, 2] > 0.998


def test_a_varying_gradient_under_a_pulse_is_followed():
    """A one-cell pulse on a ramp against the same pulse cut ten times finer."""
    ramp = Gradient(np.array([0.0, 1e-3, 1.1e-3]), np.array([0.0, 5e-3, 0.0]))
    coarse = RF.sampled(np.array([5e-6 + 0j]), 1e-3, use="excitation")
    fine = RF.sampled(np.full(10_000, 5e-6 + 0j) * np.exp(1e-12j * np.arange(10_000)), 1e-7,
                      use="excitation")  # fmt: skip
    position = np.linspace(-0.05, 0.05, 21)[:, None] * np.array([1.0, 0, 0])
    out = []
    for rf in (coarse, fine):
        w = steps_of(Block(1.1e-3, rf=rf, gx=ramp))
        M = np.tile([0.0, 0, 1], (21, 1))
        out.append(bloch.evolve(M, w.b1, w.gradient, w.dt, position=position, df=0.0, T1=np.inf,
                                T2=np.inf))  # fmt: skip
    assert w.dt.size > 9000
    np.testing.assert_allclose(out[0], out[1], atol=1e-5)


def test_blocks_with_the_same_events_are_the_same_steps():
    """Repeats come from the cache; their phases do not."""
    blocks = [Block(100e-6, rf=PULSE.turned(phase)) for phase in (0.0, 1.0, 2.0)]
    w = steps_of(*blocks)
    each = np.array([w.b1[pulse.first : pulse.stop] for pulse in w.pulses])
    np.testing.assert_allclose(each[1:], each[0] * np.exp(1j * np.array([[1.0], [2.0]])))
    assert [pulse.centre for pulse in w.pulses] == pytest.approx([2e-5, 1.2e-4, 2.2e-4])


def test_a_gradient_that_goes_on_in_the_next_block():
    up = Gradient(np.array([0.0, 1e-4]), np.array([0.0, 10e-3]))
    on = Gradient(np.array([0.0, 1e-3]), np.array([10e-3, 10e-3]))
    down = Gradient(np.array([0.0, 1e-4]), np.array([10e-3, 0.0]))
    w = steps_of(Block(1e-4, gx=up), Block(1e-3, gx=on), Block(2e-4, gx=down))
    np.testing.assert_allclose(w.gradient[:, 0], [5e-3, 10e-3, 5e-3, 0], atol=1e-18)
    assert moment(w)[0] == pytest.approx(1.1e-5)


EVENTS = {
    r"RF.samples=\(?nan": lambda: RF.sampled(np.array([np.nan + 0j]), 1e-6, use="other"),
    r"RF.delay=-1e-06": lambda: RF.sampled(np.array([0j]), 1e-6, use="other", delay=-1e-6),
    r"RF.centre=1.0": lambda: dataclasses.replace(PULSE, centre=1.0),
    r"RF.edges\[1\]=0.0": lambda: RF(np.zeros(1, complex), np.zeros(2), 0.0, "other"),
    r"Gradient.rise=-0.1": lambda: Gradient.trapezoid(1.0, rise=-0.1, flat=0.0, fall=0.1),
    r"Gradient.amplitudes=inf": lambda: Gradient(np.array([0.0, 1.0]), np.array([0.0, np.inf])),
    r"Gradient.times\[1\]=0.0": lambda: Gradient.trapezoid(1.0, rise=0.0, flat=1.0, fall=1.0),
    r"ADC.num_samples=0": lambda: ADC(0, 1e-5),
    r"ADC.dwell=0": lambda: ADC(4, 0.0),
    r"ADC.phase=\(3,\)": lambda: ADC(4, 1e-5, phase=np.zeros(3)),
    r"Block.duration=-1": lambda: Block(-1.0),
    r"Block.gx.stop=0.0013": lambda: Block(1e-3, gx=LOBE),
    r"Block.adc.stop=0.002": lambda: Block(1e-3, adc=ADC(20, 1e-4)),
    r"Block.rf.stop=4e-05": lambda: Block(39e-6, rf=PULSE),
}


@pytest.mark.parametrize("message", EVENTS)
def test_events_that_make_no_sense(message):
    with pytest.raises(ValueError, match=message):
        EVENTS[message]()


STEEP = Gradient.trapezoid(10e-3, rise=50e-6, flat=1e-3, fall=100e-6)
HIGH = Gradient.trapezoid(50e-3, rise=500e-6, flat=1e-3, fall=500e-6)
OPEN = Gradient(np.array([0.0, 1e-3]), np.array([0.0, 10e-3]))
LATER = Gradient(np.array([1e-4, 1e-3]), np.array([10e-3, 0.0]))
LOUD = RF.sampled(np.array([31e-6 + 0j]), 1e-3, use="other", delay=100e-6)
QUIET = dataclasses.replace(PULSE, delay=100e-6)
SEQUENCES = {
    "blocks=0.0 s: more than 0 s together": (),
    "samples=100000001: at most 100000000": (Block(1e3, adc=ADC(100_000_001, 1e-6, 1e-3)),),
    "block 1: gy: slew 200": (Block(1e-3), Block(1.5e-3, gy=STEEP)),
    "block 0: gx: 0.05 T/m: at most max_gradient=0.04": (Block(2e-3, gx=HIGH),),
    "block 0: rf: 3.1e-05 T: at most max_b1": (Block(2e-3, rf=LOUD),),
    "block 0: rf: delay 0.0 s: at least rf_dead_time": (Block(1e-3, rf=PULSE),),
    "block 0: rf: .* at least rf_ringdown_time": (Block(141e-6, rf=QUIET),),
    "block 0: adc: delay 0.0": (Block(1e-3, adc=ADC(4, 1e-5)),),
    "block 0: adc: .* after it": (Block(100e-6, adc=ADC(9, 1e-5, delay=10e-6)),),
    "block 1: gz: starts at 0.0 T/m: 0.01 T/m": (Block(1e-3, gz=OPEN), Block(1e-3)),
    "block 0: gz: ends at 0.01 T/m before": (Block(2e-3, gz=OPEN),),
    "block 0: gx: starts at 0.01 T/m after": (Block(1e-3, gx=LATER),),
    "last block: gx: ends at 0.01": (Block(1e-3, gx=OPEN),),
}


@pytest.mark.parametrize("message", SEQUENCES)
def test_sequences_that_a_scanner_cannot_play(message):
    with pytest.raises(ValueError, match=message):
        Sequence(SEQUENCES[message])


def test_the_scanner_makes_blocks_as_long_as_needed():
    scanner = Scanner()
    assert scanner.block(rf=QUIET).duration == pytest.approx(160e-6)
    assert scanner.block(gx=LOBE, adc=ADC(130, 1e-5, delay=1e-5)).duration == pytest.approx(1.32e-3)
    assert scanner.block(duration=1.001e-3).duration == pytest.approx(1.01e-3)
    Sequence((scanner.block(rf=QUIET), scanner.block(gx=LOBE, adc=ADC(8, 1e-5, 1e-4))))


def test_k_space_of_a_readout():
    """Samples on the flat top are 1 / FOV apart."""
    flat = 1 / (GAMMA_BAR_1H * 0.2 * 10e-6)
    readout = Gradient.trapezoid(flat, rise=1e-4, flat=1e-3, fall=1e-4)
    w = steps_of(Block(1.2e-3, gx=readout, adc=ADC(100, 10e-6, delay=1e-4)))
    k = GAMMA_BAR_1H * moment(w, "samples")[:, 0]
    np.testing.assert_allclose(np.diff(k), 1 / 0.2, rtol=1e-9)


def test_the_model_is_light_to_import():
    """Nothing that draws or compiles, until a picture is drawn."""
    program = (
        "import sys; import ipads_stream.sequences;"
        "heavy = {'matplotlib', 'numba', 'scipy', 'torch', 'cupy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
