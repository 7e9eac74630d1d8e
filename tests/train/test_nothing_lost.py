"""Whatever ends a run, it goes on as if nothing had: rows, validations, weights, line by line."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from forked_torchrun import Torchrun

from ipads_stream.__main__ import main
from ipads_stream.core.files import cut_log
from ipads_stream.train import callbacks, supervised, tracker
from ipads_stream.train.checkpoint import read_checkpoint

CLOCK = ("time", "stall", "stream/wait_s", "stream/generation_s", "stream/step_s",
         "stream/queued", "stream/samples_per_s")  # fmt: skip
VALIDATED = ("trainer.val_every=4", "trainer.val_samples=8", "trainer.max_steps=12")
UNIFORM = "{_target_: ipads_stream.distributions.Uniform, low: 0.05, high: 1.0}"
KINDS = {
    "dlnmr": [],
    "drone": ["system=drone", "system.schedule.num_frames=30", "trainer.log_every=1"],
    "adaptive": [
        "system.amplitude={_target_: ipads_stream.distributions.Adaptive, edges: [0.2, 0.6],"
        f" distribution: {UNIFORM}}}",
        "stream.adapt_every=6",
    ],
    "repeat": ["stream.repeat=3"],
    "meta": ["trainer=meta", "trainer.task_size=4", "trainer.support=1", "trainer.inner_steps=1"],
    "transfer": ["trainer=transfer", "trainer.target={rate:0.2}", "trainer.samples=5"],
}


class KilledError(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def rows(run, name="metrics.jsonl"):
    """What does not depend on the clock, line by line."""
    lines = (json.loads(line) for line in (Path(run) / name).read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def state(run):
    """What a run goes on from."""
    content = torch.load(run / "run.ckpt", weights_only=True)
    stream = content["ipads_stream"]["stream"]
    best = content["callbacks"].get("Best")
    return content["state_dict"], content["optimizer_states"], stream, content["global_step"], best


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture
def words(small):
    kept = [word for word in small if not word.startswith("trainer.m")]
    return [*kept, *VALIDATED, "trainer.save_every=0.001", "device=cpu"]


@pytest.fixture
def whole(tmp_path, words):
    assert main(["train", *words, f"output={tmp_path / 'whole'}"]) == 0
    return tmp_path / "whole"


def test_a_run_whose_system_states_the_outputs_goes_on(tmp_path, words):
    words = [word for word in words if not word.startswith(("system.", "net."))]
    words = ["train", *words, *KINDS["drone"], f"output={tmp_path / 'run'}", "resume=auto"]
    for steps in (2, 4):
        assert main([*words, f"trainer.max_steps={steps}"]) == 0
    assert [row["step"] for row in rows(tmp_path / "run") if "loss" in row] == list(range(4))


MOMENTS = {
    "before its row": (tracker.JsonLines, "log_metrics", 7),
    "before the row of a validation": (tracker.JsonLines, "log_metrics", 9),
    "in a step": (supervised.Training, "training_step", 8),
    "in a validation": (supervised.Training, "validation_step", 2),
    "at the end of a step": (supervised.Training, "on_train_batch_end", 7),
    "while it saves": (supervised.Training, "on_save_checkpoint", 6),
    "in the last save": (supervised.Training, "on_save_checkpoint", 12),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_rows_and_validations_after_a_kill(tmp_path, words, whole, monkeypatch, moment):
    owner, name, count = MOMENTS[moment]
    before, calls = getattr(owner, name), []

    def kill(*arguments, **named):
        calls.append(None)
        if len(calls) == count:
            raise KilledError
        return before(*arguments, **named)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        with pytest.raises(KilledError):
            main(["train", *words, f"output={run}"])
    assert main(["train", *words, f"output={run}", "resume=auto"]) == 0
    assert rows(run) == rows(whole)
    assert same(state(run), state(whole))


def test_larger_budgets_log_every_step_once(tmp_path, words):
    run = tmp_path / "run"
    words = [word for word in words if "max_steps" not in word]
    for steps in (4, 8, 14):
        budget = f"trainer.max_steps={steps}"
        assert main(["train", *words, budget, f"output={run}", "resume=auto"]) == 0
    found = rows(run)
    assert [row["step"] for row in found if "loss" in row] == list(range(14))
    assert [row["step"] for row in found if "val/loss" in row] == [3, 7, 11]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("steps", [6, 8])
def test_a_signal_saves_and_leaves_no_trace(tmp_path, words, whole, monkeypatch, number, steps):
    before = callbacks.Interrupt.on_train_batch_end

    def stop(callback, trainer, *rest):
        if trainer.global_step == steps:
            signal.raise_signal(number)
        before(callback, trainer, *rest)

    run = tmp_path / "run"
    heard = []
    monkeypatch.setattr(callbacks.Interrupt, "on_train_batch_end", stop)
    handlers = {n: signal.signal(n, lambda *_: heard.append(1)) for n in (1, 15)}
    try:
        assert main(["train", *words, f"output={run}"]) == 130
        assert len(rows(run)) == steps + steps // 4
        monkeypatch.undo()
        assert main(["train", f"resume={run / 'run.ckpt'}"]) == 0
    finally:
        for n, handler in handlers.items():
            signal.signal(n, handler)
    assert rows(run) == rows(whole)
    assert same(state(run)[:4], state(whole)[:4])
    assert len(heard) == (number != signal.SIGINT)


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path, words, monkeypatch, capsys):
    report = supervised.Training.report

    def diverge(training, errors, *rest):
        loss = report(training, errors, *rest)
        return loss * (float("nan") if training.global_step == 7 else 1.0)

    monkeypatch.setattr(supervised.Training, "report", diverge)
    run = tmp_path / "run"
    assert main(["train", *words, f"output={run}"]) == 1
    error = capsys.readouterr().err
    assert "diverged by step 8" in error and "net." in error and error.count("\n") == 1
    kept = read_checkpoint(run / "run.ckpt")
    assert kept["steps"] == 7
    assert all(torch.isfinite(value).all() for value in kept["weights"].values())


def test_settings_that_make_training_diverge_are_told(tmp_path, words, capsys):
    """Each step takes the weights by about -99."""
    run, hard = tmp_path / "run", ["trainer.learning_rate=10", "trainer.weight_decay=10"]
    assert main(["train", *words, *hard, "trainer.max_steps=60", f"output={run}"]) == 1
    error = capsys.readouterr().err
    assert "diverged by step" in error and "learning_rate" in error and error.count("\n") == 1
    kept = read_checkpoint(run / "run.ckpt")
    assert 0 < kept["steps"] < 60
    assert all(torch.isfinite(value).all() for value in kept["weights"].values())


def test_divergence_in_the_last_step_is_not_saved(tmp_path, words, monkeypatch, capsys):
    report = supervised.Training.report
    monkeypatch.setattr(
        supervised.Training, "report", lambda *arguments: report(*arguments) * float("nan")
    )
    rare = ["trainer.max_steps=1", "trainer.save_every=100", f"output={tmp_path / 'run'}"]
    assert main(["train", *words, *rare]) == 1
    assert "diverged by step 1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.ckpt").exists()


def test_a_checkpoint_that_diverged_neither_resumes_nor_evaluates(tmp_path, words, whole, capsys):
    content = torch.load(whole / "run.ckpt", weights_only=True)
    next(iter(content["state_dict"].values())).fill_(float("nan"))
    torch.save(content, whole / "run.ckpt")
    assert main(["train", f"resume={whole / 'run.ckpt'}", "trainer.max_steps=20"]) == 2
    assert main(["evaluate", f"checkpoint={whole / 'run.ckpt'}"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("weights that are finite" in line for line in errors)


def test_two_processes_cannot_train_in_one_folder(tmp_path, words, monkeypatch, capsys):
    run, answers = tmp_path / "run", []
    step = supervised.Training.on_train_start

    def again(training):
        if not answers:
            answers.append(None)
            answers[0] = main(["train", *words, f"output={run}"])
        step(training)

    monkeypatch.setattr(supervised.Training, "on_train_start", again)
    assert main(["train", *words, f"output={run}"]) == 0
    assert answers == [2]
    error = capsys.readouterr().err
    assert f"process {os.getpid()} on {os.uname().nodename}" in error and error.count("\n") == 1


def test_a_lock_that_a_killed_process_left_is_none(tmp_path, words):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".owner").write_text("process 1 on elsewhere")
    assert main(["train", *words, f"output={run}"]) == 0
    assert not (run / ".owner").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    tmp_path, words, whole, monkeypatch, capsys
):
    run, late = tmp_path / "run", [*words, "trainer.save_every=100"]
    before, calls = supervised.Training.training_step, []

    def kill(*arguments):
        calls.append(None)
        if len(calls) == 6:
            raise KilledError
        return before(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(supervised.Training, "training_step", kill)
        with pytest.raises(KilledError):
            main(["train", *late, f"output={run}"])
    config = (run / "config.json").read_bytes()
    for other in (["seed=7"], ["seed=7", "resume=auto"]):
        assert main(["train", *late, *other, f"output={run}"]) == 2
        assert "a folder without a run; that of this one has seed=7" in capsys.readouterr().err
    assert (run / "config.json").read_bytes() == config and len(rows(run)) == 6
    assert main(["train", *late, f"output={run}"]) == 0
    assert rows(run) == rows(whole)


@pytest.mark.parametrize("text", ["{}", "[1]", "name: mine", ""])
def test_a_foreign_config_is_not_overwritten(tmp_path, words, capsys, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    for more in ([], ["resume=auto"]):
        assert main(["train", *words, *more, f"output={tmp_path}"]) == 2
        error = capsys.readouterr().err
        assert "a folder without a run" in error and error.count("\n") == 1
    assert path.read_text() == text


def test_a_log_is_cut_at_a_step(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [json.dumps({"step": step, "x": "y" * 50}) + "\n" for step in (0, 1, 1, 2, 2, 3)]
    for torn in ("", '{"step": 3, "x', "nonsense\n"):
        path.write_text("".join(lines) + torn)
        cut_log(path, 2)
        assert path.read_text() == "".join(lines[:3])
    path.write_text("".join(lines))
    cut_log(path, 9)
    assert path.read_text() == "".join(lines)
    cut_log(path, 0)
    assert path.read_text() == ""
    cut_log(path, 0)


def trained(words, run=None, lines=None):
    """Exit code of training in a process of its own, killed when its log has so many lines."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(words,))
    process.start()
    while process.is_alive():
        log = None if run is None else run / "metrics.jsonl"
        if log is not None and log.is_file() and log.read_bytes().count(b"\n") >= lines:
            time.sleep(random.random() * 0.02)  # anywhere in what it does next
            process.kill()
            break
        time.sleep(0.002)
    process.join()
    return process.exitcode


def _train(words):
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os._exit(main(words))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kills_at_random_moments_lose_nothing(tmp_path, words, kind):
    words = ["train", *words, *KINDS[kind], "trainer.max_steps=40", "trainer.save_every=0.05"]
    if kind == "drone":
        words = [w for w in words if not w.startswith(("system.points", "net.p", "net.g", "net.m"))]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert trained([*words, f"output={whole}"]) == 0
    words += [f"output={run}", "resume=auto"]
    for lines in sorted(random.Random(kind).sample(range(1, 45), 3)):
        assert trained(words, run, lines) in (0, -signal.SIGKILL)
    assert trained(words) == 0
    assert same(state(run), state(whole))
    for path in whole.glob("*.jsonl"):
        assert rows(run, path.name) == rows(whole, path.name)
    assert sorted(p.name for p in run.glob("*.jsonl")) == sorted(
        p.name for p in whole.glob("*.jsonl")
    )


@pytest.mark.slow
def test_kills_of_two_ranks_lose_nothing(tmp_path, words):
    words = ["train", *words, "trainer.devices=null", "trainer.save_every=0.05",
             "trainer.max_steps=40", "resume=auto"]  # fmt: skip
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert Torchrun([*words, f"output={whole}"], tmp_path / "whole.txt").wait() == 0
    two = Torchrun([*words, f"output={run}"], tmp_path / "run.txt")
    until = time.monotonic() + 120
    while time.monotonic() < until and two.process.is_alive():
        log = run / "metrics.jsonl"
        if log.is_file() and len(log.read_bytes().splitlines()) >= 25:
            break
        time.sleep(0.01)
    two.lose()
    assert Torchrun([*words, f"output={run}"], tmp_path / "run.txt").wait() == 0
    assert rows(run) == rows(whole)
    assert same(state(run), state(whole))
