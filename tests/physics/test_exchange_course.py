"""Exchanging pools along a sequence: z-spectra by files, and what one readout leaves the next."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.exchange import Semisolid, Solute, Water, magnetisation, z_spectrum
from ipads_stream.physics.exchange.course import MOST_CELLS
from ipads_stream.sequences import (
    ADC,
    RF,
    Block,
    Gradient,
    Scanner,
    Sequence,
    read_pulseq,
    write_pulseq,
)

B0 = 3.0
POOLS = [
    Water(T1=1.3, T2=0.04),
    *(
        Solute(fraction=f, T1=1.0, T2=0.1, exchange=k, shift_ppm=shift)
        for f, k, shift in (
            (1e-3, 50.0, 3.5), (2e-3, 500.0, 3.0), (3e-3, 1e3, 2.0), (4e-3, 20.0, -3.0),
            (1e-3, 30.0, -1.6),
        )
    ),
    Semisolid(fraction=0.13, T1=1.0, T2=9e-6, exchange=23.0),
]  # fmt: skip
OFFSETS = np.array([-4.0, -0.5, 0.0, 2.0, 3.5])
SHAPE = 2e-6 * np.exp(-(np.linspace(-2, 2, 100) ** 2)) * np.exp(0.3j) + 0j
LONG, GAP, NUMBER = 50e-3, 5e-3, 4
FREE = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)
READ = Block(1e-3, adc=ADC(1, 1e-3))
SPOIL = Block(GAP, gz=Gradient.trapezoid(10e-3, rise=1e-4, flat=3e-3, fall=1e-4))


def train_of(offset, gap, oscillator, samples=SHAPE, rest=()):
    """Pulses at an offset, ppm, which keep the phase where the last ended, or that of a wave."""
    f = offset * 1e-6 * GAMMA_BAR_1H * B0
    time = LONG if oscillator == "halted" else LONG + gap.duration
    blocks = list(rest)
    for n in range(NUMBER):
        phase = -2 * math.pi * math.fmod(f * n * time, 1.0)
        rf = RF.sampled(samples, LONG / samples.size, use="saturation", frequency=f, phase=phase)
        blocks += [Block(LONG, rf=rf), gap]
    return [*blocks, READ]


NOTHING = Block(GAP)


def spectrum_sequence(gap=NOTHING, oscillator="halted", samples=SHAPE, rest=()):
    blocks = [block for x in OFFSETS for block in train_of(x, gap, oscillator, samples, rest)]
    return Sequence(tuple(blocks), scanner=FREE)


@pytest.mark.parametrize("oscillator", ["halted", "continuous"])
@pytest.mark.parametrize("spoiled", [False, True])
def test_a_file_of_a_z_spectrum_gives_that_of_the_kernel(oscillator, spoiled, tmp_path):
    train = {"amplitude": SHAPE, "duration": LONG, "gap": GAP, "number": NUMBER,
             "oscillator": oscillator, "spoiled": spoiled}  # fmt: skip
    expected = z_spectrum(POOLS, OFFSETS, train, B0)
    sequence = spectrum_sequence(SPOIL if spoiled else NOTHING, oscillator)
    M = magnetisation(sequence, POOLS, B0, reset=True)
    assert M.shape == (OFFSETS.size, len(POOLS), 3)
    np.testing.assert_allclose(M[:, 0, 2], expected, rtol=0, atol=1e-12)
    path = write_pulseq(sequence, tmp_path / "z.seq")
    again = magnetisation(read_pulseq(path), POOLS, B0, reset=True)
    np.testing.assert_allclose(again, M, rtol=0, atol=1e-11)
    assert np.ptp(expected) > 0.5


def test_magnetisation_is_carried_from_one_readout_to_the_next():
    """Each train starts from what the last left and recovered: Mz of the water alone is known."""
    water, rest = [Water(T1=1.3, T2=0.04)], 0.5
    sequence = spectrum_sequence(SPOIL, rest=[Block(rest)])
    M = magnetisation(sequence, water, B0)[:, 0, 2]
    fresh = magnetisation(sequence, water, B0, reset=True)[:, 0, 2]
    assert fresh[0] == pytest.approx(M[0], abs=1e-12)
    assert np.abs(fresh - M)[1:].min() > 1e-3
    train = {"amplitude": SHAPE, "duration": LONG, "gap": GAP, "number": NUMBER,
             "oscillator": "halted", "spoiled": True}  # fmt: skip
    z = 1.0
    for n, offset in enumerate(OFFSETS):
        # What is read is in the frame of its own block, which lasts as long as the window.
        z = 1 + (z - 1) * math.exp(-(rest + (n > 0) * READ.duration) / 1.3)
        (z,) = z_spectrum(water, [offset], train, B0, Mz0=z)
        assert M[n] == pytest.approx(z, abs=1e-12)


def test_without_exchange_spins_are_those_of_the_bloch_equation():
    rng = np.random.default_rng(5)
    samples = 3e-6 * (rng.normal(size=20) + 1j * rng.normal(size=20))
    rf = RF.sampled(samples, 50e-6, use="other", frequency=130.0, phase=0.7, delay=2e-4)
    blocks = (Block(2e-3, rf=rf), Block(3e-3), Block(2e-3, rf=rf), Block(4e-3, adc=ADC(2, 1e-3)))
    sequence, df = Sequence(blocks, scanner=FREE), 40.0
    (M,) = magnetisation(sequence, [Water(0.5, 0.03)], B0, df_ppm=df / (1e-6 * GAMMA_BAR_1H * B0))
    w = sequence.waveforms()
    # The step without RF to the first sample goes on for half of its dwell time.
    steps, dt = np.cumsum(w.dt) <= 7.5e-3 + 1e-9, w.dt.copy()
    dt[np.flatnonzero(steps)[-1]] -= 0.5e-3
    expected = bloch.evolve(
        np.array([[0.0, 0, 1]]), w.b1[steps], w.gradient[steps], dt[steps],
        position=np.zeros((1, 3)), df=df, T1=0.5, T2=0.03,
    )  # fmt: skip
    np.testing.assert_allclose(M[0], expected[0], atol=1e-4)
    assert np.abs(M[0]).min() > 1e-3


def test_batches_are_their_members():
    sequence, B1 = spectrum_sequence(), np.array([0.7, 1.2])
    both = magnetisation(sequence, POOLS[:3], B0, B1=B1)
    for n in range(2):
        one = magnetisation(sequence, POOLS[:3], B0, B1=B1[n])
        np.testing.assert_allclose(both[n], one, rtol=0, atol=1e-13)


def test_finely_sampled_pulses_are_joined_within_a_millionth():
    t = np.linspace(-2, 2, 20 * MOST_CELLS)
    fine = spectrum_sequence(samples=2e-6 * np.exp(-(t**2)) + 0j)
    half = 2e-6 * np.exp(-(t**2)).reshape(-1, 5).mean(axis=1) + 0j
    train = {"amplitude": half, "duration": LONG, "gap": GAP, "number": NUMBER,
             "oscillator": "halted"}  # fmt: skip
    expected = z_spectrum(POOLS[:3], OFFSETS, train, B0)
    M = magnetisation(fine, POOLS[:3], B0, reset=True)
    np.testing.assert_allclose(M[:, 0, 2], expected, rtol=0, atol=3e-6)


def test_a_sequence_that_reads_nothing_is_refused():
    with pytest.raises(ValueError, match="no window of the receiver"):
        magnetisation(Sequence((Block(1e-3),)), POOLS, B0)
    rf = RF.sampled(SHAPE, 1e-3, use="other")
    overlapping = Sequence((Block(0.1, rf=rf, adc=ADC(4, 1e-3, delay=5e-2)),), scanner=FREE)
    with pytest.raises(ValueError, match="block 0: adc: opens during a pulse"):
        magnetisation(overlapping, POOLS, B0)
