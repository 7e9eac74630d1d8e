"""Networks of two axes: shapes, scale of the outputs, and what they can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream import ConfigError
from ipads_stream.nets.residual_dense2d import ResidualDense2D
from ipads_stream.nets.unet2d import UNet2D

OUTPUTS = {"T2": {"low": 20, "high": 700, "unit": "ms", "scale": "log"}}
SMALL = {
    UNet2D: {"widths": [4, 6, 8]},
    ResidualDense2D: {"width": 6, "growth": 4, "layers": 2, "blocks": 2},
}


@pytest.fixture(params=SMALL, ids=lambda cls: cls.__name__)
def net(request):
    torch.manual_seed(0)
    return request.param(outputs=OUTPUTS, **SMALL[request.param])


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(16, 16), (13, 18), (1, 5)])
def test_maps_have_the_extent_of_the_image(net, shape):
    assert net({"image": images(2, 2, *shape)})["T2"].shape == (2, *shape)


def test_an_untrained_network_gives_the_middle_of_the_range_in_SI(net):
    found = net({"image": images(1, 2, 8, 8)})["T2"]
    assert found.detach().numpy() == pytest.approx(np.sqrt(0.02 * 0.7), rel=1e-5)


def _trained(net, image, target, steps=30):
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    errors = []
    for _ in range(steps):
        error = (net({"image": image})["T2"].log() - target.log()).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    return errors


def test_it_learns_a_map_from_an_image(net):
    image = images(4, 2, 16, 16)
    target = 0.1 * torch.exp(image[:, 0])
    errors = _trained(net, image, target)
    assert errors[-1] < 0.5 * errors[0]


def test_every_parameter_matters_after_a_step(net):
    image = images(2, 2, 16, 16)
    _trained(net, image, 0.1 * torch.exp(image[:, 0]), steps=3)
    net({"image": image})["T2"].log().square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_samples_do_not_see_one_another(net):
    image = images(3, 2, 12, 12)
    _trained(net, image, 0.1 * torch.exp(image[:, 0]), steps=3)
    alone = net({"image": image[1:2]})["T2"]
    assert torch.allclose(net({"image": image})["T2"][1:2], alone, rtol=1e-4)


def test_the_coarsest_level_sees_far():
    torch.manual_seed(0)
    net = UNet2D(outputs=OUTPUTS, widths=[4, 4, 4, 4])
    torch.nn.init.normal_(net.last.weight)
    image = images(1, 2, 64, 64).requires_grad_()
    (slope,) = torch.autograd.grad(net({"image": image})["T2"][0, 32, 32], image)
    reached = np.flatnonzero(slope.abs().sum((0, 1, 3)).numpy())
    assert np.ptp(reached) > 32


def test_several_quantities_have_maps_of_their_own():
    both = {**OUTPUTS, "B1": {"low": 0.5, "high": 1.5}}
    found = UNet2D(outputs=both, widths=[4, 4])({"image": images(1, 2, 8, 8)})
    assert set(found) == {"T2", "B1"}
    assert found["B1"].detach().numpy() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("cls", "key", "value"),
    [(UNet2D, "widths", []), (UNet2D, "widths", [0]), (ResidualDense2D, "growth", 0),
     (ResidualDense2D, "blocks", 1.5)],
)  # fmt: skip
def test_senseless_sizes_are_refused_by_name(cls, key, value):
    with pytest.raises(ConfigError, match=key):
        cls(outputs=OUTPUTS, **{key: value})
