"""What a run takes is known before it begins, to a factor, and refused by name."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.stream import estimate
from ipads_stream.stream.estimate import MARGIN, Needs, check_needs, peak_of, sample_costs, tell
from ipads_stream.train.estimate import step_costs

SIZE = 512


@pytest.fixture(scope="module")
def system():
    return load_system("dlnmr", ["points=256"])


@pytest.fixture(scope="module")
def costs(system):
    return sample_costs(system)


def test_peaks_of_batches_are_within_the_margin(system, costs):
    stream = Stream(system, batch_size=SIZE, threads=0, device="cpu")
    with peak_of("cpu") as peak:
        batch = stream.batch(0)
    groups = (batch.inputs, batch.targets, batch.params)
    assert costs.kept * SIZE == sum(x.nbytes for group in groups for x in group.values())
    assert costs.batch(SIZE) / 1.2 < peak[0] < MARGIN * costs.batch(SIZE)


def test_more_threads_and_batches_ahead_take_more(system, costs):
    def needed(**settings):
        return costs.streamed(Stream(system, batch_size=SIZE, device="cpu", **settings))

    assert needed(threads=0) < needed(threads=1, depth=1) < needed(threads=4, depth=4)
    assert needed(threads=1, depth=9) - needed(threads=1, depth=8) == SIZE * costs.kept
    assert needed(threads=0, depth=9) == needed(threads=0, depth=1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.complex64))
        self.drop = torch.nn.Dropout(0.5)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return {"spectrum": self.scale * torch.tanh(inputs["fid"]) * self.drop(torch.ones(1))}


class Loss(torch.nn.Module):
    def forward(self, predictions, sample):
        difference = predictions["spectrum"] - sample.targets["spectrum"]
        return {"spectrum": difference.abs().square().mean(1)}


def test_trials_of_a_network_leave_it_and_random_numbers_alone(costs):
    net, before = Net(), torch.random.get_rng_state()
    step = step_costs(net, Loss(), costs.tried, "cpu")
    assert torch.equal(before, torch.random.get_rng_state())
    assert net.calls == 0
    assert net.scale.grad is None
    assert step.weights == 8
    row = costs.tried.inputs["fid"][0].nbytes
    assert 2 * row <= step.each <= 8 * row  # tanh, its product, the difference and its magnitude
    assert step.seconds > 0


@dataclass(frozen=True)
class Failing:
    error: type
    name: str = "failing"

    def draw(self, keys, progress):
        return {"x": np.ones(len(keys.indices))}

    def render(self, params, keys, xp):
        raise self.error("at sample 0")

    def describe(self):
        return {}


def test_a_system_that_fails_is_for_the_run_to_tell():
    assert sample_costs(Failing(ValueError)) is None


def test_a_sample_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"system='failing'.*GB free"):
        sample_costs(Failing(MemoryError))


@dataclass(frozen=True)
class Huge(Failing):
    error: type = ValueError

    def render(self, params, keys, xp):
        x = np.ones((len(keys.indices), 1 << 42), np.uint8)
        return Sample({"x": x}, {"x": x}, params)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_an_allocation_on_trial_fails_before_the_machine_does():
    with pytest.raises(ConfigError, match="takes too much of the"):
        sample_costs(Huge())


def test_numbers_of_both_are_in_the_refusal(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"x=3: less: it needs about 1\.5e\+09 GB, .* are free"):
        check_needs(Needs(memory=1e18), "x", 3)
    with pytest.raises(ConfigError, match=r"1000000000 GB in .*new, .* are free"):
        check_needs(Needs(disk=1e18), "x", 3, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_only_large_runs_are_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "free_memory", lambda: 3_000_000_000)
    tell(check_needs(Needs(memory=1e6, disk=1e6, seconds=3), "x", 3, folder=tmp_path))
    assert capsys.readouterr().err == ""
    tell(check_needs(Needs(memory=0.8e9, disk=1e6, seconds=720), "x", 3, folder=tmp_path))
    said = capsys.readouterr().err
    assert said.startswith("About 1.2 GB of memory (3 GB free), 1 MB on disk (")
    assert said.endswith("GB free), 12 min\n")
