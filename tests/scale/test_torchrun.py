"""Trainings under torchrun that lose a process or a node, and are started again by it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trials import ROOT, TRAINING, free_ports, losses, wait_for, weights

from ipads_stream.train.checkpoint import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Else a process that is started again may be given the address of one that is gone.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
WORDS = ["-m", "ipads_stream", "train", *TRAINING, "trainer.devices=null", "resume=auto"]


def agent(output: Path, *options: str) -> subprocess.Popen:
    """torchrun, which runs beside the test."""
    with output.with_suffix(".txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *options, *WORDS, f"output={output}"],
            env=os.environ | OWN_STORE | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def lose(process: subprocess.Popen) -> None:
    """Kills torchrun and its workers, as where a node is lost."""
    if process.poll() is None:
        for number in (process.pid, *workers(process)):
            os.kill(number, signal.SIGKILL)
        process.wait()


def listens(port: int) -> bool:
    """Whether something answers at a port of this machine."""
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0


def workers(process: subprocess.Popen) -> list[int]:
    """Processes that an agent has started."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def under_way(output: Path, since: int = 20) -> bool:
    """Whether there is a checkpoint, and steps were done after it."""
    if not (output / "run.ckpt").is_file():
        return False
    saved, done = read_checkpoint(output / "run.ckpt")["steps"], len(losses(output))
    return saved >= since and done > saved + 2


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The training in two processes that nothing disturbs."""
    output = tmp_path_factory.mktemp("two") / "run"
    process = agent(output, "--standalone", "--nproc-per-node=2")
    assert process.wait(timeout=200) == 0, output.with_suffix(".txt").read_text()
    return output


def test_a_process_that_is_killed_is_started_again_and_nothing_changes(tmp_path, two):
    output = tmp_path / "run"
    process = agent(output, "--standalone", "--nproc-per-node=2", "--max-restarts=1")
    try:
        wait_for(lambda: under_way(output), 120)
        os.kill(workers(process)[1], signal.SIGKILL)
        assert process.wait(timeout=200) == 0, output.with_suffix(".txt").read_text()
        assert "TORCH_DISABLE" not in output.with_suffix(".txt").read_text()
    finally:
        lose(process)
    found, expected = losses(output), losses(two)
    assert found == expected and len(found) == 400  # the log is cut to the checkpoint first
    one, whole = weights(output), weights(two)
    assert all(torch.equal(one[name], whole[name]) for name in whole)


def test_a_node_that_is_lost_leaves_the_others_with_the_same_samples(tmp_path, two):
    """From two processes to one: equal up to the order in which float32 gradients are added."""
    output = tmp_path / "run"
    (port,) = free_ports(1)
    options = ["--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-id=trial",
               "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-conf="
               "keep_alive_interval=2,keep_alive_max_attempt=3,last_call_timeout=20"]  # fmt: skip
    first = agent(output, *options)
    wait_for(lambda: listens(port))  # on the first node the others meet
    second = agent(output, *options)
    try:
        wait_for(lambda: under_way(output), 120)
        before = losses(output)
        lose(second)
        assert first.wait(timeout=250) == 0, output.with_suffix(".txt").read_text()
    finally:
        for process in (first, second):
            lose(process)
    found, expected = losses(output), dict(losses(two))
    assert [expected[step] for step, _ in before] == [loss for _, loss in before]
    assert {step for step, _ in found} == set(expected)
    # One process goes on from the checkpoint of two: the first loss of its own differs from theirs
    # by rounding, which later steps carry on.
    own = [(step, loss) for step, loss in found if loss != expected[step]]
    assert own[0][0] >= 20 and len(own) > 20
    assert own[0][1] == pytest.approx(expected[own[0][0]], rel=1e-4)
    assert dict(found)[399] == pytest.approx(expected[399], rel=0.2)
    state, whole = (read_checkpoint(x / "run.ckpt")["stream"] for x in (output, two))
    assert state == whole
