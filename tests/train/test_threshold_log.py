"""Thresholds in the log: by phase in every step, by phase and sampling rate in validations."""

import json

import numpy as np
import pytest
import torch

from ipads_stream.__main__ import main
from ipads_stream.core.sample import Sample
from ipads_stream.train.thresholds import ThresholdLog, by_phase


def batch(counts, weight, points=40):
    mask = torch.arange(points) < torch.tensor(counts)[:, None]
    return Sample({"mask": mask}, {}, {}, torch.tensor(weight))


def test_means_are_those_of_the_samples_of_each_rate():
    values = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    first = batch([10, 10, 20, 11], [1.0, 1.0, 1.0, 0.0])
    second = batch([10, 4], [1.0, 1.0])
    log = ThresholdLog()
    log.add({"thresholds": values[:, :4]}, first)
    log.add({"thresholds": values[:, 4:]}, second)
    found = log.means()
    assert set(found) == {f"threshold/phase_{k}/rate_{r}" for k in (1, 2, 3) for r in (10, 25, 50)}
    for phase in range(3):
        of_phase = values[phase].numpy().astype(float)
        assert found[f"threshold/phase_{phase + 1}/rate_25"] == pytest.approx(
            np.mean(of_phase[[0, 1, 4]])
        )
        assert found[f"threshold/phase_{phase + 1}/rate_50"] == pytest.approx(of_phase[2])
        assert found[f"threshold/phase_{phase + 1}/rate_10"] == pytest.approx(of_phase[5])
    assert log.means() == {}


def test_processes_count_together():
    one, other, both = ThresholdLog(), ThresholdLog(), ThresholdLog()
    values = torch.tensor([[1.0, 5.0, 3.0]])
    parts = (slice(0, 2), batch([10, 20], [1.0, 1.0])), (slice(2, 3), batch([10], [1.0]))
    for log, (rows, sample) in zip((one, other), parts, strict=True):
        log.add({"relative_thresholds": values[:, rows]}, sample)
        both.add({"relative_thresholds": values[:, rows]}, sample)
    (there,) = other._sums.values()
    assert one.means(lambda sums: sums + there) == both.means()


def test_what_has_no_thresholds_adds_nothing():
    log = ThresholdLog()
    log.add({"spectrum": torch.zeros(2, 8)}, batch([10, 20], [1.0, 1.0]))
    log.add({"thresholds": torch.ones(2, 2)}, Sample({"x": torch.zeros(2, 8)}, {}, {}))
    assert log.means() == {}
    assert by_phase({"spectrum": torch.zeros(2, 8)}, torch.ones(2)) == {}


def test_weights_count_in_a_step():
    found = by_phase({"thresholds": torch.tensor([[1.0, 3.0]])}, torch.tensor([1.0, 0.0]))
    assert found == {"threshold/phase_1": 1.0}


@pytest.mark.parametrize("trainer", ["supervised", "meta"])
def test_runs_log_them(tmp_path, trainer):
    words = ["net=modern", "net.phases=2", "net.channels=4", f"trainer={trainer}", "logger=none",
             "trainer.bar=false", "trainer.max_steps=2", "trainer.val_every=2",
             "trainer.val_samples=16", "system.points=32", "stream.batch_size=8",
             "system.rate=0.25", "device=cpu", f"output={tmp_path / 'run'}"]  # fmt: skip
    assert main(["train", *words]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    held = next(line for line in logged if "val/loss" in line)
    for kind in ("threshold", "relative_threshold"):
        assert held[f"val/{kind}/phase_1/rate_25"] > 0
        assert held[f"val/{kind}/phase_2/rate_25"] > 0
        assert not [key for key in held if kind in key and "phase_3" in key]
    if trainer == "supervised":
        step = next(line for line in logged if "loss" in line)
        assert {"threshold/phase_1", "relative_threshold/phase_2"} <= set(step)
