"""A run small enough to train in a second."""

from __future__ import annotations

import json

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
def command(tmp_path):
    """Runs the command line in a process of its own; used as a ``subprocess.Popen`` is."""
    return lambda *words: Command(words, tmp_path)
