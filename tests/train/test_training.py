"""Training on a stream: bounded, logged, interrupted, resumed, shared by processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from forked_torchrun import Torchrun

from ipads_stream import ConfigError, Stream, load_model, load_system
from ipads_stream.__main__ import main
from ipads_stream.config import compose, instantiate
from ipads_stream.core.files import from_json
from ipads_stream.evaluation.familiar import UnfamiliarWarning
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.supervised import Supervised


def test_a_run_leaves_what_it_promises(tmp_path, small, losses, capsys):
    run = tmp_path / "run"
    assert main(["train", *small, "trainer.val_every=12", f"output={run}"]) == 0
    assert str(run / "run.ckpt") in capsys.readouterr().out
    assert sorted(losses(run)) == list(range(24))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("stall", "stream/generation_s", "stream/samples_per_s", "stream/wait_s",
                 "worst/index", "loss/phase_2", "learning_rate"):  # fmt: skip
        assert all(name in row for row in rows if "loss" in row)
    assert sum("val/loss" in row for row in rows) == 2
    config = from_json((run / "config.json").read_text())
    assert config["system"]["points"] == 32
    checkpoint = read_checkpoint(run / "run.ckpt")
    assert checkpoint["stream"]["step"] == 24
    assert checkpoint["config"] == config


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, small, capsys):
    (tmp_path / "metrics.jsonl").write_text("")
    assert main(["train", *small, f"output={tmp_path}"]) == 2
    assert "a folder without a run" in capsys.readouterr().err


def test_a_reconstruction_keeps_measured_points_and_any_length(tmp_path, small):
    assert main(["train", *small, "trainer.max_steps=2", f"output={tmp_path / 'run'}"]) == 0
    reconstruct = load_model(tmp_path / "run" / "run.ckpt")
    sample = Stream(load_system("dlnmr", ["points=77"]), device="cpu").sample(range(5))
    fid, mask = sample.inputs["fid"].numpy(), sample.inputs["mask"].numpy()
    with pytest.warns(UnfamiliarWarning, match="signals have 77 points, in training 32"):
        out = reconstruct(fid, mask)
    assert out.shape == fid.shape
    assert np.array_equal(out[mask], fid[mask])
    assert np.isfinite(out).all()
    assert np.any(out[~mask] != 0)
    shared = reconstruct(fid, mask[0])
    assert shared.shape == fid.shape
    assert reconstruct(fid.astype(np.complex128), mask).dtype == np.complex128
    assert not np.any(reconstruct(np.zeros_like(fid), mask))
    for bad in (fid.real, fid[0], fid[:, :5]):
        with pytest.raises(ValueError, match="allowed"):
            reconstruct(bad, mask)
    with pytest.raises(ValueError, match="at least one measured point"):
        reconstruct(fid, np.zeros(77, dtype=bool))
    with pytest.raises(ValueError, match="finite"):
        reconstruct(fid * np.nan, mask)


@pytest.mark.parametrize("threads", [0, 3])
def test_resume_equals_the_uninterrupted_run_bit_for_bit(tmp_path, small, losses, threads):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", *small, f"output={whole}"]) == 0
    # A budget of 24 steps fixes the learning rates; the stop in between does not change them.
    stop = _StopAfter(9)
    with stop:
        assert main(["train", *small, f"output={parts}"]) == 130
    first = losses(parts)
    assert len(first) == 9
    resume = f"resume={parts / 'run.ckpt'}"
    assert main(["train", resume, f"stream.threads={threads}"]) == 0
    assert losses(parts) == losses(whole)
    a, b = (read_checkpoint(run / "run.ckpt")["weights"] for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)


class _StopAfter:
    """Requests an interrupt, as SIGINT does, once so many steps are trained."""

    def __init__(self, steps):
        self.steps = steps

    def __enter__(self):
        from ipads_stream.train.callbacks import Interrupt

        self.original = Interrupt.on_train_batch_end

        def on_train_batch_end(callback, trainer, *rest):
            if trainer.global_step >= self.steps:
                signal.raise_signal(signal.SIGINT)
            self.original(callback, trainer, *rest)

        Interrupt.on_train_batch_end = on_train_batch_end

    def __exit__(self, *failure):
        from ipads_stream.train.callbacks import Interrupt

        Interrupt.on_train_batch_end = self.original


def _wait_for_steps(run, steps, losses, process, limit=90):
    until = time.monotonic() + limit
    while time.monotonic() < until and process.poll() is None:
        if (run / "run.ckpt").exists() and len(losses(run)) >= steps:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
def test_kill_and_resume_goes_on_exactly(tmp_path, small, losses, command):
    long = [*small, "trainer.max_steps=3000", "trainer.save_every=0.2", "stream.depth=8"]
    run = tmp_path / "run"
    process = command("train", *long, f"output={run}")
    _wait_for_steps(run, 20, losses, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = read_checkpoint(run / "run.ckpt")["stream"]["step"]
    process = command("train", f"resume={run / 'run.ckpt'}")
    _wait_for_steps(run, reached + 20, losses, process)
    process.send_signal(signal.SIGINT)  # and Ctrl-C saves
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stopped = read_checkpoint(run / "run.ckpt")["stream"]["step"]
    assert stopped >= reached
    whole = tmp_path / "whole"
    with _StopAfter(stopped):
        assert main(["train", *long, f"output={whole}"]) == 130
    a, b = (read_checkpoint(folder / "run.ckpt")["weights"] for folder in (run, whole))
    assert all(torch.equal(a[name], b[name]) for name in a)
    together, straight = losses(run), losses(whole)
    assert all(together[step] == straight[step] for step in straight)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_train_as_one(tmp_path, small, losses, launcher):
    small = [*small, "trainer.max_steps=6"]
    assert main(["train", *small, f"output={tmp_path / 'one'}"]) == 0
    words = ["train", *small, f"output={tmp_path / 'two'}"]
    if launcher == "torchrun":
        two = Torchrun([*words, "trainer.devices=null"], tmp_path / "two.txt")
        assert two.wait() == 0, two.log.read_text()
    else:
        line = [sys.executable, "-m", "ipads_stream", *words, "trainer.devices=2"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    one, two = (read_checkpoint(tmp_path / n / "run.ckpt") for n in ("one", "two"))
    assert one["stream"] == two["stream"]
    # The first loss is that of one set of weights on the same samples, shared out; later ones
    # drift by rounding, which Adam's first steps magnify where a gradient is nearly zero.
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert together[0] == pytest.approx(alone[0], rel=1e-6)
    assert [together[i] for i in range(6)] == pytest.approx([alone[i] for i in range(6)], rel=1e-3)
    distance = sum((one["weights"][n] - two["weights"][n]).square().sum() for n in one["weights"])
    size = sum(weight.square().sum() for weight in one["weights"].values())
    assert distance < 1e-5 * size


@pytest.mark.slow
def test_ranks_take_disjoint_shares_whose_union_is_the_stream(tmp_path):
    """Two processes under torchrun, each asking torch.distributed which share is its own."""
    program = tmp_path / "shares.py"
    program.write_text(
        "import sys, numpy as np, torch.distributed as dist\n"
        "from ipads_stream import Stream, load_system\n"
        "dist.init_process_group('gloo')\n"
        "stream = Stream(load_system('dlnmr', ['points=32']), batch_size=8, device='cpu')\n"
        "batches = iter(stream)\n"
        "taken = [next(batches) for _ in range(5)]\n"
        "np.savez(f'{sys.argv[1]}/{dist.get_rank()}.npz',\n"
        "         index=np.stack([b.provenance.indices for b in taken]),\n"
        "         fid=np.stack([b.inputs['fid'] for b in taken]))\n"
        "dist.destroy_process_group()\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(program), str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    ranks = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    index = np.concatenate([rank["index"] for rank in ranks], axis=1).ravel()
    assert index.tolist() == list(range(40))
    whole = Stream(load_system("dlnmr", ["points=32"]), device="cpu").sample(range(40))
    fid = np.concatenate([rank["fid"] for rank in ranks], axis=1).reshape(40, 32)
    assert np.array_equal(fid, whole.inputs["fid"].numpy())


def test_training_learns(tmp_path, small, losses):
    run = tmp_path / "run"
    words = ["trainer.max_steps=150", "stream.batch_size=16", "net.growth=8", "net.phases=3"]
    easy = ["system.rate=0.5", "system.snr=null", "system.num_peaks=1"]
    assert main(["train", *small, *words, *easy, f"output={run}"]) == 0
    curve = losses(run)
    start = np.mean([curve[i] for i in range(10)])
    end = np.mean([curve[i] for i in range(140, 150)])
    assert end < 0.6 * start


def test_nonfinite_samples_are_logged_and_training_goes_on(tmp_path, small, losses, monkeypatch):
    from ipads_stream.systems.dlnmr import DLNMR

    render = DLNMR.render

    def broken(system, params, keys, xp):
        sample = render(system, params, keys, xp)
        if "/" not in keys.split:  # the samples themselves, not their substitutes
            sample.inputs["fid"][np.isin(keys.indices, [3, 20])] = np.nan
        return sample

    monkeypatch.setattr(DLNMR, "render", broken)
    for policy in ("substitute", "mask"):
        run = tmp_path / policy
        words = [*small, "trainer.max_steps=4", f"stream.on_nonfinite={policy}", f"output={run}"]
        assert main(["train", *words]) == 0
        events = [json.loads(line) for line in (run / "failures.jsonl").read_text().splitlines()]
        assert [(e["index"], e["step"], e["policy"]) for e in events] == [
            (3, 0, policy),
            (20, 2, policy),
        ]
        assert all("amplitude" in event["params"] for event in events)
        assert np.isfinite(list(losses(run).values())).all()


def test_nonfinite_samples_stop_training_by_default(tmp_path, small, capsys):
    words = [*small, "system.amplitude=1e38", f"output={tmp_path / 'run'}"]
    assert main(["train", *words]) == 1
    error = capsys.readouterr().err
    assert "sample 0: non-finite" in error
    assert "amplitude=" in error


def test_time_and_samples_bound_a_run(tmp_path, small, losses):
    run = tmp_path / "samples"
    words = [*small, "trainer.max_steps=null"]
    assert main(["train", *words, "trainer.max_samples=40", f"output={run}"]) == 0
    assert len(losses(run)) == 5
    run = tmp_path / "time"
    assert main(["train", *words, "trainer.max_time=2", f"output={run}"]) == 0  # without, endless
    assert read_checkpoint(run / "run.ckpt")["elapsed"] >= 2
    assert len(losses(run)) > 0


BAD = [
    (["trainer.learning_rate=0"], r"trainer\.learning_rate"),
    (["trainer.max_steps=0"], r"trainer\.max_steps"),
    (["trainer.max_steps=null"], r"trainer\.max_steps=None: a budget"),
    (["trainer.max_time=soon"], r"trainer\.max_time='soon'"),
    (["trainer.devices=0"], r"trainer\.devices=0"),
    (["trainer.devices=3"], r"trainer\.devices=3: a divisor of stream\.batch_size=8"),
    (["trainer.precision=abc"], r"trainer\.precision='abc'"),
    (["trainer.bar=3"], r"trainer\.bar=3"),
    (["stream=null"], r"stream=None"),
    (["logger=null"], r"logger"),
    (["stream.threads=-1"], r"stream\.threads=-1"),
    (["device=cuda"], r"device='cuda'"),
    (["net.phases=0"], r"net.*phases"),
    (["net.depth=3"], r"net\.depth"),
    (["net._target_=torch.nn.Linear"], r"net\._target_='torch\.nn\.Linear'"),
    (["loss.discount=2"], r"loss\.discount"),
    (["logger.name=tensorboard"], r"logger\.name"),
    (["logger=wandb", "logger.mode=loud"], r"logger\.mode"),
    (["stream.batch_size=0"], r"batch_size"),
    (["seed=-1"], r"seed"),
    (["device=tpu"], r"device"),
    (["resume=nothing.ckpt"], r"checkpoint='nothing\.ckpt'"),
    (["stuff"], r"argument='stuff'"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words[-1] for words, _ in BAD])
def test_bad_training_configuration_is_one_line_and_2(tmp_path, small, capsys, words, message):
    import re

    assert main(["train", *small, *words, f"output={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "run.ckpt").exists()


def test_a_checkpoint_cannot_run_code(tmp_path, small, capsys):
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"ipads_stream": Evil(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match="checkpoint"):
        load_model(tmp_path / "evil.ckpt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ConfigError, match="checkpoint"):
        load_model(tmp_path / "pickle.ckpt")
    assert "ran" not in capsys.readouterr().out
    # nor build a class that was not trusted
    assert main(["train", *small, "trainer.max_steps=1", f"output={tmp_path / 'run'}"]) == 0
    content = torch.load(tmp_path / "run" / "run.ckpt", weights_only=True)
    content["ipads_stream"]["config"]["net"] = {"_target_": "subprocess.Popen", "args": "ls"}
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=r"net\._target_"):
        load_model(tmp_path / "other.ckpt")


def test_a_foreign_checkpoint_cannot_run_code_on_resume(tmp_path, small, capsys):
    assert main(["train", *small, "trainer.max_steps=1", f"output={tmp_path / 'run'}"]) == 0
    content = torch.load(tmp_path / "run" / "run.ckpt", weights_only=True)
    mark = tmp_path / "ran"
    popen = f"trainer={{_target_: subprocess.Popen, args: [touch, {mark}]}}"
    content["ipads_stream"]["config"]["overrides"] = ["trusted=[subprocess]", popen]
    torch.save(content, tmp_path / "evil.ckpt")
    assert main(["train", f"resume={tmp_path / 'evil.ckpt'}"]) == 2
    assert not mark.exists()
    content["ipads_stream"]["config"]["overrides"] = [3]
    torch.save(content, tmp_path / "odd.ckpt")
    assert main(["train", f"resume={tmp_path / 'odd.ckpt'}"]) == 2


def test_a_damaged_checkpoint_is_refused(tmp_path, small, capsys):
    assert main(["train", *small, "trainer.max_steps=1", f"output={tmp_path / 'run'}"]) == 0
    path = tmp_path / "run" / "run.ckpt"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match="checkpoint"):
        load_model(path)


def test_resume_from_anywhere_goes_on_beside_the_checkpoint(tmp_path, small, losses, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with _StopAfter(5):
        assert main(["train", *small, "output=runs/a"]) == 130
    moved = tmp_path / "elsewhere (1)"
    (tmp_path / "runs" / "a").rename(moved)
    monkeypatch.chdir(tmp_path / "sub")
    assert main(["train", "resume=../elsewhere (1)/run.ckpt"]) == 0
    assert sorted(losses(moved)) == list(range(24))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere (1)", "runs", "sub"]


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("seed=3", "seed"),
        ("net.growth=5", r"net\.growth"),
        ("system.decay.high=50", r"system\.decay\.high"),
        ("trainer.learning_rate=1", r"trainer\.learning_rate"),
        ("stream.on_nonfinite=mask", r"stream\.on_nonfinite"),
        ("stream.batch_size=4", r"stream\.batch_size"),
        ("trainer.max_steps=3", r"trainer\.max_steps=3: more than the 3 steps"),
    ],
)
def test_what_decides_the_numbers_stays_on_resume(tmp_path, small, capsys, word, key):
    import re

    run = tmp_path / "run"
    assert main(["train", *small, "trainer.max_steps=3", f"output={run}"]) == 0
    before = (run / "run.ckpt").read_bytes()
    budget = [] if "max_steps" in word else ["trainer.max_steps=5"]
    assert main(["train", f"resume={run / 'run.ckpt'}", word, *budget]) == 2
    assert re.search(f": {key}", capsys.readouterr().err)
    assert (run / "run.ckpt").read_bytes() == before


def test_initialisation_follows_the_seed_and_leaves_torch_alone(tmp_path, small):
    before = torch.get_rng_state()
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        words = [*small, "trainer.max_steps=1", f"seed={seed}", f"output={tmp_path / name}"]
        assert main(["train", *words]) == 0
        weights.append(read_checkpoint(tmp_path / name / "run.ckpt")["weights"])
    assert torch.equal(before, torch.get_rng_state())
    same, other = (
        [torch.equal(weights[0][name], weights[i][name]) for name in weights[0]] for i in (1, 2)
    )
    assert all(same)
    assert not all(other)


def test_the_learning_rate_rises_and_falls():
    trainer: Supervised = instantiate(compose()["trainer"], "trainer")
    rates = [trainer.rate(p) for p in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(trainer.learning_rate, rel=0.01)
    assert np.all(np.diff(rates[: peak + 1]) >= 0)
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] == pytest.approx(0.005 * trainer.learning_rate)


def test_wandb_offline_and_no_logger_leave_a_local_log(tmp_path, small, losses):
    run = tmp_path / "run"
    words = [*small[1:], "logger=wandb", "trainer.max_steps=3", f"output={run}"]
    assert main(["train", *words]) == 0
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(losses(run)) == 3


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    from ipads_stream.train import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.time, "strftime", lambda form: form.partition("-")[0])
    config = {"resume": None, "output": None}
    for name in ("runs/a", "runs/a-2", "runs/a-3"):
        folder = run._folder(config, "a", 1)
        assert str(folder) == name
        folder.mkdir(parents=True)
