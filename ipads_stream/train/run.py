"""One training run, from a composed configuration to a folder."""

import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ipads_stream import zoo
from ipads_stream.core.description import flat
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import from_json, json_text, write_text
from ipads_stream.stream.estimate import check_threads
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train import tracker
from ipads_stream.train.callbacks import Announcement
from ipads_stream.train.estimate import check_run
from ipads_stream.train.supervised import Supervised
from ipads_stream.train.transfer import Transfer

CONFIG = "config.json"
STREAM = ("device", "batch_size", "threads", "depth", "repeat", "on_nonfinite", "adapt_every",
          "graphs")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What ``conf/train.yaml`` describes, built; modules are made once, with keyed random numbers.

    The configuration is kept in the run's folder and in its checkpoint; ``build`` makes loggers and
    callbacks.
    """

    config: dict[str, Any]
    system: System
    trainer: Supervised
    build_net: Callable[[], torch.nn.Module]
    build_loss: Callable[[], torch.nn.Module]
    build: tracker.Build


def train_run(run: Run) -> tuple[bool, Path]:
    """Trains as configured: whether the budget was used up, and the folder of the run; ConfigError
    of a folder that holds another run or that another process trains in, of a checkpoint or of
    requests that do not fit."""
    config, system = run.config, run.system
    output = _folder(config, system.name, run.trainer.processes)
    stream, validation = _streams(run)
    logger = tracker.build_logger(config["logger"], run.build, output)
    callbacks = tracker.build_callbacks(config.get("callbacks") or {}, run.build)
    if isinstance(logger, tracker.WandB):
        callbacks += logger.callbacks(output)
    with torch.random.fork_rng(devices=[]):  # weights follow the seed, the global state stays
        torch.manual_seed(config["seed"])
        net, loss = run.build_net(), run.build_loss()
        takes = check_run(run.trainer, (stream, validation), run.system, net, loss, config, output)
    callbacks.append(Announcement(takes))  # once nothing is refused any more
    open_loggers = partial(tracker.loggers, logger, config, output)
    with _begun(output, config):
        finished = run.trainer.fit(
            net=net, loss=loss, stream=stream, validation=validation, config=config, output=output,
            open_loggers=open_loggers, callbacks=callbacks, resume=config["resume"],
        )  # fmt: skip
    return finished, output


def systems_of_splits(run: Run) -> dict[str, System]:
    """What simulates the samples of each split of a run: the system, or episodes or mixtures of it;
    ConfigError where measured data of the run are missing."""
    here = {"device": "cpu", "stream": {**run.config["stream"], "device": None}}
    streams = _streams(replace(run, config={**run.config, **here}))
    return {stream.split: stream.system for stream in streams}


def _streams(run: Run) -> tuple[Stream, Stream]:
    config = run.config
    if config.get("data") is not None and not isinstance(run.trainer, Transfer):
        raise ConfigError("data", config["data"], "null; trainer=transfer trains on measured data")
    settings = stream_settings(config["stream"])
    own = settings.pop("device", None)

    def make(system: System, split: str, batch_size: int | None) -> Stream:
        changes = {} if split == "train" else {"repeat": 1}
        if batch_size is not None:
            changes["batch_size"] = batch_size
        try:
            seed, device = config["seed"], own or config["device"]
            stream = Stream(system, seed=seed, split=split, device=device, **(settings | changes))
            check_threads(stream)
            return stream
        except ConfigError as error:
            is_of_stream = error.key in settings or (own and error.key == "device")
            raise (error.under("stream") if is_of_stream else error) from None

    return run.trainer.streams(run.system, make)


def stream_settings(node: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the stream in the ``stream`` node; ConfigError of a key that it lacks."""
    for key, value in node.items():
        if key not in STREAM:
            keys = ", ".join(STREAM)
            known = "it is now stream.repeat" if key == "echo" else f"stream has {keys}"
            raise ConfigError(f"stream.{key}", value, f"no such key; {known}")
    return dict(node)


def restarted(output: str | None) -> str | None:
    """The checkpoint of a run that is started again by the same command; None: there is none."""
    if output in (None, "null"):
        raise ConfigError("resume", "auto", "given together with output=FOLDER")
    checkpoint = Path(output) / "run.ckpt"
    return str(checkpoint) if checkpoint.is_file() else None


def _folder(config: dict[str, Any], name: str, processes: int) -> Path:
    if config["output"] is not None:
        return Path(config["output"])
    if config["resume"] is not None:
        return Path(config["resume"]).parent
    if processes > 1:
        raise ConfigError("output", None, "a folder: each process would name one by its own clock")
    first = Path("runs") / time.strftime(f"{name}-%Y%m%d-%H%M%S")
    numbered = (first.with_name(f"{first.name}-{n}") for n in itertools.count(2))
    # Two runs may begin in one second.
    return next(path for path in itertools.chain([first], numbered) if not path.exists())


@contextmanager
def _begun(output: Path, config: dict[str, Any]) -> Iterator[None]:
    """Holds the folder of a run while it trains; of several processes, the first does.

    The system frees the lock however the process ends, so that a file that is left locks nothing.
    """
    if not tracker.is_first_process():
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(output / ".lock"), output / ".owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text(encoding="utf-8") if owner.is_file() else "another process"
        allowed = f"a folder in which nothing trains; {who} does in this one"
        raise ConfigError("output", str(output), allowed) from None
    try:
        write_text(owner, f"process {os.getpid()} on {platform.node()}")
        if config["resume"] is None or Path(config["resume"]).resolve().parent != output.resolve():
            _refuse_other_run(output, config)
        write_text(output / CONFIG, json_text(config, indent=1))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _refuse_other_run(output: Path, config: dict[str, Any]) -> None:
    """ConfigError of a folder that holds another run, or whose run has a checkpoint; the logs of
    the same run, killed before its first checkpoint, are deleted."""

    def refused(held: str) -> ConfigError:
        return ConfigError("output", str(output), f"a folder without a run; {held}")

    if (output / "run.ckpt").exists():
        raise refused(f"to go on: resume={output / 'run.ckpt'}")
    if (output / CONFIG).exists():
        try:
            before = from_json((output / CONFIG).read_bytes())
            if "system" not in before:
                raise ValueError("of no run")
            check_resume(before, from_json(json_text(config)), str(output))
        except ConfigError as error:
            raise refused(f"that of this one has {error}") from None
        except (AttributeError, TypeError, ValueError):
            raise refused(f"this one holds another {CONFIG}") from None
    elif (output / tracker.LOG).exists():
        raise refused(f"this one holds a log without {CONFIG}")
    for log in output.glob("*.jsonl"):
        log.unlink()


# Keys that may differ in a resumed run: they do not change what is computed.
FREE = (
    "output", "resume", "overrides", "trusted", "device", "logger", "callbacks", "stream.device",
    "stream.threads", "stream.depth", "stream.graphs", "trainer.max_steps", "trainer.max_samples",
    "trainer.max_time", "trainer.bar", "trainer.val_every", "trainer.val_samples",
    "trainer.save_every", "trainer.log_every", "trainer.devices", "trainer.num_threads",
)  # fmt: skip


def check_resume(before: dict[str, Any], config: dict[str, Any], path: str) -> None:
    """Raises ConfigError, by key, where what decides the numbers is not as in the checkpoint."""
    if zoo.is_named(path):
        allowed = "a run's: the zoo keeps weights alone; trainer=transfer starts from them"
        raise ConfigError("resume", path, allowed)
    was, now = flat(before), flat(config)
    for key in sorted(was.keys() | now.keys()):
        free = any(key == name or key.startswith(f"{name}.") for name in FREE)
        if not free and was.get(key) != now.get(key):
            raise ConfigError(key, now.get(key), f"{was.get(key)!r}, as in the run of {path}")
