"""Complex convolutions against complex arithmetic."""

import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.complex_convolution import ComplexConvolution, ComplexValued, TwoChannel


def as_channels(z):
    return torch.view_as_real(z).movedim(-1, 2).flatten(1, 2)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 2)])
def test_equals_complex_arithmetic(kernel, dilation):
    generator = torch.Generator().manual_seed(0)
    layer = ComplexConvolution(6, 4, kernel, dilation).double()
    torch.nn.init.normal_(layer.bias)
    z = torch.randn(2, 3, 20, generator=generator, dtype=torch.complex128)
    weight = torch.complex(*layer.weight)
    points = 20 - dilation * (kernel - 1)
    expected = torch.view_as_complex(layer.bias.reshape(2, 2).clone())[None, :, None].repeat(
        2, 1, points
    )
    for tap in range(kernel):
        part = z[:, :, tap * dilation : tap * dilation + points]
        expected = expected + torch.einsum("oi,bip->bop", weight[:, :, tap], part)
    torch.testing.assert_close(layer(as_channels(z)), as_channels(expected))


def test_half_the_weights_of_free_channels():
    free, complex_valued = TwoChannel()(8, 6, 3, 1), ComplexValued()(8, 6, 3, 1)
    assert 2 * complex_valued.weight.numel() == free.weight.numel()


def test_commutes_with_a_common_phase():
    layer = ComplexConvolution(4, 4, 3).double()
    z = torch.randn(1, 2, 9, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    turned = layer(as_channels(1j * z))
    as_complex = torch.view_as_complex(
        layer(as_channels(z)).unflatten(1, (2, 2)).movedim(2, -1).contiguous()
    )
    torch.testing.assert_close(turned, as_channels(1j * as_complex))


def test_keeps_the_size_of_features_through_a_relu():
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(64, 64, 40, generator=generator)
    for make in (TwoChannel(), ComplexValued()):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = make(64, 64, 5, 1)
        grown = layer(torch.relu(features))
        assert float(grown.detach().square().mean()) == pytest.approx(1.0, rel=0.25)


def test_odd_channels_are_refused():
    with pytest.raises(ConfigError, match="out_channels=3: even"):
        ComplexConvolution(2, 3, 1)
