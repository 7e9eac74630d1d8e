"""Dephasing within a voxel: sets of spins against closed forms and isochromats."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import dephasing
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences import ADC, RF, Block, Scanner, Sequence

T2P = 0.02


def _mean_phasor(offsets, shares, tau):
    return np.sum(shares * np.exp(-2j * np.pi * offsets * tau[:, None]), axis=-1)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.asarray])
def test_a_count_of_any_kind(kind):
    found = dephasing.lorentzian_offsets(np.array(T2P), kind(11), 0.02)
    for x, expected in zip(
        found, dephasing.lorentzian_offsets(np.array(T2P), 11, 0.02), strict=True
    ):
        assert np.array_equal(x, expected)


@pytest.mark.parametrize("count", [3, 11, 51, 401])
@pytest.mark.parametrize("relative", [0.2, 1.0, 4.0, 12.0])
def test_the_error_of_a_set_is_the_stated_one(count, relative):
    duration = relative * T2P
    offsets, shares = dephasing.lorentzian_offsets(np.array(T2P), count, duration)
    tau = np.linspace(-duration, duration, 8001)
    error = np.abs(_mean_phasor(offsets, shares, tau) - np.exp(-np.abs(tau) / T2P)).max()
    tail = 2 * relative * (1 + math.exp(-relative)) / (math.pi**2 * (count // 2))
    if tail < 1:
        assert error < 1.5 * tail / (1 - tail)
    if count >= 51 and tail < 0.1:  # not an empty bound
        assert error > 0.5 * tail
    assert np.sum(shares) == pytest.approx(1)
    assert np.all(shares > 0)


def test_a_set_revives_at_its_period():
    offsets, shares = dephasing.lorentzian_offsets(np.array(T2P), 101, 0.05)
    signal = _mean_phasor(offsets, shares, np.array([0.05, 0.1]))
    assert signal[0] == pytest.approx(math.exp(-0.05 / T2P), abs=0.01)
    assert signal[1] == pytest.approx(1)


@pytest.mark.parametrize("convert", [array_api_strict.asarray, torch.from_numpy])
def test_every_library_has_the_same_set(convert):
    T2p = np.array([[0.01, 0.05], [0.2, math.inf]])
    expected = dephasing.lorentzian_offsets(T2p, 21, 0.04)
    result = dephasing.lorentzian_offsets(convert(T2p), 21, 0.04)
    for a, b in zip(expected, result, strict=True):
        np.testing.assert_allclose(np.asarray(b), a, rtol=1e-14, atol=1e-18)
    # Without dephasing all the magnetisation is at 0 Hz.
    np.testing.assert_array_equal(expected[1][1, 1], np.eye(21)[10])
    single, _ = dephasing.lorentzian_offsets(convert(T2p.astype("float32")), 21, 0.04)
    assert str(single.dtype).endswith("float32")


def test_shares_are_differentiable_in_the_decay():
    T2p = torch.tensor([0.01, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dephasing.lorentzian_offsets(x, 9, 0.02)[1], T2p)


def _free(phantom, M, t):
    return bloch.free_precession(M, t, df=phantom.df, T1=phantom.T1, T2=phantom.T2, M0=phantom.M0)


def _sum(M):
    return np.sum(M[:, 0] + 1j * M[:, 1])


def test_a_set_dephases_and_a_spin_echo_refocuses_it():
    phantom = Phantom(np.zeros((2, 3)), M0=np.array([1.0, 2.0]), T2=np.array([0.06, 0.09]), df=7.0,
                      T2p=np.array([0.02, 0.05]))  # fmt: skip
    count = 1119  # an error of 1e-3 by the bound of lorentzian_offsets
    spins = dephasing.dephased(phantom, count, 0.03)
    assert spins.T2p == math.inf
    assert spins.position.shape == (2 * count, 3)
    M = spins.M0[:, None] * np.array([1.0, 0, 0])
    later = _free(spins, M, 0.03)
    expected = np.sum(phantom.M0 * np.exp(-0.03 / phantom.T2 - 0.03 / phantom.T2p))
    assert abs(_sum(later) - expected * np.exp(-2j * np.pi * 7 * 0.03)) < 3e-3
    echo = _free(spins, later * np.array([1, -1, -1]), 0.03)
    np.testing.assert_allclose(_sum(echo), np.sum(phantom.M0 * np.exp(-0.06 / phantom.T2)))


@pytest.mark.parametrize("convert", [np.asarray, array_api_strict.asarray, torch.from_numpy])
def test_fields_follow_their_spins(convert):
    rng = np.random.default_rng(0)
    fields = {
        "position": rng.normal(size=(2, 4, 3)),
        "M0": rng.uniform(size=(2, 4)),
        "T1": rng.uniform(1, 2, size=4),
        "df": rng.normal(size=(2, 1)),
        "T2p": rng.uniform(0.01, 0.1, size=4),
        "sensitivity": rng.normal(size=(2, 3, 4)) + 1j * rng.normal(size=(2, 3, 4)),
    }
    phantom = Phantom(**{name: convert(x) for name, x in fields.items()}, T2=0.08)
    spins = dephasing.dephased(phantom, 5, 0.02)
    offsets, shares = dephasing.lorentzian_offsets(fields["T2p"], 5, 0.02)
    for spin in range(4):
        for member in range(5):
            i = 5 * spin + member
            for name in ("position", "T1", "sensitivity"):
                axis = -2 if name == "position" else -1
                a = np.take(np.asarray(getattr(spins, name)), i, axis=axis)
                np.testing.assert_array_equal(a, np.take(fields[name], spin, axis=axis))
            np.testing.assert_allclose(
                np.asarray(spins.M0)[:, i], fields["M0"][:, spin] * shares[spin, member]
            )
            df = np.broadcast_to(np.asarray(spins.df), (2, 20))[:, i]
            np.testing.assert_allclose(df, fields["df"][:, 0] + offsets[member])
    assert spins.T2 == 0.08


def test_water_and_fat():
    phantom = Phantom(np.zeros((3, 3)), M0=2.0, T2=0.1, df=np.array([0.0, 10, -30]))
    fractions = np.array([[0.7, 0.3], [1, 0], [0.5, 0.5]])
    spins = dephasing.with_species(phantom, (0.0, -3.4), fractions, 3.0, T2=(0.08, 0.04))
    assert spins.position.shape == (6, 3)
    M = np.broadcast_to(spins.M0[:, None] * np.array([1.0, 0, 0]), (6, 3)).copy()
    M = _free(spins, M, 0.0023)
    fat = np.exp(2j * np.pi * 3.4e-6 * GAMMA_BAR_1H * 3.0 * 0.0023 - 0.0023 / 0.04)
    water = np.exp(-0.0023 / 0.08)
    voxel = 2 * (fractions[:, 0] * water + fractions[:, 1] * fat)
    expected = np.sum(voxel * np.exp(-2j * np.pi * phantom.df * 0.0023))
    np.testing.assert_allclose(_sum(M), expected, rtol=1e-12)
    # And each with a line of its own.
    assert dephasing.dephased(spins, 3, 0.01).position.shape == (18, 3)


def test_a_box_of_isochromats_under_a_gradient():
    size, G, slope = np.array([2e-3, 3e-3, 5e-3]), np.array([1.5e-3, -1e-3, 0.5e-3]), 40.0
    parts = 24
    axes = [s * ((np.arange(parts) + 0.5) / parts - 0.5) for s in size]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    df = slope * position[:, 2]
    t = 4e-3
    M = np.tile([1.0, 0, 0], (len(position), 1))
    M = bloch.evolve(M, np.zeros(1, complex), G[None], t, position=position, df=df)
    k = GAMMA_1H / (2 * np.pi) * G * t + np.array([0, 0, slope * t])
    result = dephasing.box_response(k, size)
    # The middle of parts is off by (pi k size / parts)^2 / 6.
    assert abs(result) > 0.05
    assert abs(np.mean(M[:, 0] + 1j * M[:, 1]) - result) < 3e-3


def test_the_response_of_a_box_is_smooth_everywhere():
    x = np.array([-3.5, -1, -0.01 / np.pi * 1.001, -0.01 / np.pi * 0.999, 0, 1e-9, 0.4])
    k = np.stack([x, 0 * x, 0 * x], -1)
    np.testing.assert_allclose(dephasing.box_response(k, (1, 1, 1)), np.sinc(x), atol=1e-15)
    tensor = torch.tensor([[0.0, 0.3, -0.002], [1.0, 0, 2.5]], dtype=torch.float64)
    size = torch.tensor([1.0, 0.8, 1.2], dtype=torch.float64)
    arguments = (tensor.requires_grad_(), size.requires_grad_())
    assert torch.autograd.gradcheck(dephasing.box_response, arguments)
    strict = dephasing.box_response(array_api_strict.asarray(k), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(np.asarray(strict), np.sinc(x), atol=1e-15)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: dephasing.lorentzian_offsets(np.array(1.0), 4, 1.0), "count=4"),
        (lambda: dephasing.lorentzian_offsets(np.array(1.0), True, 1.0), "count=True"),
        (lambda: dephasing.lorentzian_offsets(np.array(1.0), 5.0, 1.0), "count=5.0"),
        (lambda: dephasing.lorentzian_offsets(np.array(1.0), 5, -1.0), "duration=-1"),
        (lambda: dephasing.with_species(PHANTOM, (0.0, 1.0), (1.0, 0.0), 0.0), "B0=0"),
        (lambda: dephasing.with_species(PHANTOM, (0.0, 1.0), (1.0,), 3.0), r"fractions: shape"),
        (lambda: dephasing.with_species(PHANTOM, (0.0,), (1.0,), 3.0, T1=1.0), r"T1: shape \(\)"),
    ],
)
def test_refuses_what_makes_no_sense(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


PHANTOM = Phantom(np.zeros((2, 3)))


def test_a_signal_of_several_excitations_takes_a_set_for_T2p():
    """A stimulated echo beside quantiles of the line; one excitation beside the closed form."""
    scanner = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0, max_b1=1.0)
    rf = RF.sampled(np.array([np.pi / 2 / (GAMMA_1H * 1e-5) + 0j]), 1e-5, use="excitation")
    read = ADC(100, 1.9e-4, delay=2e-4)
    blocks = Block(1e-2, rf=rf), Block(1e-2, rf=rf), Block(2e-2, rf=rf, adc=read)
    several, one = (Sequence(b, scanner=scanner) for b in (blocks, blocks[-1:]))
    fields = {"T1": np.array([1.0, 2.0]), "T2": 0.1, "M0": np.array([1.0, 0.5])}
    phantom = Phantom(np.zeros((2, 3)), **fields, T2p=np.array([5e-3, 1e-2]))
    with pytest.raises(ValueError, match="single coherence pathway"):
        bloch.signal(several, phantom)
    with pytest.raises(ValueError, match="M: with isochromats"):
        bloch.signal(several, phantom, isochromats=9, M=np.zeros((2, 3)))
    quantiles = np.tan(np.pi * ((np.arange(20_001) + 0.5) / 20_001 - 0.5)) / (2 * np.pi)
    expected = sum(
        bloch.signal(
            several,
            Phantom(np.zeros((quantiles.size, 3)), T1=T1, T2=0.1, M0=M0 / quantiles.size,
                    df=quantiles / T2p),
        )
        for T1, M0, T2p in zip(fields["T1"], fields["M0"], phantom.T2p, strict=True)
    )  # fmt: skip
    found = bloch.signal(several, phantom, isochromats=801)
    assert np.abs(found).max() > 0.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3)
    closed = bloch.signal(one, phantom)
    np.testing.assert_allclose(bloch.signal(one, phantom, isochromats=801), closed, atol=4e-3)
