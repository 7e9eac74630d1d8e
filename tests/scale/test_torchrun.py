"""Trainings under torchrun that lose a process or a node, and are started again by it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import torch
from forked_torchrun import TWO_RANKS, Torchrun
from trials import TRAINING, free_ports, losses, wait_for, weights

from ipads_stream.train.checkpoint import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORDS = ["train", *TRAINING, "trainer.devices=null", "resume=auto"]


def started(output: Path, *options: str) -> Torchrun:
    """The training under torchrun."""
    return Torchrun([*WORDS, f"output={output}"], output.with_suffix(".txt"), options)


def listens(port: int) -> bool:
    """Whether something answers at a port of this machine."""
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0


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
    process = started(output, *TWO_RANKS)
    assert process.wait(timeout=200) == 0, output.with_suffix(".txt").read_text()
    return output


def test_a_process_that_is_killed_is_started_again_and_nothing_changes(tmp_path, two):
    output = tmp_path / "run"
    process = started(output, *TWO_RANKS, "--max-restarts=1")
    try:
        wait_for(lambda: under_way(output), 120)
        os.kill(process.ranks()[-1], signal.SIGKILL)
        assert process.wait(timeout=200) == 0, output.with_suffix(".txt").read_text()
        assert "TORCH_DISABLE" not in output.with_suffix(".txt").read_text()
    finally:
        process.lose()
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
    first = started(output, *options)
    wait_for(lambda: listens(port))  # on the first node the others meet
    second = started(output, *options)
    try:
        wait_for(lambda: under_way(output), 120)
        before = losses(output)
        second.lose()
        assert first.wait(timeout=250) == 0, output.with_suffix(".txt").read_text()
    finally:
        for process in (first, second):
            process.lose()
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
