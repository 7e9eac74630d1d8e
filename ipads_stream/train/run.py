"""One training run, from a composed configuration to a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.supervised import Supervised
from ipads_stream.train.tracker import is_first_process

CONFIG = "config.json"


@dataclass(frozen=True)
class Run:
    """A configured run: what ``conf/train.yaml`` describes, built.

    Attributes:
        config: composed; kept in the run's folder and in its checkpoint.
        system: simulates the data.
        trainer: runs the loop.
        build_net, build_loss: make the modules; called once, with keyed random numbers.
        read_rows: data of the configuration -> fully sampled measured signals, complex (rows,
            points); called where ``data`` names any.
    """

    config: dict[str, Any]
    system: System
    trainer: Supervised
    build_net: Callable[[], torch.nn.Module]
    build_loss: Callable[[], torch.nn.Module]
    read_rows: Callable[[str], np.ndarray] | None = None


def train_run(run: Run) -> tuple[bool, Path]:
    """Trains as configured.

    Returns:
        Whether the budget was used up, and the folder of the run.

    Raises:
        ConfigError: a folder that holds another run, a checkpoint that does not fit.
    """
    config, system = run.config, run.system
    resume = config["resume"]
    output = _folder(config, system.name)
    stream, validation = _streams(run)
    with torch.random.fork_rng(devices=[]):  # weights follow the seed, the global state stays
        torch.manual_seed(config["seed"])
        net, loss = run.build_net(), run.build_loss()
    if is_first_process():
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / CONFIG, json.dumps(config, indent=1))
    finished = run.trainer.fit(
        net=net,
        loss=loss,
        stream=stream,
        validation=validation,
        config=config,
        output=output,
        resume=resume,
    )
    return finished, output


def systems_of_splits(run: Run) -> dict[str, System]:
    """What simulates the samples of each split of a run: not the system alone where the trainer
    makes tasks or mixtures of it.

    Raises:
        ConfigError: measured data of the run that are not to be had.
    """
    streams = _streams(replace(run, config={**run.config, "device": "cpu"}))
    return {stream.split: stream.system for stream in streams}


def _streams(run: Run) -> tuple[Stream, Stream]:
    config, data = run.config, run.config.get("data")
    rows = None
    if data is not None:
        if run.read_rows is None:
            raise ConfigError("data", data, "null: nothing reads measured signals here")
        rows = run.read_rows(data)

    def make(system: System, split: str, batch_size: int | None) -> Stream:
        settings = dict(config["stream"])
        if split != "train":
            settings["echo"] = 1
        if batch_size is not None:
            settings["batch_size"] = batch_size
        try:
            return Stream(
                system, seed=config["seed"], split=split, device=config["device"], **settings
            )
        except ConfigError as error:
            raise (error.under("stream") if error.key in settings else error) from None

    return run.trainer.streams(run.system, make, rows)


def _folder(config: dict[str, Any], name: str) -> Path:
    resumed = None if config["resume"] is None else Path(config["resume"]).resolve().parent
    if config["output"] is not None:
        output = Path(config["output"])
    elif resumed is not None:
        output = Path(config["resume"]).parent
    else:
        output = Path("runs") / time.strftime(f"{name}-%Y%m%d-%H%M%S")
    if not is_first_process() or output.resolve() == resumed:
        return output  # of several processes, the first looks after the folder
    if (output / "run.ckpt").exists():
        allowed = f"a folder without a run; to go on: resume={output / 'run.ckpt'}"
        raise ConfigError("output", str(output), allowed)
    if (output / "metrics.jsonl").exists():
        allowed = "a folder without a run; this one holds the log of a run without a checkpoint"
        raise ConfigError("output", str(output), allowed)
    return output


# Keys that a resumed run may have otherwise: they do not change what is computed.
FREE = (
    "output", "resume", "overrides", "trusted", "device", "logger", "stream.threads",
    "stream.depth", "trainer.max_steps", "trainer.max_samples", "trainer.max_time", "trainer.bar",
    "trainer.val_every", "trainer.val_samples", "trainer.save_every", "trainer.devices",
    "trainer.num_threads",
)  # fmt: skip


def check_resume(before: dict[str, Any], config: dict[str, Any], path: str) -> None:
    """What decides the numbers must be as it was when the checkpoint was written.

    Raises:
        ConfigError: names the key that differs, and what it was.
    """
    was, now = _flat(before), _flat(config)
    for key in sorted(was.keys() | now.keys()):
        free = any(key == name or key.startswith(f"{name}.") for name in FREE)
        if not free and was.get(key) != now.get(key):
            raise ConfigError(key, now.get(key), f"{was.get(key)!r}, as in the run of {path}")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
