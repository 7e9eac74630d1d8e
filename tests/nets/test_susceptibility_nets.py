"""The networks of susceptibility: shapes, scale, what they start from, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.dipole_unrolled import DipoleUnrolled, convolved, tikhonov
from ipads_stream.nets.field_scale import Fixed, RootMeanSquare
from ipads_stream.nets.unet3d import UNet3D
from ipads_stream.physics import dipole

OUTPUTS = {"chi_ppm": {"low": -0.2, "high": 0.2, "unit": "ppm"}}
SPACING = (1e-3, 1e-3, 1.5e-3)


def unrolled(**options):
    settings = {"steps": 2, "width": 6, "memory": 2, "start": 6} | options
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
    net = unrolled()
    given = inputs((1, 5, 4, 4))
    field, mask = given["field_ppm"].double(), given["mask"].double()
    D, roughness = (kernel.double() for kernel in net._kernels(given["field_ppm"]))
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


def test_before_training_it_gives_tikhonov_s_solution():
    net = DipoleUnrolled(outputs=OUTPUTS, spacing=SPACING, steps=2, width=4, memory=1)
    given = inputs()
    D, roughness = net._kernels(given["field_ppm"])
    expected = tikhonov(given["field_ppm"], given["mask"].float(), D, roughness, 1e-3, 10)
    assert torch.allclose(net(given)["chi_ppm"], expected, atol=1e-6)
    assert np.abs(expected.numpy()).max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"activation": "relu6"}, "activation='relu6'"),
        ({"rho": -1.0}, "rho=-1.0"),
        ({"dilations": []}, "dilations"),
    ],
)
def test_senseless_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        DipoleUnrolled(outputs=OUTPUTS, spacing=SPACING, **options)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="kernel=4"):
        UNet3D(outputs=OUTPUTS, kernel=4)
