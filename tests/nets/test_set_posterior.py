"""The network of sets and its normal posterior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import ndtri

from ipads_stream.core.sample import Sample
from ipads_stream.losses.posterior import PosteriorLikelihood
from ipads_stream.nets.posterior import GaussianPosterior
from ipads_stream.nets.set_encoder import SetEncoder

OUTPUTS = {
    "T2": {"low": 20, "high": 700, "unit": "ms", "scale": "log"},
    "snr": {"low": 20, "high": 200},
}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return GaussianPosterior(encoder=SetEncoder(tokens=3, width=16), outputs=OUTPUTS)


def some(count=5, size=6):
    torch.manual_seed(1)
    mask = torch.arange(size) < torch.tensor([[6], [5], [3], [2], [1]])[:count]
    return {"tokens": torch.randn(count, size, 3), "mask": mask}


def test_order_and_places_left_empty_do_not_matter(net):
    inputs = some()
    before = net(inputs)
    turned = {name: x.flip(1) for name, x in inputs.items()}
    wider = {
        "tokens": torch.cat([inputs["tokens"], torch.full((5, 4, 3), 9.0)], 1),
        "mask": torch.cat([inputs["mask"], torch.zeros(5, 4, dtype=bool)], 1),
    }
    for other in (net(turned), net(wider)):
        for name, values in before.items():
            torch.testing.assert_close(other[name], values, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_density_of_the_scores(net):
    answer = net(some())
    share = np.linspace(0.1, 0.9, 5)
    targets = {
        "T2": torch.tensor(0.02 * 35**share, dtype=torch.float32),
        "snr": torch.tensor(20 + 180 * share[::-1].copy(), dtype=torch.float32),
    }
    sample = Sample(inputs={}, targets=targets, params={})
    found = PosteriorLikelihood(outputs=OUTPUTS)(answer, sample)["posterior"].detach().numpy()
    true = np.stack([ndtri(share), ndtri(share[::-1])], 1)
    for row in range(5):
        root = answer["posterior_root"][row].detach().double().numpy()
        mean = answer["posterior_mean"][row].detach().double().numpy()
        expected = -stats.multivariate_normal(mean, root @ root.T).logpdf(true[row])
        assert found[row] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_estimate_is_the_mean_on_the_scale(net):
    answer = net(some())
    mean, root = (answer[f"posterior_{n}"].detach().numpy() for n in ("mean", "root"))
    z = np.random.default_rng(0).normal(size=(200_000, 2))
    for row in range(5):
        share = stats.norm.cdf(mean[row] + z @ root[row].T)
        assert np.log(answer["T2"][row].item()) == pytest.approx(
            np.log(0.02) + np.log(35) * share[:, 0].mean(), abs=0.02
        )
        assert answer["snr"][row].item() == pytest.approx(20 + 180 * share[:, 1].mean(), abs=1)
