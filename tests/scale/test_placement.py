"""How many processes train, as torchrun and SLURM say it in the environment."""

from __future__ import annotations

import warnings

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from ipads_stream.core.errors import ConfigError
from ipads_stream.train.placement import placement
from ipads_stream.train.supervised import Supervised

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "run",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
}
RESTARTS = ("TORCHELASTIC_MAX_RESTARTS", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE")
SLURM = {
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "16",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "4",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
}


@pytest.fixture
def launched(monkeypatch):
    def environment(words):
        for name in (*TORCHRUN, *SLURM, *RESTARTS):
            monkeypatch.delenv(name, raising=False)
        for name, value in words.items():
            monkeypatch.setenv(name, value)

    return environment


@pytest.mark.parametrize(
    ("words", "devices", "found"),
    [
        ({}, None, (1, 1, 1)),
        ({}, 4, (4, 1, 4)),
        (TORCHRUN, None, (4, 2, 8)),
        (SLURM, 4, (4, 4, 16)),
        (SLURM | TORCHRUN, None, (4, 2, 8)),  # one torchrun per node, started by srun
        (SLURM | {"SLURM_JOB_NAME": "interactive"}, 2, (2, 1, 2)),  # a shell in an allocation
    ],
)
def test_processes_are_those_that_were_started(launched, words, devices, found):
    launched(words)
    place = placement(devices)
    assert (place.devices, place.nodes, place.processes) == found
    assert (place.launcher is None) == (words.get("SLURM_JOB_NAME") == "interactive" or not words)
    assert Supervised(max_steps=1, devices=devices).processes == found[2]


@pytest.mark.parametrize("words", [TORCHRUN, SLURM])
def test_lightning_takes_its_place_from_the_launcher(launched, words, tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # which the Trainer sets
    launched(words)
    place = placement(None)
    trainer = Trainer(
        accelerator="cpu", devices=place.devices, num_nodes=place.nodes, plugins=place.launcher,
        strategy="ddp", logger=False, enable_checkpointing=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    rank = int(words.get("RANK", words.get("SLURM_PROCID", 0)))
    assert (trainer.world_size, trainer.global_rank) == (place.processes, rank)
    assert trainer.local_rank == 1
    assert not getattr(place.launcher, "auto_requeue", False)


def test_another_number_than_was_started_is_refused(launched):
    launched(SLURM)
    from ipads_stream import Stream, load_system

    stream = Stream(load_system("dlnmr", ["points=16"]), batch_size=16, device="cpu")
    fit = Supervised(max_steps=1, devices=2).fit
    with pytest.raises(ConfigError, match=r"trainer\.devices=2: 4, as many as were started"):
        fit(net=None, loss=None, stream=stream, validation=stream, config={}, output=None,
            open_loggers=list)  # fmt: skip


def test_tasks_without_their_number_on_a_node_are_refused(launched):
    launched({name: value for name, value in SLURM.items() if name != "SLURM_NTASKS_PER_NODE"})
    with pytest.raises(ConfigError, match="SLURM_NTASKS='16': asked for as --ntasks-per-node"):
        placement(None)


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        ({}, False),  # no restarts
        ({"TORCHELASTIC_MAX_RESTARTS": "3"}, True),
        ({"TORCHELASTIC_MAX_RESTARTS": "3", "RANK": "1"}, False),  # once, not on every process
        ({"TORCHELASTIC_MAX_RESTARTS": "3", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}, False),
    ],
)
def test_a_store_that_keeps_addresses_through_restarts_is_warned_of(launched, words, warned):
    launched(TORCHRUN | {"RANK": "0"} | words)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        placement(None)
    assert ["SHARE_RDZV_TCP_STORE=1" in str(each.message) for each in caught] == [True] * warned
