"""A SLURM of this test session, where its programs are installed."""

from __future__ import annotations

import getpass
import os
import shutil
import socket

import pytest
from slurm_here import CONFIG, NODE, NODES, PROGRAMS, Cluster, end
from trials import free_ports, wait_for


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no SLURM here: {', '.join(missing)} (Debian: slurm-wlm, munge)")
    folder = tmp_path_factory.mktemp("slurm")
    user, host = getpass.getuser(), socket.gethostname().partition(".")[0]
    ports = free_ports(1 + len(NODES))
    (folder / "slurm.conf").write_text(
        CONFIG.format(folder=folder, host=host, user=user, ports=ports)
        + "".join(
            NODE.format(name=name, host=host, port=port)
            for name, port in zip(NODES, ports[1:], strict=True)
        )
    )
    for number in range(4):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={folder}/gpu[0-3]\n")
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    there = Cluster(folder)
    files = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    daemons = [("munged", "--force", f"--key-file={folder}/key",
                f"--socket={folder}/munge.socket", *files)]  # fmt: skip
    daemons += [("slurmctld",), *(("slurmd", "-N", name) for name in NODES)]
    try:
        for daemon in daemons:
            there.run(*daemon)
        wait_for(lambda: there.run("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 2)
        yield there
        there.run("scancel", f"--user={user}")
    finally:
        for path in sorted(folder.glob("*.pid"), key=lambda path: path.stem == "munged.pid"):
            end(path)
