"""Which device trains and which generates: a GPU per process, or one of its own for the stream."""

from __future__ import annotations

import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.config import build_run, compose
from ipads_stream.core import backend
from ipads_stream.core.errors import ConfigError
from ipads_stream.stream.device import Device
from ipads_stream.train import run as training_run
from ipads_stream.train import supervised
from ipads_stream.train.supervised import Supervised

SMALL = [
    "logger=none", "trainer.bar=false", "trainer.max_steps=4", "trainer.val_every=0",
    "system.points=16", "stream.batch_size=8", "net.phases=1", "net.growth=2", "net.memory=1",
]  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:11"])
def test_devices_keep_their_names(device):
    assert backend.resolve_device(device) == device


@pytest.mark.parametrize("device", ["cuda:", "cuda:-1", "cuda:a", "gpu0", "cpu:1", 1])
def test_other_names_are_refused(device):
    with pytest.raises(ConfigError, match="auto, cpu, cuda or the number"):
        backend.resolve_device(device)


def test_cuda_is_the_gpu_of_the_process_and_a_number_is_that_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)  # as Lightning sets it for rank 3
    assert Device.of("cuda").index == 3
    assert Device.of("cuda:1").index == 1
    assert type(Device.of("cpu")) is Device


def test_a_batch_moves_to_the_device_that_trains():
    batch = Stream(load_system("dlnmr", ["points=16"]), device="cpu", threads=0).batch(0)
    moved = batch.to(torch.device("meta"), non_blocking=True)
    tensors = [*moved.inputs.values(), *moved.targets.values(), moved.weight]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.provenance is batch.provenance and moved.params is batch.params


@pytest.fixture
def built(monkeypatch):
    """Arguments of the Trainer and of the streams, on a machine that is said to have four GPUs."""

    def of(*words):
        found = {"streams": []}

        class Built(Exception):
            pass

        def trainer(**arguments):
            found.update(arguments)
            raise Built

        def stream(system, *, device, **others):
            found["streams"].append(device)
            return Stream(system, device="cpu", **others)

        monkeypatch.setattr(supervised, "Trainer", trainer)
        monkeypatch.setattr(training_run, "Stream", stream)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        config = compose([*SMALL, *words])
        with pytest.raises(Built):
            training_run.train_run(build_run(config | {"overrides": [], "trusted": []}))
        return found

    return of


@pytest.mark.parametrize(
    ("words", "accelerator", "devices", "strategy", "generates"),
    [
        (["device=cpu"], "cpu", 1, "auto", "cpu"),
        (["device=cuda"], "gpu", 1, "auto", "cuda"),
        (["device=cuda", "trainer.devices=4"], "gpu", 4, "ddp", "cuda"),
        (["device=cuda:2"], "gpu", [2], "auto", "cuda:2"),
        (["device=cuda:0", "stream.device=cuda:1"], "gpu", [0], "auto", "cuda:1"),
        (["device=cuda", "stream.device=cuda:3", "trainer.devices=2"], "gpu", 2, "ddp", "cuda:3"),
        (["device=cuda", "stream.device=cpu"], "gpu", 1, "auto", "cpu"),
    ],
)
def test_configuration_says_where_each_works(
    built, tmp_path, words, accelerator, devices, strategy, generates
):
    found = built(*words, f"output={tmp_path}")
    assert (found["accelerator"], found["devices"], found["strategy"]) == (
        accelerator, devices, strategy,
    )  # fmt: skip
    assert set(found["streams"]) == {generates}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["device=cuda:0", "trainer.devices=2"], "device='cuda:0': cuda: each of several"),
        (["stream.device=gpu"], "device='gpu': auto, cpu, cuda or the number"),
        (["device=cpu", "trainer.devices=2", "output=null"], "output=None: a folder"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, words, message):
    config = compose([*SMALL, f"output={tmp_path}", *words]) | {"overrides": [], "trusted": []}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if words[0].startswith("device=cuda"):
        monkeypatch.setattr(
            training_run,
            "Stream",
            lambda system, device, **others: Stream(system, device="cpu", **others),
        )
    with pytest.raises(ConfigError, match=message) as caught:
        training_run.train_run(build_run(config))
    assert str(caught.value).startswith("stream.device") == words[0].startswith("stream.device")


def test_a_gpu_that_torch_does_not_find_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    stream = Stream(load_system("dlnmr", ["points=16"]), batch_size=8, device="cpu")
    with pytest.raises(ConfigError, match="device='cuda': cpu or auto: torch finds no CUDA"):
        Supervised(max_steps=1).fit(
            net=torch.nn.Identity(), loss=torch.nn.Identity(), stream=stream, validation=stream,
            config={"device": "cuda"}, output=None, open_loggers=list,
        )  # fmt: skip


def test_where_batches_are_made_changes_nothing_and_may_change_on_resume(tmp_path, capsys):
    first, second = tmp_path / "a", tmp_path / "b"
    assert main(["train", *SMALL, f"output={first}", "device=cpu"]) == 0
    assert main(["train", *SMALL, f"output={second}", "device=cpu", "trainer.max_steps=2",
                 "stream.device=cpu"]) == 0  # fmt: skip
    words = [f"output={second}", "resume=auto", "stream.device=auto", "trainer.max_steps=4"]
    assert main(["train", *words]) == 0
    assert main(["train", *words]) == 0  # once more after its end
    rows = [(path / "metrics.jsonl").read_text().count('"loss"') for path in (first, second)]
    assert rows == [4, 4]


def test_the_same_command_starts_a_run_and_goes_on_with_it(tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", *SMALL, f"output={run}", "resume=auto", "device=cpu"]
    assert main([*words, "trainer.max_steps=2"]) == 0
    (run / "run.ckpt").unlink()  # killed before its first
    assert main([*words, "trainer.max_steps=2"]) == 0
    assert main(words) == 0
    text = (run / "metrics.jsonl").read_text()
    assert text.count('"loss"') == 4
    assert main(["train", *SMALL, "resume=auto"]) == 2
    assert "resume='auto': given together with output=FOLDER" in capsys.readouterr().err
