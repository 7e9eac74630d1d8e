"""A run small enough to train in a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

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
def command():
    """Runs the command line in a process of its own."""

    def run(*words, launcher=(), **options):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
        line = [sys.executable, *(launcher or ("-m",)), "ipads_stream", *words]
        return subprocess.Popen(
            line,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return run
