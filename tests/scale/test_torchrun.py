"""Trainings under torchrun that lose a process or a node, and are started again by it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import torch
from forked_command import forking
from trials import ROOT, TRAINING, free_ports, losses, wait_for, weights

from ipads_stream.train.checkpoint import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Else a process that is started again may be given the address of one that is gone.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
WORDS = ["train", *TRAINING, "trainer.devices=null", "resume=auto"]
# torchrun waits for what a function returns, which sys.exit(0) would not let it do.
PROGRAM = """
import sys
from ipads_stream.__main__ import main
if code := main():
    sys.exit(code)
"""


class Agent:
    """torchrun as a process, and the ranks as its grandchildren, all forked after the imports."""

    def __init__(self, output: Path, *options: str) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        program = output.with_suffix(".py")
        program.write_text(PROGRAM)
        words = [*options, str(program), *WORDS, f"output={output}"]
        environment = os.environ | OWN_STORE | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        log = output.with_suffix(".txt")
        self.process = forking().Process(target=_torchrun, args=(words, environment, log))
        self.process.start()

    def wait(self, timeout: float) -> int | None:
        """Its exit code; None where it still runs."""
        self.process.join(timeout)
        return self.process.exitcode

    def ranks(self) -> list[int]:
        """Numbers of the processes that it has started to train."""
        servers = children(self.process.pid)
        return [rank for server in servers for rank in children(server)]

    def lose(self) -> None:
        """Kills torchrun and its workers, as where a node is lost."""
        if self.process.is_alive():
            for number in (self.process.pid, *children(self.process.pid), *self.ranks()):
                os.kill(number, signal.SIGKILL)
            self.process.join()


def _torchrun(words: list[str], environment: dict[str, str], log: Path) -> None:
    from torch.distributed.run import parse_args, run

    os.environ.update(environment)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    forking()
    run(parse_args(["--run-path", "--start-method=forkserver", *words]))


def listens(port: int) -> bool:
    """Whether something answers at a port of this machine."""
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0


def children(number: int) -> list[int]:
    """Processes that a process has started."""
    text = Path(f"/proc/{number}/task/{number}/children").read_text()
    return [int(child) for child in text.split()]


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
    process = Agent(output, "--standalone", "--nproc-per-node=2")
    assert process.wait(timeout=200) == 0, output.with_suffix(".txt").read_text()
    return output


def test_a_process_that_is_killed_is_started_again_and_nothing_changes(tmp_path, two):
    output = tmp_path / "run"
    process = Agent(output, "--standalone", "--nproc-per-node=2", "--max-restarts=1")
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
    first = Agent(output, *options)
    wait_for(lambda: listens(port))  # on the first node the others meet
    second = Agent(output, *options)
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
