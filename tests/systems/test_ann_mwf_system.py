"""Decays of three pools: physics, noise, inputs that do not depend on distributions, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from ipads_stream import load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform

NAMES = ("ann_mwf", "ann_mwf_cpmg")


def keys(indices, split="train"):
    return Keys(0, split, np.asarray(indices, dtype=np.uint64))


def drawn(system, count=200):
    return system.draw(keys(range(count)), np.arange(float(count)))


@pytest.fixture(params=NAMES)
def system(request):
    return load_system(request.param)


def test_the_decay_is_that_of_its_pools():
    system = load_system("ann_mwf")
    p = drawn(system, 20)
    expected = np.zeros((20, 32))
    others = 1 - p["MWF"]
    for amount, time in (
        (p["MWF"], "T2_myelin"),
        (others * p["axonal"], "T2_axonal"),
        (others * (1 - p["axonal"]), "T2_extracellular"),
    ):
        expected += amount[:, None] * np.exp(-(0.0016 + 0.001 * np.arange(32)) / p[time][:, None])
    assert np.allclose(system.forward(p), expected, atol=1e-14)


def test_dephasing_is_the_mean_over_the_slice():
    """Against the integral of the off-resonance across the slice."""
    system = dataclasses.replace(load_system("ann_mwf"), dephasing=Uniform(low=0.0, high=40.0))
    p = drawn(system, 3)
    plain = load_system("ann_mwf").forward(p)
    factor = system.forward(p) / plain
    for i, df in enumerate(p["dephasing"]):
        for n, TE in enumerate(system.TE):
            mean = quad(lambda x, f=df, t=TE: np.cos(2 * np.pi * f * x * t), -0.5, 0.5)[0]
            assert factor[i, n] == pytest.approx(mean, abs=1e-9)
    still = dataclasses.replace(system, dephasing=Constant(value=0.0))
    assert np.array_equal(still.forward(p | {"dephasing": np.zeros(3)}), plain)


def test_noise_has_the_drawn_level():
    system = load_system("ann_mwf_cpmg", ["snr=80"])
    p = drawn(system, 2000)
    sample = system.render(p, keys(range(2000)), np)
    clean = system.forward(p)
    noise = sample.inputs["decay"] - clean
    assert np.allclose(sample.inputs["sigma"], clean[:, 0] / 80, rtol=1e-5)
    assert np.std(noise / sample.inputs["sigma"][:, None]) == pytest.approx(1, abs=0.01)


def test_magnitudes_are_those_of_two_noisy_channels():
    system = load_system("ann_mwf", ["snr=2"])
    p = drawn(system, 3000)
    sample = system.render(p, keys(range(3000)), np)
    assert (sample.inputs["decay"] >= 0).all()
    sigma = sample.inputs["sigma"].astype(float)[:, None]
    second = np.mean(sample.inputs["decay"] ** 2 - system.forward(p) ** 2 - 2 * sigma**2)
    assert abs(second) < 0.01 * np.mean(2 * sigma**2)  # E m^2 = s^2 + 2 sigma^2


def test_inputs_are_a_function_of_the_data_and_not_of_the_distributions(system):
    """A test on other distributions must show a network what it was trained on."""
    changed = dataclasses.replace(
        system, MWF=Uniform(low=0.0, high=0.9), T2_myelin=Uniform(low=0.002, high=0.03)
    )
    p = drawn(system, 10)
    one, other = (s.render(p, keys(range(10)), np) for s in (system, changed))
    for name in one.inputs:
        assert np.array_equal(one.inputs[name], other.inputs[name])


def test_inputs_do_not_depend_on_the_amount_of_water(system):
    p = drawn(system, 50)
    inputs = system.render(p, keys(range(50)), np).inputs
    images = 731.0 * inputs["decay"].astype(float)
    measured = system.measured(images[:, None, None], system.TE)
    assert np.allclose(measured["features"], inputs["features"], atol=2e-3)


def test_measured_images_tell_their_noise(system):
    system = dataclasses.replace(system, snr=Constant(value=100.0))
    p = drawn(system, 2000)
    inputs = system.render(p, keys(range(2000)), np).inputs
    measured = system.measured(inputs["decay"].reshape(40, 50, 32), system.TE)
    assert measured["sigma"][0] == pytest.approx(np.median(inputs["sigma"]), rel=0.05)
    assert np.median(measured["log_snr"] - inputs["log_snr"]) == pytest.approx(0, abs=0.05)
    turned = inputs["decay"] * np.exp(0.7j)
    assert np.allclose(system.measured(turned[:, None], None)["decay"], inputs["decay"], atol=1e-5)
    empty = system.measured(np.zeros((2, 2, 32)), None)
    assert all(np.isfinite(x).all() for x in empty.values())


def test_targets_and_quantities(system):
    sample = system.render(drawn(system, 10), keys(range(10)), np)
    assert sample.targets.keys() == system.quantities.keys()
    for name, values in sample.targets.items():
        quantity = system.quantities[name]
        assert values.shape == (10,)
        assert (values >= 0.999 * quantity.low).all()
        assert (values <= 1.001 * quantity.high).all()
    assert ("B1" in sample.targets) == (system.B1 is not None)


def test_the_network_fits_the_system():
    from ipads_stream.config import build_run, compose

    for name in NAMES:
        run = build_run(compose([f"system={name}", "logger=none"]))
        sample = run.system.render(drawn(run.system, 4), keys(range(4)), np)
        tensors = {key: torch.from_numpy(x) for key, x in sample.inputs.items()}
        found = run.build_net()(tensors)
        assert found.keys() == run.system.quantities.keys()
        for key, quantity in run.build_net().quantities.items():
            asked = run.system.quantities[key]
            assert (quantity.unit, quantity.scale) == (asked.unit, asked.scale)
            assert quantity.low == pytest.approx(asked.low)
            assert quantity.high == pytest.approx(asked.high)


def test_the_forward_model_is_differentiable(system):
    p = {name: torch.tensor(x, requires_grad=True) for name, x in drawn(system, 2).items()}
    names = [name for name in p if name != "snr"]

    def forward(*values):
        return system.forward(p | dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(forward, tuple(p[name] for name in names))


def test_the_bound_is_that_of_the_exact_derivative(system):
    p = drawn(system, 3)
    names = [name for name in p if name != "snr"]
    tensors = tuple(torch.tensor(p[name], requires_grad=True) for name in names)
    forward = lambda *x: system.forward(dict(zip(names, x, strict=True)))  # noqa: E731
    columns = torch.autograd.functional.jacobian(forward, tensors)
    signal = system.forward(p)
    found = system.bound(p)
    for i in range(3):
        J = np.stack([signal[i], *(c.numpy()[i, :, i] for c in columns)], -1)
        fisher = J.T @ J * (p["snr"][i] / signal[i, 0]) ** 2
        sd = np.sqrt(np.diag(np.linalg.inv(fisher)))
        for name, values in found.items():
            assert values[i] == pytest.approx(sd[1 + names.index(name)], rel=1e-3)


def test_a_voxel_that_tells_nothing_has_no_finite_bound():
    system = load_system("ann_mwf")
    p = drawn(system, 3)
    p["T2_axonal"][1] = p["T2_extracellular"][1]
    bound = system.bound(p)["T2_axonal"]
    assert bound[1] == np.inf
    assert np.isfinite(bound[[0, 2]]).all()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["num_echoes=5", "features=3"], "num_echoes=5"),
        (["T2_axonal=0.05",
          "T2_extracellular=0.05"], "num_echoes=32"),
        (["detection=phase"], "detection"),
        (["features=0"], "features"),
        (["spacing=0"], "spacing"),
        (["B1=1.0"], "first_echo"),
        (["first_echo=0.001", "B1=1.0", "dephasing=3.0"], "dephasing"),
    ],
)  # fmt: skip
def test_refuses_what_cannot_be_estimated(overrides, reason):
    with pytest.raises(ConfigError, match=rf"system\.{reason}"):
        load_system("ann_mwf", overrides)


@pytest.mark.parametrize(
    ("images", "axis", "reason"),
    [
        (np.ones((2, 2, 31)), None, "31 images.*32 echoes"),
        (np.ones((2, 2, 32)), np.arange(32) * 0.001, "echo times"),
        (np.full((2, 2, 32), np.nan), None, "finite"),
        (-np.ones((2, 2, 32)), None, "magnitudes"),
    ],
)
def test_refuses_images_of_another_kind(images, axis, reason):
    with pytest.raises(ConfigError, match=reason):
        load_system("ann_mwf").measured(images, axis)
