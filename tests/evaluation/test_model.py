"""A trained network on data of any unit and precision."""

import numpy as np
import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.tasks.signals.reconstruction import Reconstruction
from ipads_stream.nets.dlnmr import DLNMR


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = DLNMR(phases=2, growth=4, memory=2)
    for block in net.blocks:
        torch.nn.init.normal_(block.out.weight, std=0.1)
    return Reconstruction(Model(net, config={}, device="cpu"))


@pytest.fixture(scope="module")
def signals():
    random = np.random.Generator(np.random.Philox(key=2))
    parts = random.normal(size=(2, 5, 32))
    mask = random.random((5, 32)) < 0.4
    mask[:, 0] = True
    return parts[0] + 1j * parts[1], mask


@pytest.mark.parametrize("exponent", [-1000, -200, 1, 600, 1020])
def test_powers_of_two_change_nothing(model, signals, exponent):
    fid, mask = signals
    estimate, factor = model(fid, mask), 2.0**exponent
    assert np.any(estimate[~mask])
    assert np.array_equal(model(fid * factor, mask), estimate * factor)


def test_magnitudes_beyond_single_precision(model, signals):
    fid, mask = signals
    scaled = model(1e200 * fid, mask)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled, 1e200 * model(fid, mask), rtol=1e-4, atol=1e195)


def test_rows_of_different_magnitude_do_not_disturb_one_another(model, signals):
    fid, mask = signals
    factors = np.array([1e-100, 1.0, 0.0, 1e100, 1e300])[:, None]
    together = model(factors * fid, mask)
    for row in range(5):
        alone = model(factors[row] * fid[row : row + 1], mask[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-4)
    assert not together[2].any()


def test_no_row_is_no_work(model):
    assert model(np.zeros((0, 8), np.complex64), np.ones(8, bool)).shape == (0, 8)


def test_cuda_is_refused_where_torch_has_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device='cuda': cpu or auto: torch finds no CUDA"):
        Model(DLNMR(phases=1), config={}, device="cuda")


def test_a_notebook_shows_what_a_model_is(model):
    assert repr(model) == "<DLNMR: reconstructs undersampled signals>"
    assert "parameters" in model._repr_html_()
    assert repr(model.model) == "<DLNMR: estimates>"
    targets = Model(model.net, config={}, device="cpu", targets=("T1", "T2"))
    assert repr(targets) == "<DLNMR: estimates of T1, T2>"
