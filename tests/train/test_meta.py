"""Meta-learning: gradients against closed forms, tasks, runs, and what adapting does."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from forked_torchrun import Torchrun

from ipads_stream import ConfigError, Stream, load_model, load_system
from ipads_stream.__main__ import main
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Curriculum, LinearSchedule, Uniform
from ipads_stream.losses.deep_supervision import DeepSupervision
from ipads_stream.physics.spectroscopy.spectrum import fid
from ipads_stream.stream.episodes import Episodes
from ipads_stream.train.adapting import adapt, descend, with_weights
from ipads_stream.train.callbacks import Interrupt
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.meta import Meta, MetaTraining
from ipads_stream.train.objectives import HiddenPoints, Targets, measured_samples

SHARED = ("rate", "snr", "decay")


class Point(torch.nn.Module):
    """A network that is a point theta; its prediction is theta, whatever the input."""

    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor(theta, dtype=torch.double))

    def forward(self, inputs):
        return {"theta": self.theta.expand(len(inputs["matrix"]), -1)}


def quadratic(predictions, sample):
    """(theta - c)' A (theta - c) / 2 of each sample."""
    away = predictions["theta"] - sample.targets["centre"]
    return {"error": 0.5 * torch.einsum("bi,bij,bj->b", away, sample.inputs["matrix"], away)}


def samples(matrices, centres):
    return Sample(
        {"matrix": torch.as_tensor(matrices)},
        {"centre": torch.as_tensor(centres)},
        {},
        torch.ones(len(matrices), dtype=torch.double),
    )


def problem(seed, count):
    """Random positive definite matrices and centres."""
    half = np.random.default_rng(seed).normal(size=(count, 3, 3))
    centres = np.random.default_rng(seed + 1).normal(size=(count, 3))
    return half @ half.transpose(0, 2, 1) + np.eye(3), centres


def slope(matrices, centres, theta):
    return np.einsum("bij,bj->bi", matrices, theta - centres).mean(0)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_maml_gradients_are_those_of_the_closed_form(second_order, steps):
    rate, theta = 0.05, np.array([1.0, -2.0, 0.5])
    (a, c), (b, d) = problem(1, 4), problem(5, 2)
    net = Point(theta)
    fast = descend(
        net, {"theta": net.theta}, [samples(a, c)] * steps, rate=rate,
        objective=Targets(quadratic), second_order=second_order,
    )  # fmt: skip
    quadratic(with_weights(net, fast)(samples(b, d).inputs), samples(b, d))[
        "error"
    ].mean().backward()
    for _ in range(steps):
        theta = theta - rate * slope(a, c, theta)
    wanted = slope(b, d, theta)
    if second_order:  # d theta_K / d theta = (1 - a A)^K, which is symmetric
        wanted = np.linalg.matrix_power(np.eye(3) - rate * a.mean(0), steps) @ wanted
    assert np.allclose(fast["theta"].detach(), theta, rtol=0, atol=1e-12)
    assert np.allclose(net.theta.grad, wanted, rtol=0, atol=1e-12)


def reptile_module(net, **changes):
    words = {"method": "reptile", "max_steps": 1, "inner_steps": 3, "inner_rate": 0.05, **changes}
    meta = Meta(**words)
    return MetaTraining(meta, net, quadratic, None, {}, lambda step: 0.0)


def test_reptile_moves_towards_the_adapted_weights():
    start = np.array([1.0, -2.0, 0.5])
    (a, c), (b, d) = problem(1, 4), problem(5, 4)
    net = Point(start)
    terms, direction = reptile_module(net).episode(samples(a, c), samples(b, d))
    direction.backward()
    theta = start
    for matrices, centres in ((a, c), (b, d), (a, c)):  # support and query in turn
        theta = theta - 0.05 * slope(matrices, centres, theta)
    assert np.allclose(net.theta.grad, (start - theta) / (0.05 * 3), rtol=0, atol=1e-12)
    away = theta - d
    assert np.allclose(terms["error"], 0.5 * np.einsum("bi,bij,bj->b", away, b, away))


def test_reptile_finds_the_start_nearest_to_all_tasks():
    """Tasks |theta - c|^2 / 2 with centres c: the best start is the mean of the centres."""
    centres = np.array([[0.0, 0.0, 3.0], [6.0, 0.0, 0.0], [0.0, -3.0, 0.0]])
    net = Point(np.array([5.0, 5.0, 5.0]))
    module = reptile_module(net)
    for _ in range(60):
        net.zero_grad()
        for centre in centres:
            task = samples(np.eye(3)[None], centre[None])
            (module.episode(task, task)[1] / len(centres)).backward()
        with torch.no_grad():
            net.theta -= 0.3 * net.theta.grad
    assert np.allclose(net.theta.detach(), centres.mean(0), atol=1e-6)


# Tasks


@pytest.fixture(scope="module")
def system():
    return load_system("dlnmr", ["points=32"])


def test_samples_of_a_task_share_what_is_named_and_nothing_else(system):
    tasks = Episodes(system=system, samples=4, shared=SHARED)
    found = Stream(tasks, device="cpu").sample(range(12))
    plain = Stream(system, device="cpu").sample(range(12))
    for name in SHARED:
        for row in range(12):
            assert np.array_equal(found.params[name][row], plain.params[name][row // 4])
    for name in ("amplitude", "frequency", "phase", "num_peaks"):
        assert np.array_equal(found.params[name], plain.params[name])
    masks = found.inputs["mask"].numpy()
    assert len(np.unique(masks[:4], axis=0)) == 4  # schedules are not shared
    assert len(set(masks[:4].sum(1))) == 1
    together = Episodes(system=system, samples=4, shared=("rate", "mask"))
    masks = Stream(together, device="cpu").sample(range(8)).inputs["mask"].numpy()
    assert len(np.unique(masks[:4], axis=0)) == 1
    assert len(np.unique(masks, axis=0)) == 2


def test_a_sample_of_a_task_does_not_depend_on_its_batch(system):
    tasks = Episodes(system=system, samples=4, shared=SHARED)
    small, large = (Stream(tasks, batch_size=size, device="cpu") for size in (4, 12))
    parts = torch.cat([small.batch(step).inputs["fid"] for step in range(3)])
    assert torch.equal(parts, large.batch(0).inputs["fid"])
    assert torch.equal(parts[[7]], large.sample([7]).inputs["fid"])


def test_a_schedule_does_not_change_within_a_task(system):
    ends = {name: Uniform(low=low, high=low + 0.1) for name, low in (("start", 0.2), ("end", 0.8))}
    rate = Curriculum(**ends, schedule=LinearSchedule(end=32))
    same = Keys(0, "train", np.arange(32))
    tasks = Episodes(system=replace(system, rate=rate), samples=8, shared=("rate",))
    found = tasks.draw(same, np.arange(32.0))["rate"].reshape(4, 8)
    assert np.all(found == found[:, :1])
    assert np.all(np.diff(found[:, 0]) > 0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared": ("linewidth",)}, r"shared='linewidth': draws of the system: num_peaks.*mask"),
        ({"shared": ()}, r"shared=\(\): one or more of"),
        ({"shared": "rate"}, r"shared='rate'"),
        ({"samples": 0}, r"samples=0"),
        ({"samples": True}, r"samples=True"),
    ],
)
def test_bad_tasks_are_refused(system, changes, message):
    with pytest.raises(ConfigError, match=message):
        Episodes(**{"system": system, "samples": 4, "shared": ("rate",), **changes})


# Runs

META = ["trainer=meta", "stream.batch_size=16", "system.snr=200"]
META += ["trainer.shared=[rate,decay]", "trainer.max_steps=8"]


@pytest.mark.parametrize(
    "words",
    [[], ["trainer.method=reptile"], ["trainer.second_order=true", "trainer.inner_loss=hidden"]],
    ids=["maml", "reptile", "second_order"],
)
def test_a_meta_run_resumes_bit_for_bit(tmp_path, small, losses, words, monkeypatch):
    base = [*META[:1], *small, *META[1:], *words, "trainer.val_every=4", "trainer.val_samples=16"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", *base, f"output={whole}"]) == 0
    assert sorted(losses(whole)) == list(range(8))
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    held = [row for row in rows if "val/loss" in row]
    assert len(held) == 2
    assert all(row["val/loss"] != row["val/before_adapting"] for row in held)
    assert all(row["worst/index"] % 8 >= 4 for row in rows if "loss" in row)  # one of a query
    with monkeypatch.context() as patch:
        _stop_after(patch, 3)
        assert main(["train", *base, f"output={parts}"]) == 130
    assert len(losses(parts)) == 3
    assert main(["train", f"resume={parts / 'run.ckpt'}", "stream.threads=0"]) == 0
    assert losses(parts) == losses(whole)
    a, b = (read_checkpoint(run / "run.ckpt")["weights"] for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)


def _stop_after(patch, steps):
    original = Interrupt.on_train_batch_end

    def on_train_batch_end(callback, trainer, *rest):
        if trainer.global_step >= steps:
            signal.raise_signal(signal.SIGINT)
        original(callback, trainer, *rest)

    patch.setattr(Interrupt, "on_train_batch_end", on_train_batch_end)


@pytest.mark.slow
def test_two_processes_meta_train_as_one(tmp_path, small, losses):
    words = [*META[:1], *small, *META[1:], "trainer.max_steps=3"]
    assert main(["train", *words, f"output={tmp_path / 'one'}"]) == 0
    two = Torchrun(
        ["train", *words, "trainer.devices=null", f"output={tmp_path / 'two'}"],
        tmp_path / "two.txt",
    )
    assert two.wait() == 0, two.log.read_text()
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [together[i] for i in range(3)] == pytest.approx([alone[i] for i in range(3)], rel=1e-3)


BAD = [
    (["trainer.method=anil"], r"trainer\.method='anil'"),
    (["trainer.inner_loss=none"], r"trainer\.inner_loss='none'"),
    (["trainer.second_order=1"], r"trainer\.second_order=1"),
    (["trainer.method=reptile", "trainer.second_order=true"], r"trainer\.second_order=True"),
    (["trainer.method=reptile", "trainer.inner_steps=1"], r"trainer\.inner_steps=1"),
    (["trainer.method=reptile", "trainer.adapted=['*.bias']"], r"trainer\.adapted"),
    (["trainer.inner_steps=0"], r"trainer\.inner_steps=0"),
    (["trainer.inner_rate=0"], r"trainer\.inner_rate=0"),
    (["trainer.support=8"], r"trainer\.support=8: a whole number, at least 1 and at most 7"),
    (["trainer.task_size=few"], r"trainer\.task_size='few'"),
    (["trainer.hidden_share=1"], r"trainer\.hidden_share=1"),
    (["trainer.precision=16-mixed"], r"trainer\.precision='16-mixed'"),
    (["trainer.shared=[T2]"], r"trainer\.shared='T2': draws of the system: num_peaks"),
    (["trainer.shared=rate"], r"trainer\.shared='rate'"),
    (["trainer.adapted=['head.*']"], r"trainer\.adapted='head\.\*': a pattern that matches"),
    (["stream.batch_size=12"], r"stream\.batch_size=12: a multiple of task_size=8"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words[-1] for words, _ in BAD])
def test_bad_meta_configuration_is_one_line_and_2(tmp_path, small, capsys, words, message):
    line = [*META[:1], *small, *META[1:], *words, f"output={tmp_path / 'run'}"]
    assert main(["train", *line]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


# Adapting


# Adapting


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network that has seen half of the points of one to three peaks, and no other rate."""
    run = tmp_path_factory.mktemp("trained") / "run"
    words = [word for word in SMALL if not word.startswith("trainer.max_steps")]
    words += ["trainer.max_steps=200", "net.growth=8", "net.phases=3", "system.rate=0.5"]
    assert main(["train", *words, f"system.num_peaks={THREE}", f"output={run}"]) == 0
    return load_model(run / "run.ckpt").net


SMALL = ["logger=none", "trainer.bar=false", "trainer.val_every=0", "system.points=32"]
SMALL += ["stream.batch_size=16", "net.memory=2"]
THREE = "{_target_: ipads_stream.distributions.DiscreteUniform, low: 1, high: 3}"


def gain(before, after):
    """Mean paired difference over its standard error."""
    falls = before - after
    return float(falls.mean() / (falls.std() / len(falls) ** 0.5))


def errors(net, sample, objective):
    with torch.no_grad():
        return torch.stack(list(objective(net, sample, 0).values())).sum(0)


def drawn(split, count):
    """Samples of the shifted task: a rate and a noise that training did not show."""
    words = ["points=32", "rate=0.2", "snr=20", f"num_peaks={THREE}"]
    return Stream(load_system("dlnmr", words), split=split, device="cpu").sample(range(count))


def test_adapting_lowers_the_loss_on_a_shifted_task(trained):
    support, query, objective = (
        drawn("support", 16),
        drawn("query", 400),
        Targets(DeepSupervision()),
    )
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    adapted = adapt(trained, support, steps=20, rate=0.05, loss=objective)
    before, after = errors(trained, query, objective), errors(adapted, query, objective)
    assert gain(before, after) > 4
    assert all(torch.equal(value, weights[name]) for name, value in trained.state_dict().items())


def test_adapting_by_hidden_points_lowers_their_error_on_other_samples(trained):
    """Without a target: on samples that were not adapted to, hidden points are predicted better."""
    support, query = drawn("support", 8), drawn("query", 200)
    objective = HiddenPoints(0.25)
    adapted = adapt(trained, support, steps=20, rate=0.01, loss=objective)
    assert gain(errors(trained, query, objective), errors(adapted, query, objective)) > 4


def test_only_what_is_named_adapts(trained):
    net = adapt(
        trained, drawn("support", 4), steps=2, rate=0.1, loss=Targets(DeepSupervision()),
        adapted=["blocks.2.layers.*"],
    )  # fmt: skip
    changed = [f"blocks.2.layers.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")]
    own = dict(trained.named_parameters())
    for name, value in net.named_parameters():
        assert torch.equal(value, own[name]) == (name not in changed)


def test_adapting_works_where_gradients_are_off(trained):
    support = drawn("support", 4)
    words = {"steps": 2, "rate": 0.1, "loss": Targets(DeepSupervision())}
    wanted = adapt(trained, support, **words).state_dict()
    with torch.no_grad():
        found = adapt(trained, support, **words).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"steps": -1}, "steps"), ({"steps": 1.5}, "steps"), ({"rate": 0}, "rate"),
     ({"adapted": ["head.*"]}, "adapted"), ({"adapted": "blocks"}, "adapted")],
)  # fmt: skip
def test_bad_arguments_of_adapt_are_refused(trained, changes, key):
    words = {"steps": 1, "rate": 0.1, "loss": HiddenPoints(), **changes}
    with pytest.raises(ConfigError, match=f"^{key}="):
        adapt(trained, drawn("support", 2), **words)


# Hidden points


def test_hidden_points_are_an_exact_share_keyed_by_sample_and_step():
    sample, objective = drawn("hidden", 12), HiddenPoints(0.25)
    mask, hidden = sample.inputs["mask"], objective.hidden(sample, 3)
    assert not torch.any(hidden & ~mask)
    assert torch.equal(hidden.sum(1), (mask.sum(1) * 0.25).round().long().clamp_min(1))
    part = sample.rows(slice(5, 9))
    assert torch.equal(objective.hidden(part, 3), hidden[5:9])
    assert not torch.equal(objective.hidden(sample, 4), hidden)
    times = torch.stack([objective.hidden(sample, step) for step in range(400)]).float().mean(0)
    share = (hidden.sum(1) / mask.sum(1))[:, None].expand_as(times)[mask]
    assert (times[mask] - share).abs().max() < 5 * 0.5 / 400**0.5


def test_the_network_does_not_see_hidden_points():
    sample, objective = drawn("hidden", 6), HiddenPoints(0.5)
    hidden = objective.hidden(sample, 0)
    seen = {}

    def predict(inputs):
        seen.update(inputs)
        return {"spectrum": sample.targets["spectrum"]}

    clean = replace(sample, inputs=sample.inputs | {"fid": signal_of(sample)})
    error = objective(predict, clean, 0)["hidden"]
    assert torch.all(seen["fid"][hidden] == 0)
    assert not torch.any(seen["mask"] & hidden)
    assert torch.equal(seen["mask"] | hidden, sample.inputs["mask"])
    assert torch.all(error < 1.1e-3)  # of a perfect network, the eps alone

    def nothing(inputs):
        return {"spectrum": torch.zeros_like(sample.targets["spectrum"])}

    wanted = _rms(clean.inputs["fid"], hidden) / _rms(clean.inputs["fid"], sample.inputs["mask"])
    assert torch.allclose(objective(nothing, clean, 0)["hidden"], wanted, rtol=1e-5)


def signal_of(sample):
    """Noise-free signals at the measured points."""
    return torch.where(sample.inputs["mask"], fid(sample.targets["spectrum"]), 0)


def _rms(values, where):
    return ((values.abs() ** 2 * where).sum(1) / where.sum(1)).sqrt()


def test_measured_samples_are_scaled_and_checked():
    signals = 1e12 * fid(drawn("measured", 5).targets["spectrum"]).numpy()
    mask = np.arange(32) % 3 == 0
    sample = measured_samples(signals, mask)
    assert np.allclose(sample.inputs["fid"].abs().amax(1), 1)
    assert not torch.any(sample.inputs["fid"][:, ~torch.from_numpy(mask)])
    assert sample.targets == {}
    full = measured_samples(signals, mask, is_full=True)
    back = fid(full.targets["spectrum"]).numpy()
    factor = back[:, :1] / signals[:, :1]
    assert np.allclose(back, factor * signals, atol=1e-5)
    assert np.allclose(full.inputs["fid"], np.where(mask, back, 0), atol=1e-6)
    for bad in (signals.real, signals[0]):
        with pytest.raises(ValueError, match="allowed"):
            measured_samples(bad, mask)
    for bad in (mask[:5], np.zeros(32, dtype=bool)):
        with pytest.raises(ValueError, match="allowed"):
            measured_samples(signals, bad)
