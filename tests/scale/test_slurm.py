"""Studies and trainings under a real SLURM: told, killed, queued again, and the same numbers.

The machines of continuous integration have no SLURM: there these are skipped.
"""

from __future__ import annotations

import socket
import sys

import pytest
import torch
from trials import (
    ROOT,
    STEPS,
    STUDY,
    TRAINING,
    assert_as_here,
    free_ports,
    losses,
    study,
    wait_for,
    weights,
)  # fmt: skip

from ipads_stream.shift.study import Task
from ipads_stream.train.checkpoint import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_study_under_slurm_gives_the_numbers_of_a_local_one(cluster, tmp_path):
    """One job is told that its time is up, the other is killed and queued again."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    there = study(tmp_path / "there")
    told, killed = (Task(arm, 0) for arm in ("uniform", "log-uniform"))
    sweep = cluster.start(
        sys.executable, ROOT / "experiments" / "shift.py", "-m", "launcher=slurm", *STUDY,
        f"arm={told.arm},{killed.arm}", "seed=0", f"output={there.output}",
        f"hydra.sweep.dir={tmp_path / 'hydra'}",
    )  # fmt: skip
    try:
        wait_for(lambda: all(len(losses(there.folder(x))) > 20 for x in (told, killed)), 120)
        lines = cluster.run("squeue", "-h", "-r", "-o", "%K %i").splitlines()
        jobs = [job for _, job in sorted(line.split() for line in lines)]
        cluster.run("scancel", "--signal=USR2", jobs[0])  # as --signal=USR2@120 does
        wait_for(lambda: cluster.restarts(jobs[0]) == 1)
        assert 20 < read_checkpoint(there.folder(told) / "run.ckpt")["steps"] < STEPS
        cluster.run("scancel", "--signal=KILL", jobs[1])
        wait_for(lambda: cluster.state(jobs[1]) == "CANCELLED")
        cluster.run("scontrol", "requeue", jobs[1])
        text, _ = sweep.communicate(timeout=300)
        assert sweep.returncode == 0, text
        assert [cluster.restarts(job) for job in jobs] == [1, 1]
    finally:
        sweep.kill()
        sweep.wait()
    # What was told went on at the very next step.
    assert [step for step, _ in losses(there.folder(told))] == list(range(STEPS))
    assert_as_here(there, (told, killed), tmp_path / "here")


def test_a_training_on_two_nodes_saves_when_told_and_goes_on_exactly(cluster, tmp_path):
    here, there, log = tmp_path / "here", tmp_path / "there", tmp_path / "log.txt"
    options = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1"]
    job = cluster.submit("train.sbatch", log, *TRAINING, options=options, OUTPUT=str(there))
    wait_for(lambda: len(losses(there)) > 20, 120)
    cluster.run("scancel", "--signal=TERM", job)  # as --signal=TERM@120 does
    wait_for(lambda: cluster.restarts(job) == 1)
    assert 20 < read_checkpoint(there / "run.ckpt")["steps"] < 400
    assert cluster.finish(job) == "COMPLETED", log.read_text()
    assert [step for step, _ in losses(there)] == list(range(400))
    cluster.run(sys.executable, "-m", "ipads_stream", "train", *TRAINING, "trainer.devices=2",
                f"output={here}", timeout=200)  # fmt: skip
    assert losses(there) == losses(here)
    one, two = weights(there), weights(here)
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_training_under_torchrun_outlives_a_node(cluster, tmp_path):
    there, log, port = tmp_path / "there", tmp_path / "log.txt", str(free_ports(1)[0])
    options = ["--nodes=2", "--cpus-per-task=1", "--gpus-per-node=1"]
    job = cluster.submit("elastic.sbatch", log, *TRAINING, options=options, OUTPUT=str(there),
                         PORT=port, PROCESSES="1")  # fmt: skip
    wait_for(lambda: len(losses(there)) > 20 and (there / "run.ckpt").is_file(), 120)
    cluster.lose("n2", job)
    cluster.finish(job)
    assert {step for step, _ in losses(there)} == set(range(400)), log.read_text()
    assert read_checkpoint(there / "run.ckpt")["steps"] == 400


def test_a_study_on_a_ray_cluster_in_a_job_gives_the_numbers_of_a_local_one(cluster, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    there, task, log = study(tmp_path / "there"), Task("uniform", 0), tmp_path / "log.txt"
    options = ["--nodes=2", "--cpus-per-task=1", f"--chdir={ROOT}"]
    words = [*STUDY, f"arm={task.arm}", "seed=0", f"output={there.output}",
             f"hydra.sweep.dir={tmp_path / 'hydra'}"]  # fmt: skip
    job = cluster.submit("study_ray.sbatch", log, *words, options=options,
                         PORT=str(free_ports(1)[0]),
                         MASTER_ADDR=socket.gethostbyname(socket.gethostname()))  # fmt: skip
    assert cluster.finish(job) == "COMPLETED", log.read_text()
    assert_as_here(there, [task], tmp_path / "here")


def test_another_number_of_processes_than_srun_started_is_refused(cluster, tmp_path):
    words = ["srun", "-n1", "ipads-stream", "train", *TRAINING, "trainer.devices=2",
             f"output={tmp_path / 'run'}"]  # fmt: skip
    process = cluster.start(*words)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "trainer.devices=2: 1, as many as were started on each node, or null" in text
