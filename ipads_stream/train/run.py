"""One training run, from a composed configuration to a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.checkpoint import read_checkpoint
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
    """

    config: dict[str, Any]
    system: System
    trainer: Supervised
    build_net: Callable[[], torch.nn.Module]
    build_loss: Callable[[], torch.nn.Module]


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
    if resume is not None:
        _check_resume(resume, config)
    common = {
        key: config["stream"][key] for key in ("batch_size", "threads", "depth", "on_nonfinite")
    }
    stream = Stream(
        system,
        seed=config["seed"],
        split="train",
        device=config["device"],
        echo=config["stream"]["echo"],
        **common,
    )
    validation = Stream(
        system, seed=config["seed"], split="validation", device=config["device"], **common
    )
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


def _folder(config: dict[str, Any], name: str) -> Path:
    if config["output"] is not None:
        output = Path(config["output"])
    elif config["resume"] is not None:
        output = Path(config["resume"]).parent
    else:
        output = Path("runs") / time.strftime(f"{name}-%Y%m%d-%H%M%S")
    if not is_first_process():
        return output  # of several processes, the first looks after the folder
    holds_a_run = (output / "run.ckpt").exists() or (output / "metrics.jsonl").exists()
    goes_on = config["resume"] is not None and output == Path(config["resume"]).parent
    if holds_a_run and not goes_on:
        allowed = f"a folder without a run; to go on: resume={output / 'run.ckpt'}"
        raise ConfigError("output", str(output), allowed)
    return output


def _check_resume(path: str, config: dict[str, Any]) -> None:
    """What decides the numbers must be as it was; the budget may grow."""
    before = read_checkpoint(path)["config"]
    for key in ("seed", "net", "loss"):
        if before[key] != config[key]:
            raise ConfigError(key, config[key], f"{before[key]!r}, as in {path}")
