"""The verbs on an emulated GPU: train, resume, evaluate, preview, freeze, replay."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_model, load_system
from ipads_stream.__main__ import main
from ipads_stream.physics import bloch
from ipads_stream.train.checkpoint import read_checkpoint

SMALL = [
    "logger=none", "trainer.bar=false", "trainer.val_every=0", "trainer.val_samples=8",
    "trainer.max_time=null", "system.points=32", "stream.batch_size=8", "net.phases=2",
    "net.growth=4", "net.memory=2",
]  # fmt: skip


def trained(tmp_path, name, *words, steps=10, device="cuda"):
    output = tmp_path / name
    line = [*SMALL, f"device={device}", f"trainer.max_steps={steps}", *words, f"output={output}"]
    assert main(["train", *line]) == 0
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return output, np.array([row["loss"] for row in rows if "loss" in row])


@pytest.mark.slow
def test_a_run_is_that_of_the_cpu(gpu, tmp_path):
    _, device = trained(tmp_path, "cuda", "trainer.val_every=5")
    _, host = trained(tmp_path, "cpu", "trainer.val_every=5", device="cpu")
    np.testing.assert_allclose(device, host, rtol=1e-3)
    assert len(device) == 10
    _, numbered = trained(tmp_path, "second", "trainer.val_every=5", device="cuda:1")
    np.testing.assert_array_equal(numbered, device)


def test_steps_that_are_not_logged_do_not_wait(gpu, tmp_path):
    """Longer runs, logged once: what they add is the stream's two synchronisations a batch."""
    counted = []
    for steps in (8, 16):
        with gpu.of() as counts:
            words = (f"trainer.log_every={steps}", "stream.depth=1")
            trained(tmp_path, f"run{steps}", *words, steps=steps)
        counted.append(counts.synchronisations)
    added = counted[1] - counted[0]
    places = {place.partition(":")[0] for place in added}
    assert places <= {f"ipads_stream/stream/{name}.py" for name in ("failure", "device")}
    assert added.total() <= 2 * 8


def test_a_run_goes_on_as_if_it_had_not_stopped(gpu, tmp_path, monkeypatch):
    from ipads_stream.train.callbacks import Interrupt

    whole, losses = trained(tmp_path, "whole")
    original = Interrupt.on_train_batch_end

    def stopping(callback, trainer, *rest):
        if trainer.global_step >= 4:
            callback.requested = trainer.should_stop = True
        original(callback, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "on_train_batch_end", stopping)
        line = [*SMALL, "device=cuda", "trainer.max_steps=10", f"output={tmp_path / 'parts'}"]
        assert main(["train", *line]) == 130
    assert main(["train", f"resume={tmp_path / 'parts' / 'run.ckpt'}"]) == 0
    first, second = (read_checkpoint(tmp_path / name / "run.ckpt")["weights"]
                     for name in ("whole", "parts"))  # fmt: skip
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(losses) == 10 and whole.is_dir()


def test_a_model_answers_on_the_device(gpu, tmp_path):
    run, _ = trained(tmp_path, "run", steps=2)
    sample = Stream(load_system("dlnmr", ["points=32"]), device="cpu").sample(range(3))
    fid, mask = sample.inputs["fid"].numpy(), sample.inputs["mask"].numpy()
    device, host = (load_model(run / "run.ckpt", device=x)(fid, mask) for x in ("cuda", "cpu"))
    np.testing.assert_allclose(device, host, atol=1e-6)
    words = ["system=dlnmr", "system.points=32", "device=cuda", "num_samples=8"]
    assert main(["freeze", *words, f"path={tmp_path / 'set'}"]) == 0


@pytest.mark.slow
def test_what_else_users_call(gpu, tmp_path):
    run, _ = trained(tmp_path, "run", steps=2)
    system = ["system=dlnmr", "system.points=32", "device=cuda"]
    for words in (
        ["evaluate", f"checkpoint={run / 'run.ckpt'}", "device=cuda", "samples=4",
         f"output={tmp_path / 'evaluated'}"],
        ["preview", *system, "samples=4", f"output={tmp_path / 'preview'}"],
        ["bench", *system, "seconds=0.2", "batch_size=4"],
    ):  # fmt: skip
        assert main(words) == 0, words


def test_a_signal_is_differentiated_by_the_kernels(gpu):
    rng = np.random.default_rng(0)
    host = {
        "M": rng.normal(size=(5, 3)), "b1": 1e-6 * np.exp(1j * np.linspace(0, 2, 6)),
        "gradient": 1e-3 * rng.normal(size=(6, 3)), "dt": np.full(6, 1e-4),
        "df": rng.uniform(-20, 20, 5), "T1": rng.uniform(0.6, 1.5, 5),
        "T2": rng.uniform(0.04, 0.12, 5),
    }  # fmt: skip

    def slopes(device):
        given = {name: torch.tensor(x, device=device) for name, x in host.items()}
        leaves = {name: x.requires_grad_() for name, x in given.items() if name != "dt"}
        M = bloch.evolve(*(given[name] for name in ("M", "b1", "gradient", "dt")),
                         position=torch.zeros(5, 3, dtype=torch.float64, device=device),
                         **{name: given[name] for name in ("df", "T1", "T2")})  # fmt: skip
        assert M.is_cuda == (device == "cuda")
        return torch.autograd.grad((M * M.detach()).sum(), leaves.values())

    for device, expected in zip(slopes("cuda"), slopes("cpu"), strict=True):
        assert device.is_cuda
        size = float(expected.abs().max())
        assert float((device.cpu() - expected).abs().max()) <= 1e-5 * size
