"""The trainer with Muon on hidden matrices."""

from __future__ import annotations

import json

import pytest
import torch

from ipads_stream import ConfigError
from ipads_stream.config import build_run, compose
from ipads_stream.nets.perceptron import Perceptron
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.muon import Muon, OrthogonalSteps, Together
from ipads_stream.train.run import train_run


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Perceptron(inputs={"x": 5}, outputs={"f": {"low": 0, "high": 1}}, widths=[8, 8, 8])


def test_hidden_matrices_go_to_muon_and_all_else_to_adam():
    net = network()
    trainer = Muon(max_steps=3, learning_rate=0.02, adam_rate=0.001)
    hidden, rest = trainer.groups(net)
    assert [tuple(x.shape) for x in hidden["params"]] == [(8, 8), (8, 8)]
    assert {tuple(x.shape) for x in rest["params"]} == {(8, 5), (8,), (1, 8), (1,)}
    assert (hidden["scale"], rest["scale"]) == (1.0, pytest.approx(0.05))
    optimizer = trainer.optimizer(net)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 8
    kinds = [type(part).__name__ for part in optimizer.parts]
    assert kinds == ["OrthogonalSteps", "AdamW"]


def test_a_step_of_muon_is_nearly_orthogonal_and_of_its_own_rate():
    net = network()
    optimizer = Muon(max_steps=3).optimizer(net)
    for group, rate in zip(optimizer.param_groups, (0.1, 0.0), strict=True):
        group["lr"] = rate
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    net({"x": torch.randn(64, 5)})["f"].square().sum().backward()
    optimizer.step()
    change = {name: (value - before[name]).detach() for name, value in net.named_parameters()}
    hidden = torch.linalg.svdvals(change["layers.2.weight"])
    # Five Newton-Schulz steps bring singular values near 1; the smallest ones less so.
    assert 0.05 < float(hidden.max()) < 0.13
    assert float(change["layers.0.weight"].abs().max()) == 0
    assert float(change["layers.2.bias"].abs().max()) == 0


def test_steps_are_those_of_torch_in_another_precision():
    changes = []
    for make in (OrthogonalSteps, torch.optim.Muon):
        values = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 8), (12, 5), (5, 12))]
        optimizer = make(values, lr=0.1, weight_decay=0.01)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            for value in values:
                value.grad = torch.randn(value.shape, generator=generator)
            optimizer.step()
        changes.append(values)
    for ours, theirs in zip(*changes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01)
        assert ours.abs().max() > 0.05


def test_the_state_of_both_parts_is_kept():
    def run(net, optimizer, steps):
        for i in range(steps):
            optimizer.zero_grad()
            x = torch.linspace(-1, 1, 20).reshape(4, 5) * (i + 1)
            net({"x": x})["f"].square().sum().backward()
            optimizer.step()

    whole, broken = network(), network()
    trainer = Muon(max_steps=3)
    optimizer = trainer.optimizer(whole)
    run(whole, optimizer, 2)
    half = trainer.optimizer(broken)
    run(broken, half, 2)
    again = trainer.optimizer(broken)
    again.load_state_dict(half.state_dict())
    run(whole, optimizer, 1)
    run(broken, again, 1)
    for a, b in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(a, b)
    again.param_groups[0]["lr"] = 7.0
    assert again.parts[0].param_groups[0]["lr"] == 7.0
    assert isinstance(again, Together)


def test_a_network_without_hidden_matrices_is_refused():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    with pytest.raises(ConfigError, match="hidden layers"):
        Muon(max_steps=3).optimizer(net)
    with pytest.raises(ConfigError, match="adam_rate"):
        Muon(max_steps=3, adam_rate=0.0)


def test_a_run_trains_saves_and_resumes(tmp_path):
    words = ["system=drone", "logger=none", "trainer.bar=false", "trainer.val_every=0",
             "device=cpu", "stream.batch_size=32", "stream.threads=0",
             "system.schedule.num_frames=40", "net.widths=[16,16,16]"]  # fmt: skip

    def trained(name, *more):
        config = compose([*words, f"output={tmp_path / name}", *more])
        config["overrides"] = words
        assert train_run(build_run(config))[0]
        return read_checkpoint(tmp_path / name / "run.ckpt")

    first = trained("run", "trainer.max_samples=96", "trainer.log_every=2")
    assert first["steps"] == first["stream"]["step"] == 3
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]
    resumed = trained(
        "run",
        "trainer.max_samples=192",
        "trainer.log_every=2",
        f"resume={tmp_path / 'run' / 'run.ckpt'}",
    )
    assert resumed["steps"] == 6
    assert all(torch.isfinite(value).all() for value in resumed["weights"].values())
