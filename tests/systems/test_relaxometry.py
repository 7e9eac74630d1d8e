"""Relaxation times under drawn protocols: signals, likelihood, prior, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ipads_stream import load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform

NAMES = ("t1_map", "t1_inversion", "t2_map", "t2_cpmg", "t2star_map")
COUNTS = {"t1_map": "num_flips", "t1_inversion": "num_images"}


def rendered(system, count=64):
    keys = Keys(0, "relaxometry", np.arange(count, dtype=np.uint64))
    params = system.draw(keys, np.zeros(count))
    return params, system.render(params, keys, np)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_carries_its_protocol(name):
    system = load_system(name)
    params, sample = rendered(system)
    mask = sample.inputs["mask"]
    count = params[COUNTS.get(name, "num_echoes")]
    assert np.array_equal(mask.sum(axis=1), count)
    assert mask.shape[1] == max(system.lengths().values(), default=0) or mask.any(axis=0).all()
    for key in ("signal", *system.scales):
        assert not sample.inputs[key][~mask].any()
    assert not sample.inputs["tokens"][~mask].any()
    assert 0.2 < sample.inputs["tokens"][mask].std() < 2


def test_echoes_decay_and_flip_angles_are_of_the_steady_state():
    params, sample = rendered(load_system("t2_map", ["snr=1e6", "detection=real"]))
    TE, mask = sample.inputs["TE"], sample.inputs["mask"]
    last = params["first_echo"] + params["spacing"] * (params["num_echoes"] - 1)
    assert TE.max(axis=1) == pytest.approx(last)
    expected = 1e6 * np.exp(-TE / params["T2"][:, None])
    np.testing.assert_allclose(sample.inputs["signal"][mask], expected[mask], rtol=1e-5, atol=6)
    params, sample = rendered(load_system("t1_map", ["snr=1e6", "detection=real"]))
    flip, TR = sample.inputs["flip"], params["TR"][:, None]
    widest = params["largest_flip"] * params["B1"]
    assert flip.max(axis=1) == pytest.approx(widest)
    E = np.exp(-TR / params["T1"][:, None])
    expected = 1e6 * np.sin(flip) * (1 - E) / (1 - E * np.cos(flip))
    mask = sample.inputs["mask"]
    np.testing.assert_allclose(sample.inputs["signal"][mask], expected[mask], rtol=1e-3, atol=6)


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_likely_and_torch_finds_the_slope(name):
    system = load_system(name)
    _, sample = rendered(system)
    truth = {key: x.astype(float) for key, x in sample.targets.items()}
    inputs = {key: x.astype(float) if x.dtype != bool else x for key, x in sample.inputs.items()}
    best = system.log_likelihood(inputs, truth)
    time, *_ = system.estimated
    wrong = {key: np.stack([x, 1.5 * x] if key == time else [x, x], 1) for key, x in truth.items()}
    both = system.log_likelihood(inputs, wrong)
    assert both[:, 0] == pytest.approx(best)
    assert np.mean(both[:, 1] < best) > 0.9
    tensors = {key: torch.tensor(x, requires_grad=True) for key, x in truth.items()}
    given = {key: torch.tensor(x) for key, x in inputs.items()}
    found = system.log_likelihood(given, tensors)
    np.testing.assert_allclose(found.detach(), best, rtol=1e-9)
    found.sum().backward()
    for key, x in truth.items():
        ends = [system.log_likelihood(inputs, truth | {key: x * (1 + h)}) for h in (1e-6, -1e-6)]
        slope = (ends[0] - ends[1]) / 2e-6
        # Two polynomials meet at the knee of the Bessel function, to 4e-7 of a logarithm.
        assert np.median(abs(tensors[key].grad.numpy() * x - slope)) < 1e-4 * np.median(abs(slope))


@pytest.mark.parametrize("coils", [1, 4])
def test_chi_square_is_that_of_the_noise(coils):
    system = load_system("t2_map", [f"coils={coils}"])
    _, sample = rendered(system, 4000)
    chi2, samples = system.chi_square(sample.inputs, sample.targets)
    assert np.array_equal(samples, sample.inputs["mask"].sum(axis=1))
    assert chi2.sum() / samples.sum() == pytest.approx(1, abs=0.02)


def test_protocols_that_were_not_trained_are_refused():
    system = load_system("t2_map")
    TE = 0.01 * np.arange(1, 9)
    images = 100 * np.exp(-TE / 0.08) * np.ones((2, 3, 1))
    inputs = system.measured(images, TE)
    assert inputs["mask"].sum() == 2 * 3 * 8
    cases = [
        (images[..., :2], TE[:2], "3 to 32 images"),
        (images, 0.1 * TE, "first echo of 0.001 s.*0.005 to 0.03 s, the range of the training"),
        (images, 0.02 + 0.1 * TE, "spacing of 0.001 s.*range of the training"),
        (images, TE**2 / 0.01, "equally spaced"),
        (images, None, "EchoTime"),
        (-images, TE, "magnitudes"),
        (images * 1j, TE, "real"),
    ]
    for values, axis, message in cases:
        with pytest.raises(ConfigError, match=message):
            system.measured(values, axis)


def test_inversions_recover_and_what_was_not_trained_is_refused():
    system = load_system("t1_inversion", ["snr=1e6", "detection=real"])
    params, sample = rendered(system)
    T1, f = params["T1"][:, None], params["efficiency"][:, None]
    TI, mask, TR = sample.inputs["TI"], sample.inputs["mask"], sample.inputs["TR"].max(axis=1)
    assert TI.max(axis=1) == pytest.approx(params["last_TI"])
    np.testing.assert_allclose(TR, params["last_TI"] + params["delay"], rtol=1e-5)
    # The pulse of 90 degrees leaves nothing, TR - TI regains some, of which -f is left at TI = 0.
    before = 1 - np.exp(-(TR[:, None] - TI) / T1)
    expected = 1e6 * (1 - (1 + f * before) * np.exp(-TI / T1))
    np.testing.assert_allclose(sample.inputs["signal"][mask], expected[mask], rtol=1e-3, atol=20)
    assert (expected[mask] < 0).any() and (expected[mask] > 0).any()
    system, TI = load_system("t1_inversion"), np.array([0.05, 0.3, 0.8, 1.5, 3.0])
    assert system.measured(np.ones((2, 5)), np.stack([TI, 5 + 0 * TI]))["mask"].sum() == 10
    cases = [(5 + TI, "one for all"), (30 + 0 * TI, "a delay"), (3 + 0 * TI, "a delay")]
    for TR, message in cases:
        with pytest.raises(ConfigError, match=message):
            system.measured(np.ones((2, 5)), np.stack([TI, TR]))
    with pytest.raises(ConfigError, match="InversionTime"):
        system.measured(np.ones((2, 5)), TI)


def test_flip_angles_that_were_not_trained_are_refused():
    system = load_system("t1_map")
    flip, TR = np.radians([3.0, 8.0, 20.0]), np.full(3, 0.01)
    images = np.ones((2, 2, 3))
    assert system.measured(images, np.stack([flip, TR]))["mask"].sum() == 12
    cases = [
        (np.stack([flip, 10 * TR]), "repetition time of 0.1 s"),
        (np.stack([flip, TR * [1, 1, 2]]), "one for all images"),
        (np.stack([flip + 0.1, TR]), "smallest flip angle"),
        (np.stack([2 * flip, TR]), "smallest flip angle|largest flip angle"),
        (flip, "RepetitionTimeExcitation"),
    ]
    for axis, message in cases:
        with pytest.raises(ConfigError, match=message):
            system.measured(images, axis)


def test_the_noise_of_images_is_that_of_their_background():
    rng = np.random.default_rng(0)
    system = load_system("t2_map")
    TE = 0.01 * np.arange(1, 9)
    clean = np.zeros((40, 40, 8))
    clean[10:30, 10:30] = 700 * np.exp(-TE / 0.08)
    noise = rng.normal(size=(2, *clean.shape)) * 7
    found = system.measured(np.hypot(clean + noise[0], noise[1]), TE)
    body = found["signal"].reshape(40, 40, -1)[15:25, 15:25, 0]
    assert body.mean() == pytest.approx(100 * np.exp(-TE[0] / 0.08), rel=0.03)
    # Without a background it is what no decay explains.
    cut = clean[10:30, 10:30] + noise[0, :20, :20]
    found = system.measured(np.maximum(cut, 1e-3), TE)
    assert found["signal"][:, 0].mean() == pytest.approx(100 * np.exp(-TE[0] / 0.08), rel=0.1)


def test_cleaner_data_get_the_noise_of_the_cleanest():
    system = load_system("t2_map")
    _, sample = rendered(dataclasses.replace(system, snr=Constant(value=1e7)))
    noisy, is_limited = system.limit_snr(sample.inputs)
    early = sample.inputs["signal"].max(axis=1) > 210
    assert np.array_equal(is_limited, early)
    assert noisy["signal"][early].max() < 210
    _, sample = rendered(system, 1000)
    assert system.limit_snr(sample.inputs)[1].mean() < 0.01


def test_what_has_no_density_of_its_own_is_refused():
    system = load_system("t2_map")
    with pytest.raises(ConfigError, match="coils"):
        dataclasses.replace(system, coils=4, detection="real")
    from ipads_stream.distributions import Truncated

    below = Truncated(distribution=LogUniform(low=0.02, high=0.7), above="first_echo")
    with pytest.raises(ConfigError, match="depends on no other"):
        dataclasses.replace(system, T2=below)
