"""SLURM on this machine: a controller and two nodes of four GPUs that are files, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trials import ROOT, wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
NODES = ("n1", "n2")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
JobRequeue=1
KillWait=20
GresTypes=gpu
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
NODE += "CPUs=64 RealMemory=64000 Gres=gpu:4 State=UNKNOWN\n"


class Cluster:
    """Runs SLURM's programs, and jobs with this checkout and this Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1",  # the nodes' names are SLURM's alone
        }

    def run(
        self, *words: object, timeout: float = 60, variables: Mapping[str, str] | None = None
    ) -> str:
        """What a program prints; its failure fails the test."""
        done = subprocess.run(
            [str(word) for word in words], env=self.environment | dict(variables or {}),
            cwd=self.folder, timeout=timeout,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(
        self, script: str, log: Path, *words: object, options: Sequence[str], **variables: str
    ) -> str:
        """The number of a job of a script of ``examples/cluster``."""
        path = ROOT / "examples" / "cluster" / script
        line = ["sbatch", "--parsable", f"--output={log}", *options, path, *words]
        return self.run(*line, variables=variables).strip()

    def start(self, *words: object) -> subprocess.Popen:
        """A program that goes on beside the test."""
        return subprocess.Popen(
            [str(word) for word in words], env=self.environment, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def restarts(self, job: str) -> int:
        """How often a job was queued again."""
        text = self.run("scontrol", "show", "job", job)
        return int(text.partition("Restarts=")[2].split()[0])

    def state(self, job: str) -> str:
        """State of a job."""
        text = self.run("scontrol", "show", "job", job)
        return text.partition("JobState=")[2].split()[0]

    def lose(self, node: str, job: str) -> None:
        """Kills at once whatever runs of a job on a node."""
        marks = {f"SLURMD_NODENAME={node}", f"SLURM_JOB_ID={job}"}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                if marks <= set(variables):
                    os.kill(int(folder.name), signal.SIGKILL)
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue  # ended meanwhile, or of others

    def finish(self, job: str, timeout: float = 180) -> str:
        """The state in which a job ends."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        wait_for(lambda: self.state(job) in ended, timeout)
        return self.state(job)


def end(path: Path) -> None:
    """Ends the daemon of a file of its process number."""
    text = path.read_text().strip()
    if text.isdigit():
        try:
            os.kill(int(text), signal.SIGTERM)
        except ProcessLookupError:
            return
