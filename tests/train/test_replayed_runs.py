"""What a run logged about its samples is enough to rebuild them, whatever its trainer makes."""

import json

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.config import build_run, build_system
from ipads_stream.core.files import from_json
from ipads_stream.core.sample import Sample
from ipads_stream.stream import adaptation
from ipads_stream.stream.episodes import Episodes
from ipads_stream.train.checkpoint import read_checkpoint

TARGET = "trainer.target={rate:0.2,snr:10}"


def run_of(output, small, *more):
    words = [*small, "trainer.max_steps=1", f"output={output}", "device=cpu", *more]
    assert main(["train", *words]) == 0
    lines = (output / "metrics.jsonl").read_text().splitlines()
    (first,) = (line for line in map(json.loads, lines) if line.get("worst/index") is not None)
    return int(first["worst/index"]), first["worst/loss"]


def replayed(output, index, split="train"):
    assert main(["replay", f"run={output}", f"index={index}", f"split={split}"]) == 0
    with np.load(output / "replay" / f"{split}-{index}.npz") as file:
        return dict(file)


def loss_at_start(output, arrays, weights=None):
    """Of a sample, by the network as it was before the first step."""
    config = from_json((output / "config.json").read_text())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        run = build_run(config)
        net, loss = run.build_net(), run.build_loss()
    if weights is not None:
        net.load_state_dict(weights)
    group = {
        kind: {
            name.removeprefix(f"{kind}/"): torch.from_numpy(array)[None]
            for name, array in arrays.items()
            if name.startswith(kind)
        }
        for kind in ("inputs", "targets")
    }
    sample = Sample(group["inputs"], group["targets"], {})
    with torch.no_grad():
        terms = loss(net(sample.inputs), sample)
    return float(torch.stack(list(terms.values())).sum())


def test_the_worst_sample_of_a_supervised_run(tmp_path, small):
    index, worst = run_of(tmp_path / "run", small)
    assert loss_at_start(tmp_path / "run", replayed(tmp_path / "run", index)) == pytest.approx(
        worst, rel=1e-4
    )


@pytest.mark.parametrize("method", ["maml", "reptile"])
def test_the_worst_sample_of_a_meta_run(tmp_path, small, method):
    output = tmp_path / "run"
    index, worst = run_of(
        output, small, "trainer=meta", f"trainer.method={method}", "trainer.inner_rate=1e-12",
        "trainer.task_size=4", "trainer.support=1", "seed=5",
    )  # fmt: skip
    arrays = replayed(output, index)
    assert loss_at_start(output, arrays) == pytest.approx(worst, rel=1e-4)
    first = index // 4 * 4
    plain = Stream(load_system("dlnmr", ["points=32"]), seed=5, device="cpu", threads=0)
    for name in ("rate", "snr"):
        assert arrays[f"params/{name}"] == plain.sample([index // 4]).params[name][0]
        assert arrays[f"params/{name}"] == replayed(output, first)[f"params/{name}"]
    held = Episodes(system=plain.system, samples=4, shared=("rate", "snr", "decay"))
    expected = Stream(held, seed=5, split="validation", device="cpu", threads=0).sample([3])
    found = replayed(output, 3, "validation")
    assert np.array_equal(found["inputs/fid"], expected.inputs["fid"][0].numpy())


def test_the_worst_sample_of_a_transfer_run(tmp_path, small):
    before, output = tmp_path / "before", tmp_path / "after"
    run_of(before, small)
    more = ["trainer=transfer", f"checkpoint={before / 'run.ckpt'}", TARGET]
    index, worst = run_of(
        output, [word for word in small if "val_every" not in word], *more, "trainer.val_every=1",
        "trainer.val_samples=4", "trainer.samples=3", "trainer.real_share=0.5",
    )  # fmt: skip
    arrays = replayed(output, index)
    weights = read_checkpoint(before / "run.ckpt")["weights"]
    assert loss_at_start(output, arrays, weights) == pytest.approx(worst, rel=1e-4)
    kinds = [bool(replayed(output, n)["params/is_real"]) for n in range(8)]
    assert sum(kinds) == 4
    real = replayed(output, kinds.index(True))
    assert real["params/real.rate"] == 0.2 and real["params/synthetic.rate"] == 0
    assert replayed(output, 2, "validation")["params/rate"] == 0.2  # shifted
    assert replayed(output, 2, "test")["params/rate"] != 0.2  # what evaluate draws from


def test_lines_of_a_mixture_tell_of_the_sample_s_own_kind(tmp_path, small, capsys):
    output = tmp_path / "run"
    run_of(output, small, "trainer=transfer", TARGET, "trainer.samples=3", "trainer.val_every=1",
           "trainer.val_samples=4", "trainer.real_share=0.5")  # fmt: skip
    capsys.readouterr()
    for index in range(4):
        real = bool(replayed(output, index)["params/is_real"])
        line = capsys.readouterr().out
        assert ("real.rate=0.2" in line) == real
        assert ("synthetic.rate=" in line) != real


def test_transfer_runs_on_measured_rows_need_them(tmp_path, small, capsys):
    rows = Stream(load_system("dlnmr", ["points=32", "snr=null"]), device="cpu", threads=0).sample(
        range(12)
    )
    path, output = tmp_path / "rows.npy", tmp_path / "run"
    full = np.fft.ifft(np.fft.ifftshift(rows.targets["spectrum"].numpy(), axes=1), norm="ortho")
    np.save(path, full)
    run_of(output, small, "trainer=transfer", f"data={path}", "trainer.samples=3",
           "trainer.val_samples=4", "trainer.val_every=1", "stream.batch_size=4")  # fmt: skip
    spectrum = replayed(output, 1)["targets/spectrum"]
    scaled = rows.targets["spectrum"].numpy() / np.abs(full).max(axis=1, keepdims=True)
    assert np.abs(scaled - spectrum).max(axis=1).min() < 1e-5
    path.unlink()
    assert main(["replay", f"run={output}", "index=1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ipads-stream: data=") and "only split=test" in error
    assert error.count("\n") == 1


def test_samples_that_were_drawn_by_adapted_shares(tmp_path, small):
    uniform = "{_target_:ipads_stream.distributions.Uniform,low:0.05,high:1}"
    adaptive = "_target_:ipads_stream.distributions.Adaptive"
    amplitude = f"system.amplitude={{{adaptive},distribution:{uniform},edges:[0.2,0.5]}}"
    output = tmp_path / "run"
    words = [*small, amplitude, "trainer.max_steps=12", "stream.adapt_every=3", "stream.depth=1",
             f"output={output}", "device=cpu"]  # fmt: skip
    assert main(["train", *words]) == 0
    checkpoint = read_checkpoint(output / "run.ckpt")
    system = build_system(checkpoint["config"])
    configured = Stream(system, batch_size=8, device="cpu", threads=0, depth=1, adapt_every=3)
    stream = Stream(system, batch_size=8, device="cpu", threads=0, depth=1, adapt_every=3)
    stream.load_state_dict(checkpoint["stream"])
    changed = 0
    for index in (2, 40, 60, 80, 95):
        found = replayed(output, index)["params/amplitude"]
        assert np.array_equal(found, stream.sample([index]).params["amplitude"][0])
        changed += not np.array_equal(found, configured.sample([index]).params["amplitude"][0])
    assert changed >= 3


def test_shares_that_the_checkpoint_does_not_keep_are_in_the_log(
    tmp_path, small, monkeypatch, capsys
):
    uniform = "{_target_:ipads_stream.distributions.Uniform,low:0.05,high:1}"
    adaptive = "_target_:ipads_stream.distributions.Adaptive"
    amplitude = f"system.amplitude={{{adaptive},distribution:{uniform},edges:[0.2,0.5]}}"
    words = [*small, amplitude, "stream.adapt_every=3", "stream.depth=1", "device=cpu"]
    for name, kept in (("all", 16), ("few", 3)):
        monkeypatch.setattr(adaptation, "KEPT", kept)
        assert main(["train", *words, f"output={tmp_path / name}"]) == 0
    pair = [replayed(tmp_path / name, 50)["params/amplitude"] for name in ("all", "few")]
    assert np.array_equal(*pair)
    (tmp_path / "few" / "shares.jsonl").unlink()
    assert np.array_equal(
        replayed(tmp_path / "few", 190)["params/amplitude"],
        replayed(tmp_path / "all", 190)["params/amplitude"],
    )
    assert main(["replay", f"run={tmp_path / 'few'}", "index=50"]) == 2
    assert "without a whole shares.jsonl" in capsys.readouterr().err


def test_failures_of_a_run_of_tasks(tmp_path, small):
    """Their record holds the digest of the configuration of the tasks, not of the system."""
    output = tmp_path / "run"
    run_of(output, small, "trainer=meta", "trainer.task_size=4", "trainer.support=1")
    tasks = Episodes(system=load_system("dlnmr", ["points=32"]), samples=4,
                  shared=("rate", "snr", "decay"))  # fmt: skip
    stream = Stream(tasks, seed=0, device="cpu", threads=0)
    record = {"index": 6, "split": "train", "seed": 0, "policy": "mask", "step": 0,
              "config_hash": stream.config_hash}  # fmt: skip
    log = tmp_path / "failures.jsonl"
    log.write_text(json.dumps(record) + "\n")
    assert main(["replay", f"run={output}", f"log={log}"]) == 0
    with np.load(output / "replay" / "train-6.npz") as file:
        assert np.array_equal(file["inputs/fid"], stream.sample([6]).inputs["fid"][0].numpy())
