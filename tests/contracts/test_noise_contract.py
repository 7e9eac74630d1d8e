"""No network of quantities errs more where there is less noise than in its training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ipads_stream import load_model, load_system
from ipads_stream.config import build_system
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.familiar import UnfamiliarWarning
from ipads_stream.testing import ContractError, check_noise

CHECKPOINTS = Path(__file__).parents[1] / "before"
LIMITED = {"drone": "signal", "ann_mwf": "decay", "ann_mwf_cpmg": "decay", "anncest": "spectrum"}
NUM = 300
KEYS = Keys(0, "noise limit", np.arange(NUM, dtype=np.uint64))


def at_snr(system, factor):
    """The system at its highest SNR times a factor."""
    return dataclasses.replace(system, snr=Constant(value=factor * system.snr.support[1]))


def rendered(system):
    return system.render(system.draw(KEYS, np.zeros(NUM)), KEYS, np).inputs


def small(name):
    return load_system(name, ["schedule.num_frames=40"] if name == "drone" else [])


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITED)
def test_errors_do_not_grow_with_snr(name):
    model = load_model(CHECKPOINTS / f"{name}.ckpt")
    system = build_system(model.config)
    errors = check_noise(model, [at_snr(system, x) for x in (1, 3, 1e4)], samples=100)
    assert errors.keys() == system.quantities.keys()


@pytest.mark.parametrize("name", ["ann_mwf", "ann_mwf_cpmg"])
def test_without_the_limit_they_do(name):
    model = load_model(CHECKPOINTS / f"{name}.ckpt")
    system = build_system(model.config)
    model.limit = None
    with pytest.raises(ContractError, match="RMSE of MWF"):
        check_noise(model, [at_snr(system, x) for x in (1, 1e4)], samples=200)


@pytest.mark.parametrize("name", LIMITED)
def test_clean_data_get_the_noise_of_the_cleanest_training_data(name):
    system, key = small(name), LIMITED[name]
    clean = rendered(at_snr(system, 1e5))
    noisy, is_limited = system.limit_snr(clean)
    assert is_limited.all()
    least = rendered(at_snr(system, 1))
    truth = clean[key].astype(float)
    sizes = [np.sqrt(np.mean((x[key] - truth) ** 2, axis=1)) for x in (noisy, least)]
    assert np.median(sizes[0]) == pytest.approx(np.median(sizes[1]), rel=0.05)
    assert noisy.keys() == clean.keys()
    assert all(noisy[name].dtype == clean[name].dtype for name in clean)
    if "log_snr" in noisy:
        assert np.allclose(noisy["log_snr"], least["log_snr"], atol=0.05)
        change = np.std(noisy["features"] - least["features"], axis=0)
        assert (change < 1).all()


@pytest.mark.parametrize("name", LIMITED)
def test_data_of_the_training_stay_as_they_are(name):
    system = small(name)
    inputs = rendered(system)
    same, is_limited = system.limit_snr(inputs)
    assert is_limited.sum() <= 2  # of 300; one in a thousand signals of DRONE
    for key, values in inputs.items():
        assert np.array_equal(same[key][~is_limited], values[~is_limited])


@pytest.mark.parametrize("name", LIMITED)
def test_the_noise_belongs_to_the_sample_and_not_to_its_batch(name):
    system = small(name)
    clean = {key: values[:7] for key, values in rendered(at_snr(system, 1e5)).items()}
    whole, _ = system.limit_snr(clean)
    part, _ = system.limit_snr({key: values[[5, 2]] for key, values in clean.items()})
    for key, values in part.items():
        np.testing.assert_allclose(values, whole[key][[5, 2]], rtol=1e-6, atol=1e-7)


def test_a_model_says_so_once(recwarn):
    model = load_model(CHECKPOINTS / "ann_mwf.ckpt")
    system = build_system(model.config)
    clean = rendered(at_snr(system, 1e4))
    with pytest.warns(UnfamiliarWarning, match="100% of the samples are cleaner"):
        first = model(clean)
    again = model(clean)
    assert np.array_equal(first["MWF"], again["MWF"])
    assert not recwarn.list


def test_magnitudes_and_training_without_noise():
    system = load_system("drone", ["data=magnitude"])
    noisy, is_limited = system.limit_snr(rendered(at_snr(system, 1e5)))
    assert is_limited.all()
    assert (noisy["signal"] >= 0).all()
    assert system.limit_snr(rendered(system))[1].sum() <= 2
    # Too few magnitudes hold what fingerprints do not explain.
    short = load_system("drone", ["data=magnitude", "schedule.num_frames=40"])
    silent = dataclasses.replace(small("drone"), snr=None)
    for unlimited in (short, silent):
        clean = at_snr(unlimited, 1e5) if unlimited is short else silent
        inputs = rendered(clean)
        same, is_limited = unlimited.limit_snr(inputs)
        assert not is_limited.any()
        assert np.array_equal(same["signal"], inputs["signal"])
    empty = {"signal": np.zeros((3, 200), np.float32)}
    assert not system.limit_snr(empty)[1].any()
