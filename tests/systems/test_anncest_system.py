"""Z-spectra of phosphocreatine: physics, noise, shared spectra, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from ipads_stream import load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform


def keys(indices):
    return Keys(0, "train", np.asarray(indices, dtype=np.uint64))


def system_of(**changes):
    return dataclasses.replace(load_system("anncest"), **{"repeats": 1} | changes)


def _exact(system, p, power, offset):
    """Water's Mz by one matrix exponential of the equations of three pools, written out."""
    gamma = 2 * np.pi * 42.577478518e6
    w1 = gamma * power * p["B1"]
    pools = [(1.0, p["T1"], p["T2"], 0.0, 0.0)]
    for name, rate, shift in (("PCr", "exchange", 2.5), ("Cr", "Cr_exchange", 1.95)):
        protons = {"PCr": 2, "Cr": 4}[name]
        pools.append((p[name] * protons / 111e3, 1.0, 0.1, p[rate], shift))
    A = np.zeros((10, 10))
    for i, (fraction, T1, T2, rate, shift) in enumerate(pools):
        x, y, z = 3 * i, 3 * i + 1, 3 * i + 2
        dw = gamma * 3.0e-6 * (shift + p["df_ppm"] - offset)
        A[x, x] = A[y, y] = -1 / T2
        A[x, y], A[y, x] = dw, -dw
        A[y, z], A[z, y] = w1, -w1
        A[z, z], A[z, 9] = -1 / T1, fraction / T1
        for k in range(3):
            A[3 * i + k, 3 * i + k] -= rate
            A[k, 3 * i + k] += rate
            A[3 * i + k, k] += rate * fraction
            A[k, k] -= rate * fraction
    M = np.zeros(10)
    M[2], M[5], M[8], M[9] = 1, pools[1][0], pools[2][0], 1

    return (expm(A * system.duration) @ M)[2]


def test_spectra_are_those_of_the_equations():
    system = system_of()
    p = system.draw(keys(range(2)), np.zeros(2))
    spectra = system.forward(p).reshape(2, 3, 24)
    for i in range(2):
        one = {name: values[i] for name, values in p.items()}
        for n, power in enumerate(system.powers):
            for j in (0, 2, 9, 15):
                expected = _exact(system, one, power, system.offsets_ppm[j])
                assert spectra[i, n, j] == pytest.approx(expected, abs=1e-9)


def test_samples_of_a_spectrum_differ_in_their_noise_alone():
    system = load_system("anncest")
    assert system.repeats == 16
    p = system.draw(keys(range(40)), np.zeros(40))
    sample = system.render(p, keys(range(40)), np)
    for name in ("PCr", "exchange", "df_ppm", "B1", "T1"):
        groups = p[name].reshape(-1, 8)[[0, 2, 4]]
        assert (np.ptp(p[name][:16]) == 0) and (np.ptp(p[name][16:32]) == 0)
        assert len(np.unique(groups[:, 0])) == 3
    assert len(np.unique(p["snr"])) == 40
    spectra = sample.inputs["spectrum"]
    clean = np.asarray(system.forward(p))
    noise = (spectra - clean) * p["snr"][:, None]
    assert np.std(noise) == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.4


def test_inputs_do_not_depend_on_the_distributions():
    """A network trained on a narrow range of B0 must see the same on a wide one."""
    one, other = system_of(), system_of(df_ppm=Uniform(low=-0.4, high=0.4))
    p = one.draw(keys(range(6)), np.zeros(6))
    a, b = (s.render(p, keys(range(6)), np).inputs for s in (one, other))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_measured_images_tell_their_noise():
    system = system_of(snr=Constant(value=150.0))
    p = system.draw(keys(range(300)), np.zeros(300))
    inputs = system.render(p, keys(range(300)), np).inputs
    found = system.measured(inputs["spectrum"].reshape(30, 10, 72), np.tile(system.offsets_ppm, 3))
    assert found["sigma"][0] == pytest.approx(1 / 150, rel=0.05)
    assert np.array_equal(found["features"], inputs["features"])


@pytest.mark.slow
def test_one_power_tells_less_than_three_for_as_many_images():
    system = system_of()
    p = system.draw(keys(range(30)), np.zeros(30)) | {"snr": np.full(30, 200.0)}
    three = system.bound(p)
    for power in system.powers:
        one = system_of(powers=(power,)).bound(p | {"snr": np.full(30, 200.0 * 3**0.5)})
        for name in ("PCr", "exchange"):
            assert np.median(one[name]) > np.median(three[name])


def test_the_forward_model_is_differentiable():
    system = system_of(
        offsets_ppm=tuple(np.linspace(-0.4, 3.2, 13)), powers=(0.5e-6, 1e-6), features=2
    )
    names = ("PCr", "exchange", "df_ppm", "B1")
    p = {n: torch.tensor(x) for n, x in system_of().draw(keys([1]), np.zeros(1)).items()}
    for name in names:
        p[name].requires_grad_()
    system.forward(p).sum().backward()
    for name in names:
        step = 1e-5 * max(abs(p[name].item()), 0.1)
        plain = {n: x.detach() for n, x in p.items()}
        ahead, behind = (
            system.forward(plain | {name: plain[name] + s}).sum().item() for s in (step, -step)
        )
        assert p[name].grad.item() == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["offsets_ppm=[1.95,2.5]", "features=2"], "powers"),
        (["PCr=0"], "powers|exchange"),
        (["powers=[0.5]"], "powers"),
        (["powers=[]"], "powers"),
        (["repeats=0"], "repeats"),
        (["duration=-1"], "duration"),
    ],
)
def test_refuses_protocols_that_tell_nothing(overrides, reason):
    with pytest.raises(ConfigError, match=rf"system\.({reason})"):
        load_system("anncest", overrides)


@pytest.mark.parametrize(
    ("images", "axis", "reason"),
    [
        (np.ones((2, 2, 71)), None, "71 images"),
        (np.ones((2, 2, 72)), np.arange(72), "offsets"),
        (np.full((2, 2, 72), 1e3), None, "without saturation"),
        (np.full((2, 2, 72), np.nan), None, "finite"),
    ],
)
def test_refuses_images_of_another_kind(images, axis, reason):
    with pytest.raises(ConfigError, match=reason):
        load_system("anncest").measured(images, axis)
