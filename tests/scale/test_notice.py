"""A batch system's notice: training saves first, then what listens to the signal is told."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.train.callbacks import Interrupt
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.training import Training

SMALL = [
    "device=cpu", "logger=none", "trainer.bar=false", "trainer.max_steps=9", "trainer.val_every=0",
    "system.points=16", "stream.batch_size=8", "net.phases=1", "net.growth=2", "net.memory=1",
]  # fmt: skip


@pytest.fixture
def told_at_step_4(monkeypatch):
    """Sends a signal in the fourth step of training."""

    def send(number):
        before = Interrupt.on_train_batch_end

        def on_train_batch_end(callback, trainer, *rest):
            if trainer.global_step == 4:
                signal.raise_signal(number)
            before(callback, trainer, *rest)

        monkeypatch.setattr(Interrupt, "on_train_batch_end", on_train_batch_end)

    return send


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_what_listened_before_is_told_when_all_is_saved(tmp_path, told_at_step_4, number):
    heard = []

    def requeue(received, frame):
        heard.append((received, read_checkpoint(tmp_path / "run" / "run.ckpt")["steps"]))

    before = signal.signal(number, requeue)
    try:
        told_at_step_4(number)
        assert main(["train", *SMALL, f"output={tmp_path / 'run'}"]) == 130
        assert signal.getsignal(number) is requeue
    finally:
        signal.signal(number, before)
    assert heard == [(number, 4)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_where_nothing_listened_training_saves_and_ends(tmp_path, told_at_step_4, number):
    assert signal.getsignal(number) is signal.SIG_DFL
    told_at_step_4(number)
    assert main(["train", *SMALL, f"output={tmp_path / 'run'}"]) == 130
    assert read_checkpoint(tmp_path / "run" / "run.ckpt")["steps"] == 4
    assert signal.getsignal(number) is signal.SIG_DFL


def test_processes_that_would_go_on_from_different_steps_refuse(monkeypatch):
    stream = Stream(load_system("dlnmr", ["points=16"]), batch_size=8, device="cpu")
    training = Training.__new__(Training)
    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda step: 12), global_rank=1)
    monkeypatch.setattr(Training, "trainer", trainer)
    monkeypatch.setattr(Training, "global_rank", 1)
    monkeypatch.setattr(Training, "_check_restored", lambda training: None)
    object.__setattr__(training, "stream", stream)
    stream.step = 12
    training.on_train_start()
    stream.step = 10
    with pytest.raises(RuntimeError, match="process 1 goes on from a checkpoint at batch 10, the"):
        training.on_train_start()
