"""The networks of susceptibility: shapes, scale, what they start from, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream.baselines import dipole_inversion
from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.dipole_unrolled import (
    DipoleUnrolled,
    convolved,
    kernels,
    noise_level,
    tikhonov,
    total_variation,
)
from ipads_stream.nets.field_scale import Fixed, RootMeanSquare
from ipads_stream.nets.unet3d import UNet3D
from ipads_stream.physics.fields import dipole

OUTPUTS = {"chi_ppm": {"low": -0.2, "high": 0.2, "unit": "ppm"}}
SPACING = (1e-3, 1e-3, 1.5e-3)


def unrolled(**options):
    settings = {"steps": 2, "width": 6, "memory": 2, "start": 3, "variation": 4} | options
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DipoleUnrolled(outputs=OUTPUTS, spacing=SPACING, **settings)
        for block in net.blocks:  # which start at 0
            torch.nn.init.normal_(block[-1].weight, std=0.05)
    return net


def unet(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet3D(outputs=OUTPUTS, widths=(4, 6, 8), **options)


def inputs(shape=(2, 10, 9, 8)):
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:, 1:-1, 1:-1, 1:-1] = True
    return {"field_ppm": torch.randn(shape, generator=generator) * 0.02 * mask, "mask": mask}


def test_the_convolution_is_that_of_the_physics():
    x = inputs()["field_ppm"].double()
    D = torch.from_numpy(dipole.free_space_kernel(x.shape[1:], SPACING, (1, 2, 3)))
    assert torch.allclose(convolved(x, D), dipole.field(x, SPACING, (1, 2, 3)), atol=1e-12)


def test_conjugate_gradients_solve_the_normal_equations():
    """Against the dense matrix on a few voxels."""
    given = inputs((1, 5, 4, 4))
    field, mask = given["field_ppm"].double(), given["mask"].double()
    D, roughness = kernels(field, SPACING, (0, 0, 1))
    size, weight = field.numel(), 0.05
    units = torch.eye(size, dtype=torch.double).reshape(size, *field.shape[1:])
    A = convolved(units, D).reshape(size, size)
    R = convolved(units, roughness).reshape(size, size)
    W = mask.flatten()
    inside = W > 0
    whole = (A @ torch.diag(W) @ A + weight * R)[inside][:, inside]
    right = (A @ (W * field.flatten()))[inside]
    expected = torch.linalg.solve(whole, right)
    found = tikhonov(field, mask, D, roughness, weight, 60).flatten()
    assert torch.allclose(found[inside], expected, rtol=1e-6, atol=1e-9)
    assert not found[~inside].any()


@pytest.mark.parametrize("make", [unrolled, unet])
def test_maps_have_the_shape_and_are_zero_outside_the_mask(make):
    given = inputs()
    found = make()(given)["chi_ppm"]
    assert found.shape == given["mask"].shape
    assert not found[~given["mask"]].any()
    assert found.isfinite().all()


@pytest.mark.parametrize("make", [unrolled, unet])
def test_the_gradient_reaches_every_parameter(make):
    net = make()
    net(inputs())["chi_ppm"].square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    "net",
    [unrolled(), unrolled(activation="tanh", bias=True, scale=RootMeanSquare()),
     unet(scale=RootMeanSquare())],
    ids=["no biases", "scaled, tanh", "scaled U-Net"],
)  # fmt: skip
def test_these_are_homogeneous(net):
    given = inputs()
    once = net.eval()(given)["chi_ppm"]
    strong = net(given | {"field_ppm": 10 * given["field_ppm"]})["chi_ppm"]
    assert torch.allclose(strong, 10 * once, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("net", [unrolled(activation="tanh"), unrolled(bias=True)])
def test_these_are_not(net):
    if net.blocks[0][0].bias is not None:
        torch.nn.init.constant_(net.blocks[0][0].bias, 0.1)
    given = inputs()
    once = net.eval()(given)["chi_ppm"]
    strong = net(given | {"field_ppm": 1000 * given["field_ppm"]})["chi_ppm"]
    assert not torch.allclose(strong, 1000 * once, rtol=0.02, atol=1e-3)


def test_a_field_of_nothing_has_a_map_of_nothing():
    given = inputs()
    nothing = {"field_ppm": torch.zeros_like(given["field_ppm"]), "mask": given["mask"]}
    assert not unrolled()(nothing)["chi_ppm"].any()
    assert RootMeanSquare()(nothing["field_ppm"], given["mask"].float()).eq(1).all()
    assert Fixed(0.3)(nothing["field_ppm"], given["mask"].float()).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("variation", [0, 5])
def test_before_training_it_gives_what_it_starts_from(variation):
    net = DipoleUnrolled(outputs=OUTPUTS, spacing=SPACING, steps=2, width=4, variation=variation)
    given = inputs()
    field, mask = given["field_ppm"], given["mask"].float()
    D, roughness = kernels(field, SPACING, (0, 0, 1))
    expected = tikhonov(field, mask, D, roughness, 0.01, 3)
    if variation:
        weight = 0.03 * noise_level(field, mask)
        expected = total_variation(field, mask, expected, D, roughness, weight, 5, SPACING)
        missing = (field - convolved(expected, D)) * mask
        expected = expected + tikhonov(missing, mask, D, roughness, 0.01, 3)
    assert torch.allclose(net(given)["chi_ppm"], expected, atol=1e-6)
    assert np.abs(expected.numpy()).max() > 0


def test_total_variation_ends_where_the_classical_method_does():
    """Other penalties, other transforms: the same minimum, whose cost is tested with the latter."""
    shape = (1, 12, 11, 10)
    mask = np.zeros(shape, dtype=bool)
    mask[:, 1:-1, 1:-1, 1:-1] = True
    chi = np.zeros(shape, np.float32)
    chi[:, 3:6, 3:8, 2:6], chi[:, 7:9, 4:9, 5:8] = 0.1, -0.2
    noise = np.random.default_rng(0).normal(0, 5e-4, shape).astype(np.float32)
    field = (dipole.field(chi, SPACING, (0, 0, 1)) + noise) * mask
    grid = dipole_inversion.DipoleGrid(shape[1:], SPACING, (0.0, 0.0, 1.0))
    weight = 2e-4
    expected = dipole_inversion.total_variation(field, mask, grid, weight=weight, iterations=400)
    f, W = torch.from_numpy(field), torch.from_numpy(mask).float()
    D, roughness = kernels(f, SPACING, (0.0, 0.0, 1.0))
    of = torch.full((1, 1, 1, 1), weight)
    found = total_variation(f, W, torch.zeros_like(f), D, roughness, of, 400, SPACING)
    assert np.linalg.norm(found.numpy() - expected) < 0.02 * np.linalg.norm(expected)
    assert np.linalg.norm(expected - chi) < 0.35 * np.linalg.norm(chi)


def test_the_noise_level_is_that_of_the_noise():
    shape = (2, 20, 20, 20)
    mask = torch.zeros(shape)
    mask[:, 2:-2, 2:-2, 2:-2] = 1
    generator = torch.Generator().manual_seed(3)
    sigma = torch.tensor([1e-3, 4e-3])[:, None, None, None]
    x = torch.linspace(-1, 1, 20)
    smooth = 0.05 * (x[:, None, None] ** 2 - x[None, :, None] * x)[None]
    found = noise_level((smooth + sigma * torch.randn(shape, generator=generator)) * mask, mask)
    assert torch.allclose(found, sigma, rtol=0.1)
    assert not noise_level(smooth.expand(shape), torch.zeros(shape)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"activation": "relu6"}, "activation='relu6'"),
        ({"rho": -1.0}, "rho=-1.0"),
        ({"strictness": 0.0}, "strictness=0.0"),
        ({"variation": -1}, "variation=-1"),
        ({"memory": 0}, "memory=0"),
        ({"dilations": []}, "dilations"),
    ],
)
def test_senseless_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        DipoleUnrolled(outputs=OUTPUTS, spacing=SPACING, **options)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="kernel=4"):
        UNet3D(outputs=OUTPUTS, kernel=4)
