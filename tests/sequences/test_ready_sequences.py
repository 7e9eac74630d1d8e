"""Ready sequences: lines of k-space, echo times, balance, and Pulseq files that play the same."""

import importlib
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_pulseq import agree

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.bloch import pathway
from ipads_stream.physics.bloch import sequence_signal as bloch_signal
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences import Scanner, read_pulseq, write_pulseq
from ipads_stream.sequences.bssfp import bssfp
from ipads_stream.sequences.epi import epi, spin_echo_epi
from ipads_stream.sequences.gradient_echo import gradient_echo
from ipads_stream.sequences.multi_echo import multi_echo
from ipads_stream.sequences.spin_echo import spin_echo
from ipads_stream.sequences.spiral import spiral
from ipads_stream.sequences.tse import tse

CONF = Path(__file__).parents[2] / "conf" / "sequence"
READY = (gradient_echo, spin_echo, multi_echo, tse, epi, spin_echo_epi, bssfp, spiral)
SMALL = {"matrix": 16, "fov": 0.2}
SHORT = {multi_echo: {"num_echoes": 4}, tse: {"num_echoes": 4, "TE": 20e-3}}


def small(make, **changes):
    return make(**{**SMALL, **SHORT.get(make, {}), **changes})


def times_of(w):
    return np.cumsum(w.dt)[w.sampled]


def walked(sequence):
    """Times of samples, their pathway and the pulses, seen from the excitation before."""
    w = sequence.waveforms()
    return times_of(w), pathway.along(w, memory=0.0), w.pulses


def grid(num=16, fov=0.2):
    return (np.arange(num) - num // 2) / fov


@pytest.mark.parametrize("make", READY, ids=lambda make: make.__name__)
def test_yaml_and_defaults_are_the_same(make):
    node = yaml.safe_load((CONF / f"{make.__name__}.yaml").read_text())
    module, _, name = node.pop("_target_").rpartition(".")
    assert getattr(importlib.import_module(module), name).__wrapped__ is make.__wrapped__
    defaults = {k: p.default for k, p in inspect.signature(make).parameters.items()}
    del defaults["scanner"]
    assert set(node) == set(defaults)
    for key, value in node.items():
        assert value == defaults[key], key
        assert isinstance(value, type(defaults[key])), f"{key}: {value!r} is not a number in YAML"


@pytest.mark.parametrize("thickness", [5e-3, None])
@pytest.mark.parametrize("make", READY, ids=lambda make: make.__name__)
def test_a_file_plays_the_same(make, thickness, tmp_path):
    sequence = small(make, thickness=thickness)
    write_pulseq(sequence, tmp_path / "ready.seq")
    read = read_pulseq(tmp_path / "ready.seq", scanner=Scanner())
    assert read.duration == pytest.approx(sequence.duration, abs=1e-12)
    assert read.name == sequence.name
    agree(sequence.waveforms(), read.waveforms(), gradients=1e-14)


@pytest.mark.parametrize("thickness", [5e-3, None])
def test_gradient_echo(thickness):
    sequence = gradient_echo(**SMALL, thickness=thickness, TE=6e-3, TR=25e-3, num_dummies=3)
    _, path, pulses = walked(sequence)
    k = path.k.reshape(16, 16, 3)
    np.testing.assert_allclose(k[:, :, 0], np.tile(grid(), (16, 1)), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[:, :, 1], np.tile(grid()[:, None], (1, 16)), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[:, :, 2], 0, atol=0.02)
    np.testing.assert_allclose(path.tau.reshape(16, 16)[:, 8], 6e-3, atol=5.1e-6)
    centres = np.array([p.centre for p in pulses])
    assert centres.size == 19
    np.testing.assert_allclose(np.diff(centres), 25e-3, atol=5.1e-6)
    assert sequence.duration == pytest.approx(19 * np.diff(centres)[0])


def test_gradient_echo_is_spoiled():
    """The same moment in every TR, phases of 117 n (n + 1) / 2, the receiver as the pulse."""
    sequence = gradient_echo(**SMALL, spoiling=6.0, num_dummies=0)
    w = sequence.waveforms()
    total = np.cumsum(w.gradient * w.dt[:, None], axis=0)
    each = np.diff(total[[p.first for p in w.pulses]], axis=0)
    np.testing.assert_allclose(GAMMA_BAR_1H * each[:, 1], 0, atol=1e-3)
    assert np.ptp(each[:, 2]) < 1e-6 * abs(each[0, 2])
    turns = GAMMA_BAR_1H * each[0, 2] * 5e-3
    # The spoiler and the slice's own gradient, which is rephased after the pulse's centre only.
    assert turns == pytest.approx(6 + GAMMA_BAR_1H * slice_area(sequence) * 5e-3, rel=1e-4)
    phase = np.angle([w.b1[(p.first + p.stop) // 2] for p in w.pulses])
    n = np.arange(16)
    expected = np.exp(1j * np.radians(117) * n * (n + 1) / 2)
    np.testing.assert_allclose(np.exp(1j * phase), expected, atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * w.receiver[::16]), expected, atol=1e-9)


def slice_area(sequence):
    """Of the slice gradient up to the pulse's centre, T s/m."""
    return 0.5 * sequence.blocks[0].gz.area


@pytest.mark.parametrize("thickness", [5e-3, None])
def test_spin_echo(thickness):
    t, path, pulses = walked(spin_echo(**SMALL, thickness=thickness, TE=20e-3, TR=0.2))
    k = path.k.reshape(16, 16, 3)
    np.testing.assert_allclose(k[:, :, 0], np.tile(grid(), (16, 1)), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[:, :, 1], np.tile(grid()[:, None], (1, 16)), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[:, :, 2], 0, atol=0.02)
    np.testing.assert_allclose(path.tau.reshape(16, 16)[:, 8], 0, atol=1e-9)
    excitations = [p.centre for p in pulses if p.use == "excitation"]
    np.testing.assert_allclose(t.reshape(16, 16)[:, 8] - excitations, 20e-3, atol=1.01e-5)
    np.testing.assert_allclose(np.diff(excitations), 0.2, atol=5.1e-6)


@pytest.mark.parametrize("thickness", [5e-3, None])
def test_multi_echo_meets_the_conditions_of_cpmg(thickness):
    """Every refocusing pulse finds the same k, at equal times, at 90 degrees to the excitation."""
    sequence = multi_echo(**SMALL, thickness=thickness, num_echoes=4, ESP=12e-3)
    t, path, pulses = walked(sequence)
    k, tau = path.k.reshape(16, 4, 16, 3), path.tau.reshape(16, 4, 16)
    expected = np.broadcast_to(grid(), (16, 4, 16))
    np.testing.assert_allclose(k[..., 0], expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[..., 1], np.transpose(expected, (2, 1, 0)), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(k[..., 2], 0, atol=0.03)
    np.testing.assert_allclose(tau[..., 8], 0, atol=1e-9)
    excitation, *refocusing = [p.centre for p in pulses[:5]]
    np.testing.assert_allclose(t.reshape(16, 4, 16)[0, :, 8] - excitation,
                               12e-3 * np.arange(1, 5), atol=4.1e-5)  # fmt: skip
    spacing = np.diff(refocusing)
    np.testing.assert_allclose(spacing, 2 * (refocusing[0] - excitation), atol=1e-9)
    w = sequence.waveforms()
    total = np.cumsum(w.gradient * w.dt[:, None], axis=0)
    middles = [(p.first + p.stop) // 2 for p in w.pulses[1:5]]
    between = np.diff(total[middles], axis=0)
    from_excitation = total[middles[0]] - total[(w.pulses[0].first + w.pulses[0].stop) // 2]
    np.testing.assert_allclose(between, np.broadcast_to(2 * from_excitation, between.shape),
                               rtol=1e-3, atol=1e-9)  # fmt: skip
    phases = np.angle([w.b1[middle] for middle in middles])
    first = np.angle(w.b1[(w.pulses[0].first + w.pulses[0].stop) // 2])
    np.testing.assert_allclose(np.cos(phases - first), 0, atol=1e-6)


@pytest.mark.parametrize(("TE", "echo"), [(10e-3, 0), (30e-3, 2), (40e-3, 3)])
def test_tse_measures_the_centre_at_the_effective_echo_time(TE, echo):
    sequence = tse(**SMALL, num_echoes=4, ESP=10e-3, TE=TE)
    _, path, _ = walked(sequence)
    k = path.k.reshape(4, 4, 16, 3)
    lines = np.rint(k[:, :, 8, 1] * 0.2).astype(int) + 8
    assert sorted(lines.ravel()) == list(range(16))
    assert lines.ravel().tolist() == sequence.definitions["Lines"]
    assert np.argwhere(lines == 8)[0, 1] == echo
    np.testing.assert_allclose(k[:, :, :, 0], np.broadcast_to(grid(), (4, 4, 16)), atol=2e-3)


@pytest.mark.parametrize("thickness", [5e-3, None])
@pytest.mark.parametrize("make", [epi, spin_echo_epi])
def test_epi_fills_the_grid(make, thickness):
    t, path, pulses = walked(make(**SMALL, thickness=thickness, TE=40e-3))
    k = path.k.reshape(16, 16, 3)
    backwards = k[1::2, ::-1, 0]
    np.testing.assert_allclose(k[::2, :, 0], np.tile(grid(), (8, 1)), rtol=1e-5, atol=2e-3)
    np.testing.assert_allclose(backwards, np.tile(grid(), (8, 1)), rtol=1e-5, atol=2e-3)
    np.testing.assert_allclose(k[:, :, 1], np.tile(grid()[:, None], (1, 16)), rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(k[:, :, 2], 0, atol=0.02)
    at = int(np.argmin(np.linalg.norm(path.k, axis=1)))
    assert t[at] - pulses[0].centre == pytest.approx(40e-3, abs=1.01e-5)
    if make is spin_echo_epi:
        assert path.tau[at] == pytest.approx(0, abs=1.01e-5)


@pytest.mark.parametrize("thickness", [5e-3, None])
def test_bssfp_is_balanced(thickness):
    sequence = bssfp(**SMALL, thickness=thickness, TR=7e-3, num_dummies=2)
    w = sequence.waveforms()
    total = GAMMA_BAR_1H * np.cumsum(w.gradient * w.dt[:, None], axis=0)
    middles = [(p.first + p.stop) // 2 for p in w.pulses]
    each = np.diff(total[middles], axis=0)
    np.testing.assert_allclose(each, 0, atol=0.05)
    centres = np.array([p.centre for p in w.pulses])
    np.testing.assert_allclose(np.diff(centres[1:]), 7e-3, atol=1.01e-5)
    assert centres[1] - centres[0] == pytest.approx(3.5e-3, abs=1.01e-5)
    path = pathway.along(w, memory=0.0)
    k, tau = path.k.reshape(16, 16, 3), path.tau.reshape(16, 16)
    np.testing.assert_allclose(k[:, :, 0], np.tile(grid(), (16, 1)), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(k[:, :, 1], np.tile(grid()[:, None], (1, 16)), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(tau[:, 8], 3.5e-3, atol=1.01e-5)
    flips = [abs(np.sum((w.b1 * w.dt)[p.first : p.stop])) for p in w.pulses]
    assert flips[0] / flips[1] == pytest.approx(0.5, rel=1e-5)
    signs = np.real([w.b1[m] for m in middles])
    assert np.all(np.sign(signs[1:]) == -np.sign(signs[:-1]))


def test_spirals_cover_the_disc():
    """Out to matrix / (2 fov); along any ray the interleaves lie 1 / fov apart."""
    sequence = spiral(fov=0.2, matrix=32, num_interleaves=3)
    w = sequence.waveforms()
    k = pathway.along(w, memory=0.0).k.reshape(3, -1, 3)
    radius = np.hypot(k[:, :, 0], k[:, :, 1])
    assert np.max(radius) == pytest.approx(32 / 0.4, rel=0.02)
    np.testing.assert_allclose(k[:, 0], 0, atol=0.2)
    angle = np.unwrap(np.angle(k[:, :, 0] + 1j * k[:, :, 1]), axis=1)
    far = radius[0] > 10
    slope = np.polyfit(angle[0, far], radius[0, far], 1)[0]
    assert 2 * math.pi * slope == pytest.approx(3 / 0.2, rel=0.01)
    turned = angle[1:, -1] - angle[0, -1]
    np.testing.assert_allclose(np.mod(turned, 2 * math.pi), [2 * math.pi / 3, 4 * math.pi / 3],
                               atol=1e-3)  # fmt: skip
    starts = [p.centre for p in w.pulses]
    np.testing.assert_allclose(np.diff(starts), 30e-3, atol=5.1e-6)


def test_spirals_use_the_scanner():
    """Most of the time the slew, or the gradient, is near its limit."""
    gx, gy = (getattr(spiral(num_interleaves=1).blocks[3], name) for name in ("gx", "gy"))
    num = min(gx.times.size, gy.times.size)  # they wind down at the end each for itself
    wave = gx.amplitudes[:num] + 1j * gy.amplitudes[:num]
    slew = np.abs(np.diff(wave)) / 10e-6
    used = (slew > 0.9 * 170) | (np.abs(wave[1:]) > 0.9 * 40e-3)
    assert np.mean(used) > 0.9


REFUSED = {
    "gradient_echo TE": lambda: small(gradient_echo, TE=1e-3),
    "gradient_echo TR": lambda: small(gradient_echo, TR=5e-3),
    "gradient_echo flip": lambda: small(gradient_echo, flip=-1.0),
    "gradient_echo dwell": lambda: small(gradient_echo, dwell=1e-6),
    "gradient_echo matrix": lambda: small(gradient_echo, matrix=0),
    "gradient_echo fov": lambda: small(gradient_echo, fov=0.0),
    "gradient_echo thickness": lambda: small(gradient_echo, thickness=1e-4),
    "gradient_echo num_dummies": lambda: small(gradient_echo, num_dummies=-1),
    "spin_echo TE": lambda: small(spin_echo, TE=5e-3),
    "spin_echo crushing": lambda: small(spin_echo, crushing=-1.0),
    "multi_echo ESP": lambda: small(multi_echo, ESP=5e-3),
    "multi_echo num_echoes": lambda: small(multi_echo, num_echoes=0),
    "multi_echo TR": lambda: small(multi_echo, TR=20e-3),
    "tse num_echoes": lambda: small(tse, num_echoes=5),
    "tse TE": lambda: small(tse, TE=50e-3),
    "epi TE": lambda: small(epi, TE=2e-3),
    "spin_echo_epi TE": lambda: small(spin_echo_epi, TE=10e-3),
    "bssfp TR": lambda: small(bssfp, TR=2e-3),
    "spiral TE": lambda: small(spiral, TE=1e-3),
    "spiral num_interleaves": lambda: small(spiral, num_interleaves=0),
    "spiral dwell": lambda: small(spiral, dwell=1.23e-8),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_played_is_refused_by_name(case):
    with pytest.raises(ConfigError) as refused:
        REFUSED[case]()
    assert refused.value.key == case.split()[1]


TIMES = [c for c in REFUSED if c.endswith((" TE", " TR", " ESP")) and c != "tse TE"]


@pytest.mark.parametrize("case", TIMES)
def test_the_least_time_that_an_error_names_is_enough(case):
    name, key = case.split()
    make = next(make for make in READY if make.__name__ == name)
    with pytest.raises(ConfigError) as refused:
        REFUSED[case]()
    least = float(refused.value.allowed.split()[2])
    small(make, **{key: least})


@pytest.mark.parametrize("make", READY, ids=lambda make: make.__name__)
def test_a_spin_is_seen_where_it_lies(make):
    """Simulated, received and transformed back along the pathway: the brightest pixel is its own.

    T2 is short, so that nothing is left from one excitation to the next.
    """
    sequence = small(make, thickness=None)
    place = np.array([3, -5, 0]) * 0.2 / 16
    signal = bloch_signal.signal(sequence, Phantom(place[None], T1=1.0, T2=8e-3))
    k = pathway.along(sequence.waveforms(), memory=0.0).k
    x = np.arange(-8, 8) * 0.2 / 16
    across, up = (np.exp(2j * math.pi * k[:, axis, None] * x) for axis in (0, 1))
    image = np.abs(np.einsum("s,sx,sy->xy", signal, across, up))
    assert np.unravel_index(np.argmax(image), image.shape) == (11, 3)
    assert image.max() > 3 * np.median(image)
