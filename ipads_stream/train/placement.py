"""Where the processes of a run are: how many on a node, on how many nodes, and who started them.

Lightning starts the processes of one node by itself. Those of several nodes are started by torchrun
or by SLURM's srun, each with its place in the environment; their number is then theirs to say.
"""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from ipads_stream.core.errors import ConfigError


class Placement(NamedTuple):
    """Processes on each node, nodes, and what started them (None: Lightning will)."""

    devices: int
    nodes: int
    launcher: ClusterEnvironment | None = None

    @property
    def processes(self) -> int:
        """On all nodes together."""
        return self.devices * self.nodes


def placement(devices: int | None) -> Placement:
    """Of the processes that were started, or else of ``devices`` that Lightning will start.

    Raises:
        ConfigError: SLURM was asked for tasks, but not for how many on each node.
    """
    return _started() or Placement(devices or 1, 1)


def _started() -> Placement | None:
    if TorchElasticEnvironment.detect():
        _warn_of_stale_addresses()
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // local
        return Placement(local, nodes, TorchElasticEnvironment())
    with warnings.catch_warnings():  # that there is an srun, which was not used
        warnings.simplefilter("ignore")
        if not SLURMEnvironment.detect():
            return None
    # A checkpoint that Lightning saves and goes on from by itself would lack the stream's state.
    try:
        slurm = SLURMEnvironment(auto_requeue=False)
    except RuntimeError:  # --ntasks alone does not say how many there are on each node
        tasks = os.environ["SLURM_NTASKS"]
        raise ConfigError("SLURM_NTASKS", tasks, "asked for as --ntasks-per-node") from None
    nodes = int(os.environ.get("SLURM_NNODES", 1))
    return Placement(slurm.world_size() // nodes, nodes, slurm)


def _warn_of_stale_addresses() -> None:
    # torchrun keeps one store through its restarts (pytorch issue 135712): a process that starts
    # again may find the address of one that is gone there, and the restart fails.
    shared = os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "0") != "1"
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
    if shared and restarts and os.environ["RANK"] == "0":
        warnings.warn(
            "torchrun may fail to start processes again: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
            stacklevel=1,  # one place, and so said once, whoever asks
        )
