"""What a network and a loss may answer: shapes that would broadcast in silence are refused."""

from __future__ import annotations

import pytest
import torch

from ipads_stream import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.train.objectives import Targets, answered

SAMPLE = Sample({"x": torch.zeros(8, 3)}, {"T2": torch.zeros(8, 1), "PD": torch.zeros(8)}, {})


def square(predictions, sample):
    return {"square": (predictions["PD"] - sample.targets["PD"]) ** 2}


def test_predictions_of_the_targets_shapes_pass_and_others_may_stand_beside_them():
    answer = {"T2": torch.ones(8, 1), "PD": torch.full((8,), 2.0), "phases": torch.ones(5, 8, 64)}
    predictions, errors = answered(lambda inputs: answer, square, SAMPLE)
    assert predictions is answer
    assert torch.equal(errors["square"], torch.full((8,), 4.0))
    assert answered(lambda inputs: {"PD": torch.ones(8)}, square, SAMPLE)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"T2": torch.ones(8)}, r"net='T2 of shape \(8,\)': .*shape of its target, \(8, 1\)"),
        ({"PD": torch.ones(8, 1)}, r"net='PD of shape \(8, 1\)': .*\(8,\)"),
        ({"PD": torch.ones(1)}, r"net='PD of shape \(1,\)'"),
        (torch.ones(8, 1), r"net='a tensor of shape \(8, 1\)': a dict .*'T2': .*'PD': "),
        ([torch.ones(8)], r"net='list .*a dict of predictions"),
    ],
)  # fmt: skip
def test_other_predictions_are_refused_by_name(answer, message):
    for act in (
        lambda: answered(lambda inputs: answer, square, SAMPLE),
        lambda: Targets(square)(lambda inputs: answer, SAMPLE, 0),
    ):
        with pytest.raises(ConfigError, match=message):
            act()


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (torch.tensor(1.0), r"loss='a tensor of shape \(\)': a dict of errors .* \(8,\)"),
        (torch.ones(8), r"loss='a tensor of shape \(8,\)': a dict"),
        ({"a": torch.ones(8, 1)}, r"loss='a of shape \(8, 1\)': .* \(8,\)"),
        ({"a": torch.ones(8), "b": torch.tensor(0.0)}, r"loss='b of shape \(\)'"),
        ({}, r"loss='dict {}'"),
    ],
)
def test_a_loss_gives_one_error_per_sample(errors, message):
    with pytest.raises(ConfigError, match=message):
        answered(lambda inputs: {}, lambda predictions, sample: errors, SAMPLE)


def test_a_run_stops_at_its_first_step(tmp_path, small, capsys, monkeypatch):
    """(B, 1) against (B,) would train to nothing without a word."""
    from ipads_stream.__main__ import main
    from ipads_stream.nets.perceptron import Perceptron

    forward = Perceptron.forward

    def with_an_axis_too_many(net, inputs):
        return {name: values[:, None] for name, values in forward(net, inputs).items()}

    monkeypatch.setattr(Perceptron, "forward", with_an_axis_too_many)
    words = ["system=drone", "logger=none", "trainer.bar=false", "trainer.max_steps=9"]
    words += ["trainer.val_every=0", "stream.batch_size=8", "system.schedule.num_frames=20"]
    assert main(["train", *words, "device=cpu", f"output={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert "of shape (8, 1)" in error and "shape of its target, (8,)" in error
    assert error.count("\n") == 1
