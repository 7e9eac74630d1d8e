"""Fingerprints: physics, noise, phase, identifiability, and somebody's images."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from ipads_stream import ConfigError, Stream, load_system
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.physics import epg
from ipads_stream.sequences.fingerprint_schedules import SineLobes, VaryingEchoes

SHORT = "schedule.num_frames=60"


def keys(indices):
    return Keys(0, "train", np.asarray(indices, dtype=np.uint64))


@pytest.fixture(scope="module")
def system():
    return load_system("drone", [SHORT])


def samples(system, count=300):
    return Stream(system, device="cpu", threads=0).sample(range(count))


def test_without_noise_the_input_is_the_unit_signal_with_its_sign(system):
    clean = dataclasses.replace(system, snr=None)
    sample = samples(clean)
    flip, phase, TR, TE, TI, _ = clean.schedule.frames
    expected = epg.fisp(flip, phase, TR, TE, sample.params["T1"], sample.params["T2"],
                        sample.params["B1"], TI, orders=30).imag  # fmt: skip
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(expected[:, 0]).max() > 0.05
    assert np.allclose(sample.inputs["signal"], expected, atol=2e-5)
    assert np.allclose(sample.targets["T1"], sample.params["T1"])
    assert (sample.targets["T2"] <= sample.targets["T1"]).all()


def test_noise_has_the_drawn_level_in_each_channel(system):
    level = 30.0
    noisy = samples(dataclasses.replace(system, snr=Constant(value=level)), 2000).inputs["signal"]
    clean = samples(dataclasses.replace(system, snr=None), 2000).inputs["signal"]
    along = (noisy * clean).sum(1, keepdim=True)
    rest = (noisy / along - clean).numpy()
    # Of norm 1, root mean square 1 / sqrt(N); one of N dimensions is along the signal.
    N = rest.shape[1]
    sd = np.sqrt((rest**2).sum(axis=1).mean() / (N - 1)) * math.sqrt(N)
    assert sd * level == pytest.approx(1.0, abs=0.01)


def test_magnitudes_are_those_of_the_complex_signal(system):
    clean = dataclasses.replace(system, snr=None, data="magnitude")
    signal = samples(clean).inputs["signal"]
    assert torch.allclose(
        signal, samples(dataclasses.replace(system, snr=None)).inputs["signal"].abs(), atol=1e-6
    )
    low = dataclasses.replace(system, snr=Constant(value=2.0), data="magnitude")
    assert (samples(low).inputs["signal"] >= 0).all()


def test_another_distribution_leaves_noise_and_other_draws_alone(system):
    other = dataclasses.replace(system, T1=Uniform(low=0.9, high=1.0))
    one, two = (made.draw(keys(range(50)), np.zeros(50)) for made in (system, other))
    assert np.array_equal(one["snr"], two["snr"])
    assert np.array_equal(one["phase"], two["phase"])
    assert not np.array_equal(one["T1"], two["T1"])


def test_the_forward_model_is_differentiable(system):
    few = dataclasses.replace(system, schedule=SineLobes(num_frames=6))
    tissue = {name: torch.tensor([value], dtype=torch.float64, requires_grad=True)
              for name, value in (("T1", 0.8), ("T2", 0.07), ("B1", 0.95))}  # fmt: skip

    def forward(*values):
        return few.forward(dict(zip(tissue, values, strict=True))).imag

    assert torch.autograd.gradcheck(forward, tuple(tissue.values()))


class TestBound:
    def test_it_is_what_least_squares_reaches(self, system):
        """Linearised estimates from noisy signals near one tissue have the bound's spread."""
        from ipads_stream.baselines.fingerprints.matching import fitted

        count = 1500
        fixed = dataclasses.replace(
            system,
            T1=Constant(value=0.9),
            T2=Constant(value=0.08),
            snr=Constant(value=60.0),
        )
        inputs = samples(fixed, count).inputs["signal"].numpy()
        start = {name: np.full(count, value) for name, value in
                 (("T1", 0.95), ("T2", 0.085), ("B1", 1.0))}  # fmt: skip
        supports = {"T1": (0.1, 3.0), "T2": (0.02, 0.5)}
        found = fitted(inputs, start, fixed.schedule.frames, fixed.unknown, supports)
        params = {"T1": np.array([0.9]), "T2": np.array([0.08]), "B1": np.array([1.0]),
                  "snr": np.array([60.0])}  # fmt: skip
        bound = fixed.bound(params)
        for name in ("T1", "T2"):
            assert found[name].std() == pytest.approx(bound[name][0], rel=0.06)
            assert found[name].mean() == pytest.approx(params[name][0], rel=0.003)

    def test_it_falls_with_the_noise_and_rises_with_an_unknown_B1(self, system):
        params = system.draw(keys(range(40)), np.zeros(40))
        half = params | {"snr": 2 * params["snr"]}
        for name, sd in system.bound(params).items():
            assert np.allclose(system.bound(half)[name], sd / 2)
        unknown = dataclasses.replace(system, B1=Uniform(low=0.8, high=1.2))
        assert (unknown.bound(params)["T2"] >= system.bound(params)["T2"] * (1 - 1e-9)).all()
        estimated = dataclasses.replace(unknown, estimated=["T1", "T2", "B1"])
        assert set(estimated.bound(params)) == set(estimated.quantities) == {"T1", "T2", "B1"}


class TestRefusals:
    def test_a_schedule_that_does_not_encode_T2(self, system):
        """Ideal spoiling and one echo time: exp(-TE / T2) is but a factor of the amplitude."""
        with pytest.raises(ConfigError, match="T2, amplitude: not identifiable"):
            dataclasses.replace(system, schedule=SineLobes(num_frames=60, spoiling="ideal"))

    def test_varying_echo_times_encode_T2_even_so(self, system):
        dataclasses.replace(system, schedule=VaryingEchoes(spoiling="ideal"))

    @pytest.mark.parametrize(
        ("changed", "key"),
        [
            ({"data": "phase"}, "data"),
            ({"estimated": ["T1"]}, "estimated"),
            ({"estimated": ["T1", "T2", "B1"]}, "estimated"),
            ({"T1": Uniform(low=0.0, high=1.0)}, "T1"),
            ({"snr": Constant(value=0.5)}, "snr"),
        ],
    )
    def test_fields_that_make_no_sense(self, system, changed, key):
        with pytest.raises(ConfigError, match=key):
            dataclasses.replace(system, **changed)

    def test_pulses_of_other_phases(self, system):
        @dataclasses.dataclass(frozen=True)
        class Spoiled:
            frames = SineLobes(num_frames=60).frames._replace(phase=np.linspace(0, 9, 60))

        with pytest.raises(ConfigError, match="180 degrees"):
            dataclasses.replace(system, schedule=Spoiled())

    def test_a_sign_that_the_noise_hides(self, system):
        with pytest.raises(ConfigError, match="magnitude"):
            dataclasses.replace(system, snr=Constant(value=1.0))


class TestImages:
    def images(self, system):
        params = {"T1": np.array([0.5, 1.5]), "T2": np.array([0.05, 0.2]), "B1": np.ones(2)}
        signal = system.forward(params)
        scaled = signal * np.array([3e4 * np.exp(2j), 5e-3 * np.exp(-1j)])[:, None]
        expected = np.imag(signal) / np.linalg.norm(signal, axis=1, keepdims=True)
        return scaled.reshape(1, 2, 1, -1), expected

    def test_units_and_phase_do_not_matter(self, system):
        images, expected = self.images(system)
        found = system.measured(images, system.schedule.frames.TE)["signal"]
        assert np.allclose(found, expected, atol=1e-6)
        assert found.dtype == np.float32
        empty = system.measured(0 * images, None)["signal"]
        assert np.all(empty == 0)

    def test_magnitude_images(self, system):
        images, expected = self.images(system)
        magnitude = dataclasses.replace(system, data="magnitude")
        found = magnitude.measured(np.abs(images), None)["signal"]
        assert np.allclose(found, np.abs(expected), atol=1e-6)

    def test_what_does_not_fit_is_refused(self, system):
        images, _ = self.images(system)
        for changed, axis, reason in (
            (images[..., :-1], None, "60 frames"),
            (np.abs(images), None, "complex"),
            (images * np.nan, None, "finite"),
            (images, np.full(60, 10e-3), "echo times"),
            (images[0, 0, 0], None, "frames, as the schedule has, along the last axis"),
        ):
            with pytest.raises(ConfigError, match=reason):
                system.measured(changed, axis)
