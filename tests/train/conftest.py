"""A run small enough to train in a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from forked_command import Command

SMALL = [
    "logger=none",
    "trainer.bar=false",
    "trainer.max_steps=24",
    "trainer.val_every=0",
    "system.points=32",
    "stream.batch_size=8",
    "net.phases=2",
    "net.growth=4",
    "net.memory=2",
]


def read(path):
    """Step -> loss of a run's log; of a step trained twice, the later."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.fixture
def small():
    return list(SMALL)


@pytest.fixture
def losses():
    return read


@pytest.fixture
def launched():
    """Runs the command line under a launcher, whose ranks import the package one by one."""

    def run(*words, launcher=("-m",)):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
        line = [sys.executable, *launcher, "ipads_stream", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(line, env=environment, **pipes)

    return run


@pytest.fixture
def command(tmp_path):
    """Runs the command line in a process of its own; used as a ``subprocess.Popen`` is."""
    return lambda *words: Command(words, tmp_path)
