"""A stream that is killed goes on exactly, on another number of processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ipads_stream import Stream, load_system

PROGRAM = """
import json, os, sys
from ipads_stream import Stream, load_system
system = load_system("dlnmr", ["points=32"])
stream = Stream(system, batch_size=16, threads=4, depth=16, device="cpu")
for batch in stream:
    with open(sys.argv[1] + ".partial", "w") as file:
        json.dump(stream.state_dict(), file)
    os.replace(sys.argv[1] + ".partial", sys.argv[1])
"""


def digest(*samples):
    sha = hashlib.sha256()
    for sample in samples:
        sha.update(sample.inputs["fid"].numpy().tobytes())
        sha.update(sample.targets["spectrum"].numpy().tobytes())
    return sha.hexdigest()


@pytest.mark.slow
def test_kill_with_prefetch_in_flight_and_resume_on_other_world_sizes(tmp_path):
    path = tmp_path / "state.json"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], env=dict(os.environ))
    until = time.monotonic() + 60
    while time.monotonic() < until and not (
        path.exists() and json.loads(path.read_text())["step"] > 50
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = json.loads(path.read_text())
    assert len(json.dumps(state)) < 4000
    system = load_system("dlnmr", ["points=32"])
    whole = Stream(system, batch_size=16, device="cpu")
    for world_size in (2, 1, 4):
        ranks = [
            Stream(system, batch_size=16, rank=rank, world_size=world_size, device="cpu")
            for rank in range(world_size)
        ]
        for rank in ranks:
            rank.load_state_dict(state)
        parts = [iter(rank) for rank in ranks]
        for step in range(state["step"], state["step"] + 3):
            pieces = [next(part) for part in parts]
            expected = whole.sample(range(16 * step, 16 * (step + 1)))
            rows = 16 // world_size
            for rank, piece in enumerate(pieces):
                share = whole.sample(range(16 * step + rank * rows, 16 * step + (rank + 1) * rows))
                assert digest(piece) == digest(share)
            together = b"".join(piece.inputs["fid"].numpy().tobytes() for piece in pieces)
            assert together == expected.inputs["fid"].numpy().tobytes()
        for part in parts:
            part.close()
        state = ranks[0].state_dict()  # on to the next number of processes
