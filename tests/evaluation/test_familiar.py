"""A network that is given what it was not trained on says so, once, and else keeps silent."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

from ipads_stream import Stream, load_model, load_system
from ipads_stream.acquisition.masks import SCHEDULES
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.evaluation.familiar import Familiar, UnfamiliarWarning, differences
from ipads_stream.sequences.fingerprint_schedules import SineLobes

CHECKPOINT = Path(__file__).parents[1] / "before" / "dlnmr.ckpt"


def masks(schedule, counts, points=128, seed=1):
    keys = Keys(seed, "measured", np.arange(len(counts), dtype=np.uint64))
    return SCHEDULES[schedule](keys["mask"], points, np.asarray(counts))


@pytest.fixture(scope="module", params=sorted(SCHEDULES))
def familiar(request):
    return Familiar(load_system("dlnmr", [f"schedule={request.param}"]))


@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_masks_of_the_training_are_never_taken_for_others(familiar, rows):
    rng = np.random.default_rng(rows)
    for seed in range(25):
        counts = rng.integers(20, 64, rows)
        mask = masks(familiar.system.schedule, counts, seed=seed)
        assert familiar({"mask": mask}) == []
        assert familiar({"mask": np.repeat(mask[:1], 200, axis=0)}) == []  # one for all rows


def test_masks_of_another_schedule_are_told_from_a_few(familiar):
    for schedule in set(SCHEDULES) - {familiar.system.schedule}:
        (sentence,) = familiar({"mask": masks(schedule, np.full(16, 32))})
        assert sentence.startswith("sampled points are distributed differently")
        assert "first quarter" in sentence and "gaps" in sentence


def test_one_random_mask_is_told_from_poisson_gaps():
    familiar = Familiar(load_system("dlnmr"))
    told = [familiar({"mask": masks("uniform_random", [32], seed=n)}) for n in range(40)]
    assert sum(map(bool, told)) >= 36


def test_rate_and_length():
    familiar = Familiar(load_system("dlnmr", ["rate=0.25"]))
    (sentence,) = familiar({"mask": masks("poisson_gap", np.full(4, 51))})
    assert sentence == "40% of the points are sampled, in training 25%"
    (sentence,) = familiar({"mask": masks("poisson_gap", np.full(4, 128), points=512)})
    assert sentence == "signals have 512 points, in training 128"


@pytest.mark.parametrize("mask", [np.ones((3, 128), bool), np.zeros((3, 128), bool)])
def test_masks_without_a_shape_are_no_puzzle(mask):
    sentences = Familiar(load_system("dlnmr"))({"mask": mask})
    assert all("distributed" not in sentence for sentence in sentences)


def test_other_systems_know_nothing_of_masks():
    sample = Stream(load_system("drone"), device="cpu", threads=0).sample([0, 1])
    assert Familiar(load_system("drone"))({k: x.numpy() for k, x in sample.inputs.items()}) == []


def test_a_loaded_network_warns_once():
    model = load_model(CHECKPOINT)
    points = model.config["system"]["points"]
    rng = np.random.default_rng(0)
    fid = rng.normal(size=(4, points)) + 1j * rng.normal(size=(4, points))
    counts = np.full(4, round(0.3 * points))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(fid, masks("poisson_gap", counts, points))
    random = masks("uniform_random", counts, points)
    with pytest.warns(UnfamiliarWarning, match="not trained on such data: sampled points are"):
        model(fid, random)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(fid, random)


class TestDifferences:
    def test_a_system_does_not_differ_from_itself(self):
        for name in ("drone", "ann_mwf", "dlnmr"):
            assert differences(load_system(name), load_system(name)) == []

    def test_ranges_noise_and_protocol(self):
        drone = load_system("drone")
        narrower = dataclasses.replace(drone, T1=Uniform(low=0.5, high=1.0))
        assert differences(drone, narrower) == []
        wider = dataclasses.replace(drone, T1=Uniform(low=0.05, high=3.0))
        assert differences(drone, wider) == ["T1 is 0.05 to 3, in training 0.1 to 3 (SI)"]
        noisier = dataclasses.replace(drone, snr=Constant(value=15.0))
        assert differences(drone, noisier) == ["snr is 15 to 15, in training 20 to 125 (SI)"]
        other = dataclasses.replace(drone, schedule=SineLobes(num_frames=100))
        assert differences(drone, other) == ["schedule is SineLobes, in training SineLobes"]
        noiseless = dataclasses.replace(drone, snr=None)
        assert differences(drone, noiseless)[0].startswith("snr is none, in training")

    def test_another_system(self):
        assert differences(load_system("drone"), load_system("dlnmr")) == [
            "the data are of dlnmr, in training of drone"
        ]
