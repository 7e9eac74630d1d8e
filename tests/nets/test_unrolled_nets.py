"""What every reconstruction network of conf/net must hold, whatever its weights are."""

import math
from functools import cache

import pytest
import torch

from ipads_stream.config import compose, instantiate
from ipads_stream.core.errors import ConfigError
from ipads_stream.losses.deep_supervision import DeepSupervision, energy

NAMES = ["dlnmr", "dlnmr_complex", "dhmf", "modern", "modern_fixed"]
SMALLER = {
    "dlnmr": {"phases": 2, "growth": 4, "memory": 2},
    "dlnmr_complex": {"phases": 2, "growth": 4, "memory": 2},
    "dhmf": {"steps": [1, 2], "growth": 4, "memory": 2, "rank": 6},
    "modern": {"phases": 3, "channels": 6},
    "modern_fixed": {"phases": 3, "channels": 6},
}


@cache
def node_of(name):
    return compose([f"net={name}"])["net"]


def build(name, **changes):
    """The network of a YAML file, small, with random weights everywhere, in double precision."""
    node = node_of(name) | SMALLER[name] | changes
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = instantiate(node, "net").double()
        for parameter in net.parameters():
            if not parameter.any():  # what starts at zero would hide everything behind it
                torch.nn.init.normal_(parameter, std=0.1)
    return net


def signals(rows=4, points=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(points, dtype=torch.float64)
    frequency, phase = torch.rand(2, rows, 2, 1, generator=generator, dtype=torch.float64)
    wave = torch.exp(2j * torch.pi * (frequency * time + phase) - time / 20).sum(1)
    mask = torch.rand(rows, points, generator=generator) < 0.4
    mask[:, 0] = True
    return {"fid": torch.where(mask, wave, 0), "mask": mask}, wave


def signal_of(spectrum):
    return torch.fft.ifft(torch.fft.ifftshift(spectrum, dim=-1), dim=-1, norm="ortho")


@pytest.mark.parametrize("name", NAMES)
def test_measured_points_are_kept_and_others_change(name):
    inputs, _ = signals()
    found = build(name)(inputs)
    mask = inputs["mask"]
    for spectrum in found["phases"]:
        torch.testing.assert_close(signal_of(spectrum)[mask], inputs["fid"][mask])
    assert signal_of(found["spectrum"])[~mask].abs().min() > 0
    torch.testing.assert_close(found["phases"][-1], found["spectrum"])


@pytest.mark.parametrize("name", NAMES)
def test_full_sampling_is_exact(name):
    inputs, wave = signals()
    full = {"fid": wave, "mask": torch.ones_like(inputs["mask"])}
    torch.testing.assert_close(signal_of(build(name)(full)["spectrum"]), wave)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-6, 37.0])
def test_the_output_scales_with_the_input(name, factor):
    inputs, _ = signals()
    net = build(name)
    scaled = net({**inputs, "fid": factor * inputs["fid"]})["spectrum"]
    torch.testing.assert_close(scaled, factor * net(inputs)["spectrum"], rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_their_batch(name):
    inputs, _ = signals()
    net = build(name)
    together = net(inputs)["spectrum"]
    for row in range(4):
        alone = net({key: value[row : row + 1] for key, value in inputs.items()})
        torch.testing.assert_close(alone["spectrum"][0], together[row])


@pytest.mark.parametrize("name", NAMES)
def test_values_that_were_not_measured_are_not_used(name):
    inputs, _ = signals()
    net = build(name)
    spoiled = torch.where(inputs["mask"], inputs["fid"], 1e6)
    torch.testing.assert_close(
        net({**inputs, "fid": spoiled})["spectrum"], net(inputs)["spectrum"], rtol=0, atol=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_zero_row_stays_zero_and_does_no_harm_to_gradients(name):
    inputs, wave = signals()
    inputs["fid"][1] = 0
    wave[1] = 0
    net = build(name).float()
    found = net({"fid": inputs["fid"].to(torch.complex64), "mask": inputs["mask"]})["spectrum"]
    assert not found[1].any()
    energy(found - wave).sum().backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_shifting_by_a_bin_shifts_the_spectrum(name):
    if name == "dhmf":
        pytest.skip("the factors start from harmonics that do not move with the signal")
    inputs, _ = signals()
    net = build(name)
    ramp = torch.exp(2j * torch.pi * 5 * torch.arange(32, dtype=torch.float64) / 32)
    shifted = net({**inputs, "fid": inputs["fid"] * ramp})["spectrum"]
    torch.testing.assert_close(shifted, net(inputs)["spectrum"].roll(5, dims=-1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [9, 50])
def test_any_length_fits(name, points):
    inputs, _ = signals(points=points)
    assert build(name)(inputs)["spectrum"].shape == (4, points)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_the_gradient_of_finite_differences(name):
    inputs, wave = signals(rows=2)
    target = torch.fft.fftshift(torch.fft.fft(wave, norm="ortho"), dim=-1)
    net = build(name)

    def error():
        return energy(net(inputs)["phases"][-1] - target).sum()

    error().backward()
    generator = torch.Generator().manual_seed(1)
    for label, parameter in net.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-6
        with torch.no_grad():
            parameter += step * direction
            above = error()
            parameter -= 2 * step * direction
            below = error()
            parameter += step * direction
        if parameter.grad is None:  # memory behind the last phase, the last unused features
            assert above == below, label
            continue
        slope = float((parameter.grad * direction).sum())
        # A ReLU or a threshold may lie within the step: then the two differ a little.
        assert float(above - below) / (2 * step) == pytest.approx(slope, rel=1e-3, abs=1e-4), label


@pytest.mark.parametrize("name", NAMES)
def test_soft_consistency_moves_towards_the_measured_points(name):
    inputs, _ = signals()
    mask = inputs["mask"]
    net = build(name, consistency=1.0)
    found = signal_of(net(inputs)["spectrum"])[mask]
    assert (found - inputs["fid"][mask]).abs().max() > 1e-6
    near = signal_of(build(name, consistency=1e9)(inputs)["spectrum"])[mask]
    torch.testing.assert_close(near, inputs["fid"][mask], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_of_training_lower_the_error(name):
    inputs, wave = signals(rows=8)
    target = torch.fft.fftshift(torch.fft.fft(wave, norm="ortho"), dim=-1)
    net = build(name)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    errors = []
    for _ in range(25):
        error = (energy(net(inputs)["spectrum"] - target) / energy(target)).mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("dlnmr", "kernel", 4),
        ("dlnmr", "dilations", []),
        ("dlnmr", "dilations", 3),
        ("dlnmr_complex", "memory", 3),
        ("dhmf", "steps", []),
        ("dhmf", "steps", [1, 0]),
        ("dhmf", "rank", 0),
        ("dhmf", "threshold", 1.5),
        ("dhmf", "consistency", 0),
        ("modern", "dilations", [1]),
        ("modern", "threshold", 0.1),
        ("modern", "channels", 2.5),
    ],
)
def test_errors_name_the_key(name, key, value):
    expected = "channels" if name == "dlnmr_complex" else key
    with pytest.raises(ConfigError, match=expected):
        build(name, **{key: value})


def test_complex_and_two_channel_networks_have_equal_parameter_counts():
    counts = []
    for name in ("dlnmr", "dlnmr_complex"):
        net = instantiate(node_of(name), "net")
        counts.append(sum(parameter.numel() for parameter in net.parameters()))
    assert math.isclose(*counts, rel_tol=0.02)


def test_deep_supervision_weighs_the_phases():
    sample = type("Sample", (), {"targets": {"spectrum": torch.ones(2, 5)}})
    phases = torch.stack([torch.zeros(2, 5), torch.ones(2, 5)])
    terms = DeepSupervision(discount=0.5)({"phases": phases}, sample)
    torch.testing.assert_close(terms["phase_1"], torch.full((2,), 0.25), rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["phase_2"], torch.full((2,), 0.5e-3), rtol=1e-5, atol=0)
