"""What the trials share: a small study and a small training, and what must be equal afterwards."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from ipads_stream.config import compose
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.study import Study, Task
from ipads_stream.shift.task import is_finished, read_scores, run_task
from ipads_stream.train.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]
STEPS = 600
STUDY = ["shift=tiny", f"shift.steps={STEPS}", "shift.seeds=[0]", "logger=none",
         "+vary.trainer.save_every=0.2"]  # fmt: skip
TRAINING = [
    "device=cpu", "logger=none", "trainer.bar=false", "trainer.max_steps=400",
    "trainer.val_every=100", "trainer.val_samples=8", "trainer.save_every=0.3",
    "system.points=32", "stream.batch_size=8", "net.phases=2", "net.growth=4", "net.memory=2",
]  # fmt: skip


def wait_for(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    """Returns once something holds; AssertionError where it never does."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of each line of a log, as far as it is written."""
    log = folder / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    found = [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]
    return [(row["step"], row["loss"]) for row in found if "loss" in row]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of the network that a run has left."""
    found: dict[str, torch.Tensor] = read_checkpoint(folder / "run.ckpt")["weights"]
    return found


def study(output: Path) -> Study:
    """The study, with its results in a folder."""
    return read_study(compose([*STUDY, f"output={output}"], name="shift") | {"trusted": []})


def assert_as_here(there: Study, tasks: Sequence[Task], output: Path) -> None:
    """That tasks done elsewhere have left what they leave in this process, bit by bit."""
    here = study(output)
    for task in tasks:
        run_task(here, task)
        assert is_finished(there, task)
        one, two = (weights(each.folder(task)) for each in (there, here))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in two)
        for variant, test in here.asked(task):
            found, expected = (
                read_scores(each.scores_file(task, variant, test)) for each in (there, here)
            )
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                assert np.array_equal(found[name], values, equal_nan=True)
