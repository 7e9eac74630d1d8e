"""No network errs more where there is less noise than in its training."""

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
from ipads_stream.systems.base import NoiseLimited, Undersampled
from ipads_stream.testing import ContractError, check_noise

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "tests" / "before"
LIMITED = {"drone": "signal", "ann_mwf": "decay", "ann_mwf_cpmg": "decay", "anncest": "spectrum"}
LIMITED["deepspio"] = "image"
FEW = {"deepspio": 20}  # volumes
SEEN = {"deepspio": 0.85}  # share of clean samples whose lack of noise shows; of the others all
# Nothing is cleaner than their training by more than their errors show; the share of noise in it
# is that of the cleanest training data in the largest of the inputs, at most.
UNLIMITED = {
    "oled": "noise from none on",
    "qsmnet": "noise from 1e-4 ppm on, of fields of some 0.1 ppm",
    "qsmnet_unrolled": "noise from 1e-4 ppm on, of fields of some 0.1 ppm",
    "dlnmr": "SNR up to 20,000",
    "modern": "SNR up to 20,000",
    "dhmf": "SNR up to 20,000",
}
# What is cleaner than the training has a SNR, one of the quantities, beyond its range: that it gets
# noise is in tests/systems/test_relaxometry.py.
ESTIMATED = {"t1_inversion", "t1_map", "t2_cpmg", "t2_map", "t2star_map"}
NEGLIGIBLE = 2e-3
NUM = 300
KEYS = Keys(0, "noise limit", np.arange(NUM, dtype=np.uint64))


def at_snr(system, factor):
    """The system at its highest SNR times a factor."""
    return dataclasses.replace(system, snr=Constant(value=factor * system.snr.support[1]))


def rendered(system, count=NUM):
    keys = Keys(0, "noise limit", KEYS.indices[:count])
    return system.render(system.draw(keys, np.zeros(count)), keys, np).inputs


def count_of(name):
    return FEW.get(name, NUM)


def small(name):
    return load_system(name, ["schedule.num_frames=40"] if name == "drone" else [])


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITED)
def test_errors_do_not_grow_with_snr(name):
    model = load_model(CHECKPOINTS / f"{name}.ckpt")
    system = build_system(model.config)
    samples = min(100, count_of(name))
    errors = check_noise(model, [at_snr(system, x) for x in (1, 3, 1e4)], samples=samples)
    assert errors.keys() == system.quantities.keys()


def test_every_system_has_a_limit_or_a_reason_for_none():
    systems = {path.stem for path in (ROOT / "conf" / "system").glob("*.yaml")}
    assert systems == LIMITED.keys() | UNLIMITED.keys() | ESTIMATED
    for name in systems:
        assert isinstance(load_system(name), NoiseLimited) == (name not in UNLIMITED)


def cleanest(system, share):
    """The system with a share of the least noise of its training; of none with one of its most."""
    if not hasattr(system, "noise"):
        return at_snr(system, 1 / max(share, 1e-7))
    low, high = system.noise.support
    return dataclasses.replace(system, noise=Constant(value=share * (low or high)))


@pytest.mark.parametrize("name", UNLIMITED)
def test_errors_do_not_grow_without_a_limit(name):
    """The cleanest training data and noise-free ones are alike, and so are errors of both."""
    model = load_model(CHECKPOINTS / f"{name}.ckpt")
    system = build_system(model.config)
    samples = 100 if isinstance(system, Undersampled) else 4
    check_noise(model, [cleanest(system, x) for x in (1, 0.1, 0)], samples=samples)
    if name == "oled":
        assert system.noise.support[0] == 0
        return
    key = "fid" if isinstance(system, Undersampled) else "field_ppm"
    noisy, clean = (rendered(cleanest(system, x), 4)[key] for x in (1, 0))
    assert np.abs(noisy - clean).max() < NEGLIGIBLE * np.abs(clean).max()


@pytest.mark.parametrize("name", ["ann_mwf", "ann_mwf_cpmg"])
def test_without_the_limit_they_do(name):
    model = load_model(CHECKPOINTS / f"{name}.ckpt")
    system = build_system(model.config)
    model.limit = None
    with pytest.raises(ContractError, match="error of MWF"):
        check_noise(model, [at_snr(system, x) for x in (1, 1e4)], samples=200)


@pytest.mark.parametrize("name", LIMITED)
def test_clean_data_get_the_noise_of_the_cleanest_training_data(name):
    system, key = small(name), LIMITED[name]
    clean = rendered(at_snr(system, 1e5), count_of(name))
    noisy, is_limited = system.limit_snr(clean)
    assert is_limited.mean() >= SEEN.get(name, 1.0)
    least = rendered(at_snr(system, 1), count_of(name))
    away = [np.abs(x[key] - clean[key])[is_limited] for x in (noisy, least)]
    sizes = [np.sqrt(np.mean(x**2, axis=tuple(range(1, x.ndim)))) for x in away]
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
    inputs = rendered(system, count_of(name))
    same, is_limited = system.limit_snr(inputs)
    assert is_limited.sum() <= 2  # of 300; one in a thousand signals of DRONE
    for key, values in inputs.items():
        assert np.array_equal(same[key][~is_limited], values[~is_limited])


@pytest.mark.parametrize("name", LIMITED)
def test_the_noise_belongs_to_the_sample_and_not_to_its_batch(name):
    system = small(name)
    clean = rendered(at_snr(system, 1e5), 7)
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
