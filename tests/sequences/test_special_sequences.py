"""Sequences that encode something besides place do so: told from simulations with isochromats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics import bloch, epg
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.physics.exchange import saturation as bloch_mcconnell
from ipads_stream.sequences.cest import cest
from ipads_stream.sequences.epi_fingerprint import TES, epi_fingerprint
from ipads_stream.sequences.fisp_fingerprint import fisp_fingerprint, sine_lobes
from ipads_stream.sequences.moled import moled
from ipads_stream.sequences.spamm import spamm
from ipads_stream.sequences.spen import spen


def _grid(*axes):
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _within(length, count):
    """Positions that divide a length evenly, so that whole turns over it cancel."""
    return (np.arange(count) + 0.5) / count * length


def test_moled_puts_each_echo_where_it_says_with_its_echo_time():
    flip, fov, matrix, T2 = math.radians(3), 0.22, 64, 80e-3  # small: no echoes of echoes
    sequence = moled(flip=flip, fov=fov, matrix=matrix, offsets_x=[1 / 8, -1 / 8, 1 / 8, -1 / 8])
    pixel = fov / matrix
    inside = (np.arange(matrix) - matrix // 2) * pixel
    position = _grid(inside, inside, _within(pixel, 8))
    phantom = Phantom(position, T2=T2, T1=2.0, M0=1 / len(position))
    image = np.abs(bloch.signal(sequence, phantom)).reshape(matrix, matrix)
    image[1::2] = image[1::2, ::-1]
    lines = [matrix // 2 + round(matrix * y) for y in (3 / 8, 1 / 8, -1 / 8, -3 / 8)]
    heights = []
    for n, line in enumerate(lines):
        samples = image[line - 3 : line + 4]
        at = np.unravel_index(samples.argmax(), samples.shape)
        assert abs(at[0] - 3) <= 1
        # k of the echo is minus that of the moment: the train undoes it.
        assert abs(at[1] - matrix // 2 - (-1) ** n * matrix / 8) <= 1
        heights.append(samples.max())
    decay = np.exp(-np.array(sequence.definitions["TE"]) / T2)
    assert np.allclose(heights / heights[0], decay / decay[0], rtol=0.05)
    assert np.allclose(heights, np.sin(flip) * decay, rtol=0.1)


@pytest.mark.parametrize("y", [-0.05, 0.0, 0.03])
def test_spen_shows_a_place_in_the_line_in_which_its_phase_is_flat(y):
    fov, matrix = 0.15, 64
    pixel = fov / matrix
    position = _grid(
        np.linspace(-0.4 * pixel, 0.4 * pixel, 3),
        y + np.linspace(-pixel, pixel, 81),
        _within(pixel, 4),
    )
    sequence = spen(fov=fov, matrix=matrix, thickness=None)
    found = bloch.signal(sequence, Phantom(position, M0=1 / len(position)))
    height = np.abs(found.reshape(matrix, matrix)).sum(axis=1)
    assert abs(height.argmax() - (y / fov + 0.5) * matrix) <= 1


def test_fisp_frames_are_those_of_the_extended_phase_graph():
    frames, fov, matrix, turns = 40, 0.22, 64, 4.0
    T1, T2, TE, TR, TI = 0.8, 0.06, 3e-3, 14e-3, 20e-3
    sequence = fisp_fingerprint(
        fov=fov, matrix=matrix, thickness=None, num_frames=frames, TE=TE, TR=TR, TI=TI
    )
    z = _within(fov / matrix / turns, 1024)  # one turn by the spoiler
    position = _grid(np.zeros(1), np.zeros(1), z)
    phantom = Phantom(position, T1=T1, T2=T2, M0=1 / len(position))
    first = bloch.signal(sequence, phantom).reshape(frames, -1)[:, 0]
    # The adiabatic pulse loses some to T2: the train is linear in what it leaves.
    rf = sequence.blocks[0].rf
    zero = np.zeros((1, 3))
    left = bloch.evolve(
        np.array([[0.0, 0.0, 1.0]]),
        rf.samples,
        np.zeros((rf.samples.size, 3)),
        np.diff(rf.edges),
        position=zero,
        T1=np.array([T1]),
        T2=np.array([T2]),
    )[0, 2]
    middle = 1 - (1 - left) * math.exp(rf.duration / 2 / T1)  # as if it acted at its centre
    arguments = (sine_lobes(frames), np.zeros(frames), TR, TE, np.array([T1]), np.array([T2]))
    kept, inverted = epg.fisp(*arguments)[0], epg.fisp(*arguments, TI=TI)[0]
    share = (1 - middle) / 2
    # The kept train starts at once; without inversion the time before it changes nothing.
    expected = (1 - share) * kept + share * inverted
    assert -0.97 < left < -0.8
    # Pulses last 0.5 ms, in which T2 takes nearly 1 %.
    assert np.max(np.abs(first - expected)) < 5e-3 * np.max(np.abs(expected))


@pytest.mark.parametrize("shift_ppm", [0.0, 1.0])
def test_cest_saturates_as_the_equation_for_one_pool_says(shift_ppm):
    offsets, B0 = [-3.0, -1.0, 0.5, 2.0, 5.0], 3.0
    train = {"amplitude": 1e-6, "duration": 50e-3, "gap": 5e-3, "number": 5}
    water = {"fraction": 1.0, "T1": 1.0, "T2": 0.05, "exchange": 0.0, "shift_ppm": 0.0}
    small = {"matrix": 8, "thickness": None, "TE": 6e-3, "dwell": 20e-6, "recovery": 30.0}
    sequence = cest(offsets_ppm=[*offsets, 300.0], B0=B0, **train, **small)
    pixel = 0.22 / 8
    position = _grid(np.zeros(1), np.zeros(1), _within(pixel, 128))
    df = shift_ppm * 1e-6 * GAMMA_BAR_1H * B0
    phantom = Phantom(position, T1=1.0, T2=0.05, M0=1 / len(position), df=df)
    found = np.abs(bloch.signal(sequence, phantom)).reshape(len(offsets) + 1, -1).max(axis=1)
    expected = bloch_mcconnell.z_spectrum([water], np.array(offsets), train, B0, df_ppm=shift_ppm)
    assert np.allclose(found[:-1] / found[-1], np.abs(expected), atol=2e-3)


def test_a_gaussian_saturation_pulse_has_the_mean_that_was_asked_for():
    sequence = cest(shape="gaussian", amplitude=1.5e-6, duration=20e-3, number=1)
    rf = next(block.rf for block in sequence.blocks if block.rf is not None)
    assert abs(np.mean(rf.samples)) == pytest.approx(1.5e-6, rel=1e-5)
    assert abs(rf.samples[0]) == pytest.approx(0.01 * np.max(np.abs(rf.samples)), rel=0.02)


def test_spamm_tags_lie_along_both_diagonals_at_the_spacing():
    spacing, fov, num = 0.04, 0.36, 72
    sequence = spamm(tag_spacing=spacing, thickness=None, num_frames=1, fov=fov)
    waveforms = sequence.waveforms()
    first = next(pulse for pulse in waveforms.pulses if pulse.use == "excitation").first
    # Over a square of whole tags along both diagonals.
    side = np.arange(num) / num * 4 * spacing * math.sqrt(2)
    pixel = fov / 64
    position = _grid(side, side, _within(pixel / 2, 16))  # 2 and 5 turns by the crushers
    M = np.zeros((len(position), 3))
    M[:, 2] = 1.0
    M = bloch.evolve(
        M,
        waveforms.b1[:first],
        waveforms.gradient[:first],
        waveforms.dt[:first],
        position=position,
    )
    z = M[:, 2].reshape(num, num, 16).mean(axis=2)
    orders = np.abs(np.fft.fft2(z)) / z.size
    orders[0, 0] = 0
    # k = 1 / spacing along a diagonal is 4 periods of the square along either side.
    strongest = {tuple(int(i) for i in np.unravel_index(i, z.shape)) for i in
                 np.argsort(orders.ravel())[::-1][:4]}  # fmt: skip
    assert strongest == {(4, 4), (68, 68), (4, 68), (68, 4)}
    assert z.min() < 0.3 < 0.9 < z.max()
    transverse = np.abs((M[:, 0] + 1j * M[:, 1]).reshape(num, num, 16).mean(axis=2))
    assert transverse.max() < 1e-10


def test_epi_frames_have_the_times_that_were_asked_for():
    sequence = epi_fingerprint(thickness=None, matrix=32, TEs=list(TES[:3]), flips=[0.5] * 3,
                               TRs=[0.12] * 3)  # fmt: skip
    waveforms = sequence.waveforms()
    centres = [pulse.centre for pulse in waveforms.pulses if pulse.use == "excitation"]
    assert np.allclose(np.diff(centres), 0.12, atol=1e-5)
    times = np.cumsum(waveforms.dt)[waveforms.sampled].reshape(3, 32, 32)
    assert np.allclose(times[:, 16, 16] - centres, TES[:3], atol=1e-5)


@pytest.mark.parametrize(
    ("function", "arguments", "key"),
    [
        (moled, {"pulse_times": [0.0, 1e-3]}, "offsets_x"),
        (moled, {"pulse_times": [5e-3, 1e-3]}, "pulse_times"),
        (moled, {"offsets_y": [0.6, 0.1, -0.1, -0.3]}, "offsets_y"),
        (moled, {"refocusing_time": 45e-3}, "refocusing_time"),
        (moled, {"centre_time": 60e-3}, "centre_time"),
        (spen, {"TE": 10e-3}, "TE"),
        (spen, {"flip": 4.0}, "flip"),
        (spen, {"fov": -1.0}, "fov"),
        (cest, {"shape": "sinc"}, "shape"),
        (cest, {"gap": 0.0}, "gap"),
        (cest, {"amplitude": -1e-6}, "amplitude"),
        (cest, {"offsets_ppm": []}, "offsets_ppm"),
        (spamm, {"interval": 1e-3}, "interval"),
        (spamm, {"tag_spacing": 0.0}, "tag_spacing"),
        (epi_fingerprint, {"flips": [0.1]}, "flips, TEs, TRs"),
        (fisp_fingerprint, {"TR": 1e-3}, "TR"),
        (fisp_fingerprint, {"flips": []}, "flips"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(function, arguments, key):
    with pytest.raises(ConfigError) as error:
        function(**arguments)
    assert error.value.key == key
