"""A study on a Ray cluster of two nodes, one of which dies: the same numbers as on this machine.

The machines of continuous integration have no Ray: there this is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from trials import ROOT, STUDY, assert_as_here, free_ports, losses, study, wait_for

from ipads_stream.shift.study import Task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def nodes(tmp_path):
    """Processes of a cluster of two nodes, each of one processor, and its environment."""
    if importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
        pytest.skip("no Ray here: pip install '.[ray]'")
    (port,) = free_ports(1)
    address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": address,
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    options = ["--num-cpus=1", "--object-store-memory=100000000", "--block"]
    folder = tempfile.TemporaryDirectory(prefix="ray")  # its sockets need a short path
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder.name}"]
    started, program = [], Path(sys.executable).with_name("ray")
    try:
        for words in (head, [f"--address={address}"]):
            line = [program, "start", *words, *options]
            process = subprocess.Popen(
                line, env=environment, cwd=tmp_path, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            )  # fmt: skip
            started.append(process)
            number = len(started)
            wait_for(lambda n=number: alive(environment) == n)
        yield started, environment
    finally:
        for process in started:
            kill(process)
        folder.cleanup()


def alive(environment) -> int:
    """Nodes of the cluster that live."""
    program = (
        "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    return int(done.stdout) if done.returncode == 0 else 0


def kill(process: subprocess.Popen) -> None:
    """Kills a node: `ray start --block` and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_study_outlives_a_node_and_gives_the_numbers_of_a_local_one(nodes, tmp_path):
    (_, second), environment = nodes
    there, log = study(tmp_path / "there"), tmp_path / "log.txt"
    tasks = [Task(arm, 0) for arm in ("uniform", "log-uniform")]
    with log.open("w") as file:
        sweep = subprocess.Popen(
            [sys.executable, str(ROOT / "experiments" / "shift.py"), "-m", "launcher=ray_cluster",
             *STUDY, "arm=uniform,log-uniform", "seed=0", f"output={there.output}",
             f"hydra.sweep.dir={tmp_path / 'hydra'}"],
            env=environment, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: all(len(losses(there.folder(task))) > 20 for task in tasks), 120)
        kill(second)
        assert sweep.wait(timeout=300) == 0, log.read_text()
    finally:
        sweep.kill()
        sweep.wait()
    assert "Task failed because the node it was running on is dead" in log.read_text()
    assert_as_here(there, tasks, tmp_path / "here")
