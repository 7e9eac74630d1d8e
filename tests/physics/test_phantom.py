"""Phantoms: what is refused, and spins made of maps."""

from __future__ import annotations

import dataclasses
import math

import array_api_strict
import jaxtyping
import numpy as np
import pytest
import torch
from scipy.linalg import expm

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.phantom import Phantom, from_maps
from ipads_stream.physics.waveforms import Pulse, Waveforms

PLACES = np.zeros((4, 3))


@pytest.fixture
def as_installed(monkeypatch):
    """Without the checks of types that come before ours in these tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position": np.zeros((4, 2))}, r"position"),
        ({"position": np.full((4, 3), np.nan)}, "position=nan: a finite number of m is allowed"),
        ({"M0": -1.0}, "M0=-1.0: a finite number from 0"),
        ({"M0": np.ones(3)}, r"M0: shape \(3,\)"),
        ({"T1": np.array([1.0, 1, 0, 1])}, "T1=0.0: a positive time"),
        ({"T2": -0.1}, "T2=-0.1: a positive time"),
        ({"T1": 0.1, "T2": 0.3}, r"T2=0.3: at most 2 T1 = 0.2 s"),
        ({"df": np.inf}, "df=inf: a finite number of Hz"),
        ({"B1": np.nan}, "B1=nan"),
        ({"T2p": 0.0}, "T2p=0.0: a positive time"),
        ({"D": -1e-9}, "D=-1e-09: a finite number of m"),
        ({"sensitivity": np.ones((2, 3), complex)}, "sensitivity|N"),
        ({"sensitivity": np.full((2, 4), np.nan + 0j)}, "sensitivity="),
        ({"voxel": (1e-3, 1e-3)}, r"voxel: shape \(2,\)"),
        ({"voxel": (1e-3, -1e-3, 0.0)}, "voxel=-0.001"),
        ({"T1": np.ones((2, 4)), "df": np.ones((3, 4))}, r"df: batch axes \(3,\); \(2,\)"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Phantom(**{"position": PLACES, **fields})


def test_infinite_T2_leaves_transverse_relaxation_out():
    assert math.isinf(Phantom(PLACES, T1=1.0).T2)


def test_batch_axes_are_those_of_all_fields():
    coils = np.ones((5, 1, 2, 4), complex)
    phantom = Phantom(PLACES, T1=np.ones((3, 4)), df=np.zeros((5, 1, 1)), sensitivity=coils)
    assert phantom.batch == (5, 3)
    assert phantom.num_spins == 4


@pytest.mark.parametrize(
    "convert", [np.asarray, array_api_strict.asarray, torch.from_numpy], ids=["np", "strict", "pt"]
)
def test_spins_of_maps(convert):
    """Middle voxel at the isocentre, empty voxels dropped, isochromats inside their voxel."""
    M0 = np.zeros((4, 5), "f4")
    M0[2, 2], M0[0, 4] = 2, 3
    T1 = np.arange(20.0, dtype="f4").reshape(4, 5) + 1
    phantom = from_maps(convert(M0), (1e-3, 2e-3), T1=convert(T1), T2=0.1, isochromats=(2, 2))
    assert phantom.num_spins == 8
    assert str(phantom.position.dtype).endswith("float32")
    assert type(phantom.M0) is type(convert(M0))
    places, density = np.asarray(phantom.position), np.asarray(phantom.M0)
    T1 = np.asarray(phantom.T1)
    at = T1 == 13
    assert np.allclose(places[at].mean(0), 0)
    assert np.allclose(sorted(set(np.round(1e6 * places[at][:, 0]))), [-250, 250])
    assert np.allclose(sorted(set(np.round(1e6 * places[at][:, 1]))), [-500, 500])
    assert np.allclose(places[T1 == 5].mean(0), (-2e-3, 4e-3, 0))
    assert np.isclose(density[at].sum(), 2)
    assert np.isclose(density.sum(), 5)


def test_spins_of_volumes_in_a_batch_with_coils():
    rng = np.random.default_rng(0)
    M0 = rng.uniform(size=(2, 3, 4, 6)) * (rng.random((3, 4, 6)) < 0.5)
    coils = rng.normal(size=(2, 5, 3, 4, 6)) + 0j
    df = rng.normal(size=(3, 4, 6))
    phantom = from_maps(M0, (1e-3, 1e-3, 2e-3), df=df, sensitivity=coils, isochromats=(1, 2, 1))
    kept = (M0 != 0).any(0)
    N = 2 * kept.sum()
    assert phantom.position.shape == (N, 3)
    assert phantom.M0.shape == (2, N)
    assert phantom.sensitivity.shape == (2, 5, N)
    i, j, k = np.nonzero(kept)
    assert np.array_equal(phantom.df[::2], df[kept])
    assert np.array_equal(phantom.sensitivity[:, :, 1::2], coils[:, :, i, j, k])
    middle = 0.5 * (phantom.position[::2] + phantom.position[1::2])
    assert np.allclose(middle, np.stack([i - 1, j - 2, 2 * (k - 3)], 1) * 1e-3)


def test_isochromats_show_dephasing_within_the_voxel():
    """A gradient turns once across a voxel: one spin keeps its signal, nine lose it."""
    M0, spacing = np.ones((1, 1)), (4e-3, 4e-3)
    gradient = np.array([[1 / (4e-3 * GAMMA_BAR_1H * 1e-3), 0, 0]])
    once = Waveforms(
        np.zeros(1, complex), gradient, np.full(1, 1e-3), np.ones(1, bool), np.zeros(1)
    )
    for parts, left in ((1, 1.0), (9, 0.0)):
        phantom = from_maps(M0, spacing, isochromats=(parts, 1))
        M = np.tile([1.0, 0, 0], (parts, 1)) * phantom.M0[:, None]
        assert abs(abs(bloch.signal(once, phantom, M=M)[0]) - left) < 1e-12


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spacing": (1e-3,)}, "spacing="),
        ({"spacing": (1e-3, 0.0)}, "spacing="),
        ({"isochromats": (2, 0)}, "isochromats="),
        ({"isochromats": (1, 1, 2)}, "isochromats="),
        ({"T1": np.ones((3, 3))}, r"T1: shape \(3, 3\); \(4, 5\)"),
    ],
)
def test_wrong_maps_are_refused(changed, message):
    arguments = {"spacing": (1e-3, 1e-3), **changed}
    with pytest.raises(ValueError, match=message):
        from_maps(np.ones((4, 5)), **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position": [[0.0, 0, 0]]}, r"position=\[\[0.0, 0, 0\]\] \(list\): an array of NumPy"),
        ({"T2": [0.1] * 4}, r"T2=\[0.1, .*\] \(list\): a number or an array"),
        ({"sensitivity": ([1j] * 4,)}, r"sensitivity=.*\(tuple\): an array"),
        ({"df": torch.zeros(4), "T1": torch.ones(4)}, "position: NumPy; T1, df: torch; arrays of"),
    ],
)
def test_lists_and_arrays_of_several_libraries_are_refused(fields, message, as_installed):
    with pytest.raises(TypeError, match=message):
        Phantom(**{"position": PLACES, **fields})


def test_maps_that_are_lists_or_of_several_libraries_are_refused(as_installed):
    with pytest.raises(TypeError, match=r"M0=\[\[1.0\]\] \(list\)"):
        from_maps([[1.0]], (1e-3, 1e-3))
    with pytest.raises(TypeError, match="M0: NumPy; T1: torch"):
        from_maps(np.ones((4, 5)), (1e-3, 1e-3), T1=torch.ones(4, 5))


@pytest.mark.parametrize("name", ["b1", "gradient", "dt", "sampled", "receiver"])
def test_waveforms_that_are_lists_are_refused(name, as_installed):
    fields = {"b1": np.zeros(1, complex), "gradient": np.zeros((1, 3)), "dt": np.ones(1),
              "sampled": np.ones(1, bool), "receiver": np.zeros(1)}  # fmt: skip
    with pytest.raises(TypeError, match=rf"{name}=\[.*\] \(list\): an array of NumPy"):
        Waveforms(**(fields | {name: fields[name].tolist()}))


def _integrated(waveforms, position, df, T1, T2, d):
    """M+ at each sample, by exponentials of the Bloch equation's matrix; d: (steps, spins)."""
    read = []
    for r, f, turned in zip(position, df, d.T, strict=True):
        state, samples = np.array([0.0, 0.0, 1.0, 1.0]), []
        played = turned * waveforms.b1
        steps = zip(played, waveforms.gradient, waveforms.dt, waveforms.sampled, strict=True)
        for b1, G, dt, is_sampled in steps:
            x, y = GAMMA_1H * b1.real, GAMMA_1H * b1.imag
            z = GAMMA_1H * float(G @ r) + 2 * math.pi * f
            rates = [[-1 / T2, z, -y, 0], [-z, -1 / T2, x, 0], [y, -x, -1 / T1, 1 / T1], [0] * 4]
            state = expm(np.array(rates) * dt) @ state
            if is_sampled:
                samples.append(state[0] + 1j * state[1])
        read.append(samples)
    return np.array(read)


def test_a_shim_of_several_channels_is_what_each_spin_sees(as_installed):
    rng = np.random.default_rng(0)
    count, channels, steps = 5, 3, 12
    b1 = np.where(np.arange(steps) % 6 < 3, 4e-6 * np.exp(1j * np.arange(steps)), 0)
    waveforms = Waveforms(
        b1=b1,
        gradient=0.01 * rng.normal(size=(steps, 3)),
        dt=np.full(steps, 4e-4),
        sampled=np.arange(steps) % 6 > 3,
        receiver=np.zeros(4),
    )
    position, df = 0.02 * rng.normal(size=(count, 3)), rng.uniform(-50, 50, count)
    fields, sensitivity = (rng.normal(size=(n, count, 2)) @ [1, 1j] for n in (channels, 2))
    shim = np.array([0.8, 0.5j, -0.3 + 0.2j])
    fields[:, 4] = 0  # where no channel reaches, nothing happens
    one = Phantom(position, df=df, T1=0.8, T2=0.06)
    two = dataclasses.replace(one, sensitivity=sensitivity)
    M = _integrated(waveforms, position, df, 0.8, 0.06, np.tile(shim @ fields, (steps, 1)))
    expected = [(one, np.ones((1, count)) @ M), (two, sensitivity @ M)]
    for phantom, truth in expected:
        found = bloch.signal(waveforms, phantom.driven(fields, shim))
        np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())
    assert np.abs(expected[0][1]).max() > 0.1
    with pytest.raises(ValueError, match=r"shim \(2,\): .*channels"):
        one.driven(fields, shim[:2])


@pytest.mark.parametrize("frame", [0.0, 900.0])
def test_shims_that_differ_from_pulse_to_pulse(as_installed, frame):
    rng = np.random.default_rng(3)
    count, channels, steps = 4, 3, 12
    t = 4e-4 * np.arange(steps)
    b1 = np.where(np.arange(steps) % 6 < 3, 4e-6, 0) + 0j
    waveforms = Waveforms(
        b1=b1,
        gradient=0.01 * rng.normal(size=(steps, 3)),
        dt=np.full(steps, 4e-4),
        sampled=np.arange(steps) % 6 > 3,
        receiver=np.zeros(4),
        pulses=(Pulse(0, 3, 6e-4, "excitation"), Pulse(6, 9, 3e-3, "refocusing", frame)),
    )
    position, df = 0.02 * rng.normal(size=(count, 3)), rng.uniform(-50, 50, count)
    fields = rng.normal(size=(channels, count, 2)) @ [1, 1j]
    fields[:, 3] = 0
    shims = rng.normal(size=(2, channels, 2)) @ [1, 1j]
    phantom = Phantom(position, df=df, B1=0.9, T1=0.8, T2=0.06).driven(fields, shims)
    d = np.repeat(shims @ fields, 6, axis=0)
    # Steps of a pulse in a frame, cut so finely that its phase hardly turns in one: by 0.04.
    finer = 60
    cut = Waveforms(
        b1=np.repeat(b1, finer),
        gradient=np.repeat(waveforms.gradient, finer, axis=0),
        dt=np.full(steps * finer, 4e-4 / finer),
        sampled=(
            np.repeat(waveforms.sampled, finer) & (np.arange(steps * finer) % finer == finer - 1)
        ),
        receiver=np.zeros(4),
    )
    since = np.clip(4e-4 / finer * (np.arange(steps * finer) + 0.5) - t[6], 0, None)
    turned = np.exp(-2j * math.pi * frame * since)[:, None]
    if frame:
        M = _integrated(cut, position, df, 0.8, 0.06, 0.9 * np.repeat(d, finer, axis=0) * turned)
    else:
        M = _integrated(waveforms, position, df, 0.8, 0.06, 0.9 * d)
    truth, near = M.sum(axis=0), 2e-3 if frame else 1e-5
    for simulate in (bloch.signal, bloch.signal_formula):
        found = simulate(waveforms, phantom)
        np.testing.assert_allclose(found, truth, atol=near * np.abs(truth).max())
    read = bloch.magnetisation(waveforms, phantom)  # at the first sample of either readout
    np.testing.assert_allclose(read[1, :, 0] + 1j * read[1, :, 1], M[:, 2], atol=near)
    one = dataclasses.replace(phantom, drive=phantom.drive[:1])
    with pytest.raises(ValueError, match=r"drive: 1 pulses; 2, as the sequence has"):
        bloch.signal(waveforms, one)
