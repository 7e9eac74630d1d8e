"""What every system must do."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.config import conf_dir
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.systems import System

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))


def keys(indices, split="train"):
    return Keys(0, split, np.asarray(indices, dtype=np.uint64))


@pytest.fixture(params=SYSTEMS)
def system(request):
    return load_system(request.param)


def test_it_is_a_system(system):
    assert isinstance(system, System)
    assert system.name in SYSTEMS
    with pytest.raises(AttributeError):
        system.points = 3


def test_a_split_batch_equals_the_whole(system):
    whole = system.draw(keys(range(20)), np.arange(20.0))
    part = system.draw(keys(range(7, 13)), np.arange(7.0, 13.0))
    for name, values in whole.items():
        assert np.array_equal(values[7:13], part[name])
    a = system.render(whole, keys(range(20)), np)
    b = system.render(part, keys(range(7, 13)), np)
    assert isinstance(a, Sample)
    for group in ("inputs", "targets"):
        for name, values in getattr(a, group).items():
            assert np.array_equal(values[7:13], getattr(b, group)[name])


@pytest.mark.slow
def test_samples_are_finite_and_of_single_precision(system):
    sample = Stream(system, device="cpu").sample(range(200))
    for group in (sample.inputs, sample.targets):
        for tensor in group.values():
            assert len(tensor) == 200
            assert tensor.dtype in (torch.complex64, torch.float32, torch.bool)
            assert torch.isfinite(tensor).all()


class TestDLNMR:
    def test_the_target_is_the_transform_of_the_forward_signal(self):
        system = load_system("dlnmr", ["points=64", "snr=null"])
        params = system.draw(keys(range(10)), np.arange(10.0))
        sample = system.render(params, keys(range(10)), np)
        full = np.asarray(system.forward(params))
        expected = np.fft.fftshift(np.fft.fft(full, norm="ortho"), axes=-1)
        assert np.allclose(sample.targets["spectrum"], expected, atol=1e-5)
        mask = sample.inputs["mask"]
        assert np.allclose(sample.inputs["fid"], np.where(mask, full, 0), atol=1e-6)

    def test_peaks_beyond_the_number_are_absent(self):
        system = load_system("dlnmr")
        params = system.draw(keys(range(500)), np.arange(500.0))
        present = params["amplitude"] > 0
        assert np.array_equal(present.sum(axis=1), params["num_peaks"])
        assert set(params["num_peaks"]) == set(range(1, 11))

    def test_a_fixed_rate_samples_exactly_that_share(self):
        system = load_system("dlnmr", ["rate=0.25"])
        sample = Stream(system, device="cpu").sample(range(50))
        assert (sample.inputs["mask"].sum(1) == 32).all()

    def test_noise_has_the_drawn_level_and_leaves_the_target_clean(self):
        clean = load_system("dlnmr", ["rate=1", "snr=null"])
        clean = Stream(clean, device="cpu").sample(range(400))
        noisy = Stream(load_system("dlnmr", ["rate=1", "snr=10"]), device="cpu").sample(range(400))
        assert torch.equal(clean.targets["spectrum"], noisy.targets["spectrum"])
        noise = (noisy.inputs["fid"] - clean.inputs["fid"]).numpy()
        sigma = clean.targets["spectrum"].abs().amax(1).numpy() / 10
        ratio = np.sqrt((np.abs(noise) ** 2).mean(axis=1)) / sigma
        assert ratio.mean() == pytest.approx(1, abs=0.01)
        correlation = np.mean(noise.real * noise.imag) / np.mean(np.abs(noise) ** 2)
        assert abs(correlation) < 0.01

    def test_the_forward_model_is_differentiable(self):
        system = load_system("dlnmr", ["points=16", "num_peaks=2"])
        params = system.draw(keys([3]), np.zeros(1))
        tensors = {
            name: torch.tensor(params[name], requires_grad=True)
            for name in ("amplitude", "frequency", "phase", "decay")
        }

        def forward(*values):
            return torch.view_as_real(system.forward(dict(zip(tensors, values, strict=True))))

        assert torch.autograd.gradcheck(forward, tuple(tensors.values()))

    def test_the_forward_model_runs_on_a_strict_array_library(self):
        system = load_system("dlnmr", ["points=16"])
        params = system.draw(keys([3]), np.zeros(1))
        strict = {
            name: array_api_strict.asarray(value)
            for name, value in params.items()
            if name in ("amplitude", "frequency", "phase", "decay")
        }
        assert np.allclose(np.asarray(system.forward(strict)), system.forward(params))
