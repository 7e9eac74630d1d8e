"""The wavelet transform, and networks whose decoders give its coefficients or the map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream.config import build_run, compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.wavelet_decoders import (
    DirectDecoder,
    WaveletDecoders,
    WaveletTransform,
    folded,
    unfolded,
)

OUTPUTS = {"concentration": {"low": 0, "high": 10, "unit": "mM"}}
TINY = {"outputs": OUTPUTS, "widths": [4, 6, 8], "blocks": 1}
NETS = {
    "wavelet": lambda **more: WaveletDecoders(**(TINY | {"decoder": 3} | more)),
    "direct": lambda **more: DirectDecoder(**(TINY | {"decoder": [5, 4]} | more)),
}


def batch(shape=(2, 8, 12, 8), seed=0):
    make = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=make) > 0.2
    return {"image": torch.randn(shape, dtype=torch.complex64, generator=make) * mask, "mask": mask}


def woken(net):
    """With a last layer that is not 0."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
class TestWavelets:
    x = torch.randn(3, 8, 12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def test_reconstruction_is_perfect_and_energy_stays(self, wavelet):
        transform = WaveletTransform(wavelet)
        coefficients = transform(self.x)
        assert coefficients.shape == (4, 3, 4, 6, 5)
        assert torch.allclose(transform.inverse(coefficients), self.x, atol=1e-12)
        assert coefficients.square().sum().item() == pytest.approx(self.x.square().sum().item())

    def test_every_coefficient_survives_the_way_there_and_back(self, wavelet):
        transform = WaveletTransform(wavelet)
        given = torch.randn(4, 1, 3, 3, 2, dtype=torch.float64)
        assert torch.allclose(transform(transform.inverse(given)), given, atol=1e-12)

    def test_what_is_constant_has_no_details(self, wavelet):
        low, *details = WaveletTransform(wavelet)(torch.ones(6, 6, 2, dtype=torch.float64))
        assert torch.allclose(low, torch.full_like(low, 2.0))
        assert max(part.abs().max().item() for part in details) < 1e-12

    def test_agrees_with_matrices(self, wavelet):
        h = {"haar": [1, 1], "db2": [(1 + 3**0.5) / 4, (3 + 3**0.5) / 4, (3 - 3**0.5) / 4,
                                     (1 - 3**0.5) / 4]}[wavelet]  # fmt: skip
        h = np.array(h) / math.sqrt(2)
        g = h[::-1] * (-1.0) ** np.arange(len(h))

        def matrix(filters, n):
            out = np.zeros((n // 2, n))
            for row in range(n // 2):
                for k, value in enumerate(filters):
                    out[row, (2 * row + k) % n] += value
            return out

        found = WaveletTransform(wavelet)(self.x).numpy()
        for i, (first, second) in enumerate([(h, h), (h, g), (g, h), (g, g)]):
            expected = np.einsum("ax,by,nxyz->nabz", matrix(first, 8), matrix(second, 12), self.x)
            assert np.allclose(found[i], expected, atol=1e-12)


def test_two_moments_of_daubechies_vanish():
    ramp = torch.arange(16, dtype=torch.float64)[:, None, None].expand(16, 4, 1)
    high = WaveletTransform("db2")(ramp)[2]
    assert high[:-1].abs().max() < 1e-12  # the last one sees the ramp start again
    assert WaveletTransform("haar")(ramp)[2].abs().min() > 0.5


def test_folding_puts_odd_and_even_slices_into_channels():
    inputs = batch((1, 4, 4, 8))
    x = folded(inputs)
    assert x.shape == (1, 6, 4, 4, 4)
    assert torch.equal(x[:, 0], inputs["image"].real[..., 0::2])
    assert torch.equal(x[:, 1], inputs["image"].real[..., 1::2])
    assert torch.equal(x[:, 2], inputs["image"].imag[..., 0::2])
    everywhere = torch.ones_like(inputs["mask"])
    assert torch.equal(unfolded(x[:, 0:2], everywhere), inputs["image"].real)


@pytest.mark.parametrize("name", NETS)
class TestNets:
    def test_starts_at_nothing_and_learns(self, name):
        torch.manual_seed(0)
        net, inputs = NETS[name](), batch()
        assert not net(inputs)["concentration"].any()
        target = inputs["image"].abs() * inputs["mask"]
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        losses = []
        for _ in range(20):
            loss = (net(inputs)["concentration"] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]

    @pytest.mark.parametrize("shape", [(1, 9, 7, 5), (2, 4, 4, 4)])
    def test_any_extent_and_nothing_outside_the_mask(self, name, shape):
        inputs = batch(shape)
        found = woken(NETS[name]()).eval()(inputs)["concentration"]
        assert found.shape == shape
        assert found.any()
        assert not found[~inputs["mask"]].any()

    def test_the_scale_multiplies(self, name):
        inputs, net = batch(), woken(NETS[name]()).eval()
        twice = NETS[name](scale=2.0).eval()
        twice.load_state_dict(net.state_dict())
        expected = 2 * net(inputs)["concentration"]
        assert torch.allclose(twice(inputs)["concentration"], expected)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"widths": [4, 6]}, "widths"),
            ({"decoder": 0}, "decoder"),
            ({"scale": 0.0}, "scale"),
        ],
    )
    def test_senseless_arguments_are_refused(self, name, change, message):
        with pytest.raises(ConfigError, match=message):
            NETS[name](**change)


def test_an_unknown_wavelet_is_refused():
    with pytest.raises(ConfigError, match="wavelet"):
        NETS["wavelet"](wavelet="sym")


def test_both_have_as_many_parameters():
    counts = []
    for name in ("deepspio", "deepspio_direct"):
        net = build_run(compose(["system=deepspio", f"net={name}"])).build_net()
        counts.append(sum(p.numel() for p in net.parameters()))
    assert counts[1] == pytest.approx(counts[0], rel=0.05)
