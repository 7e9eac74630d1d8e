"""Checkpoints: Lightning's, with the configuration, the state of the stream and the version under
one more key. PyTorch's restricted unpickler reads them: a foreign checkpoint cannot run code."""

import logging
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from ipads_stream import __version__, zoo
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import bounded, replacing, to_disk

EXTRA = "ipads_stream"
UNREADABLE = (AttributeError, EOFError, LookupError, NotImplementedError, OSError, OverflowError,
              RuntimeError, TypeError, ValueError, pickle.UnpicklingError,
              zipfile.BadZipFile)  # fmt: skip


class DivergedError(RuntimeError):
    """Weights are no numbers any more."""


def save(trainer: Trainer, path: Path) -> None:
    """Writes a checkpoint that replaces an older one only when it is complete.

    The rows of the steps before are on the disk when it is.

    Raises:
        DivergedError: a weight is not finite; the older checkpoint stays.
    """
    names = nonfinite(trainer.lightning_module.state_dict())
    if names:
        kept = f"{path} is that of an earlier step" if path.is_file() else "there is no checkpoint"
        raise DivergedError(
            f"training diverged by step {trainer.global_step}: {len(names)} weights are not finite "
            f"({names[0]}{', ...' if len(names) > 1 else ''}); {kept}. A lower "
            "trainer.learning_rate or trainer.clip may help"
        )
    if trainer.is_global_zero:
        for log in path.parent.glob("*.jsonl"):
            to_disk(log)
    with replacing(path) if trainer.is_global_zero else nullcontext(path) as partial:
        trainer.save_checkpoint(partial, weights_only=False)


def nonfinite(weights: Mapping[str, Any]) -> list[str]:
    """Names of tensors that hold a number that is not finite."""
    tensors = [(name, value) for name, value in weights.items() if isinstance(value, torch.Tensor)]
    return [name for name, value in tensors if not torch.isfinite(value).all()]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds: ``config``, ``stream``, ``version`` and ``weights`` of the network,
    ``steps`` and ``elapsed`` seconds of training.

    ``zoo:NAME`` is a network of the package.

    Raises:
        ConfigError: the file is missing, or was not written by training with this package.
    """
    path = zoo.located(path)
    allowed = "a file written by `ipads-stream train`"
    if not path.is_file():
        raise ConfigError("checkpoint", str(path), f"{allowed}, or one of {zoo.listed()}")
    try:
        with zipfile.ZipFile(path) as archive:
            # Training stores without compressing: what unpacks to more than the file is no weights.
            if any(x.compress_type or x.file_size > x.compress_size for x in archive.infolist()):
                raise ValueError("compressed")
            if archive.testzip() is not None:
                raise ConfigError("checkpoint", str(path), "a file that is whole (it is damaged)")
        with warnings.catch_warnings():  # on a foreign file torch warns before it refuses
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        extra, timer = content[EXTRA], content.get("callbacks", {}).get("Timer", {})
        bounded([extra["config"], extra["stream"]])
        _check_version(extra["version"])
        checkpoint: dict[str, Any] = {
            "config": dict(extra["config"]),
            "stream": dict(extra["stream"]),
            "version": str(extra["version"]),
            "steps": int(content["global_step"]),
            "elapsed": float(timer.get("time_elapsed", {}).get("train", 0.0)),
            "weights": {
                name.removeprefix("net."): tensor
                for name, tensor in content["state_dict"].items()
                if name.startswith("net.")
            },
        }
        for name, tensor in checkpoint["weights"].items():
            check_weight(name, tensor)
        if names := nonfinite(checkpoint["weights"]):
            allowed = f"weights that are finite ({names[0]} is not: training diverged)"
            raise ConfigError("checkpoint", str(path), allowed)
        words = checkpoint["config"]["overrides"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TypeError("overrides that are not text")
        for part in ("system", "net", "loss", "trainer", "stream"):
            if not isinstance(checkpoint["config"][part], dict):
                raise TypeError(f"{part} without keys")
        if checkpoint["steps"] < 0 or not 0 <= checkpoint["elapsed"] < math.inf:
            raise ValueError("negative steps or time")
        return checkpoint | {"config": renewed(checkpoint["config"])}
    except ConfigError:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", str(path), f"{allowed} ({reason})") from error


def _check_version(version: Any) -> None:
    numbers = [
        re.findall(r"\d+", str(each).partition("+")[0])[:3] for each in (version, __version__)
    ]
    theirs, ours = (tuple(map(int, each)) for each in numbers)
    if not theirs or theirs > ours:
        raise ValueError(f"version {version}, this is {__version__}: install the newer one")


def check_weight(name: str, tensor: Any) -> None:
    """A weight is a dense tensor that its file holds in full."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
        raise TypeError(f"{name} is no dense tensor")
    is_here = tensor.device.type == "cpu" and not tensor.is_quantized
    if not is_here or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is larger than what the file holds of it")


def fill(net: torch.nn.Module, weights: dict[str, Any], path: str | Path) -> None:
    """Gives a network the weights of a checkpoint; ConfigError where they do not fit."""
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", str(path), f"weights that fit net ({reason})") from error


def renewed(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of an earlier version under today's names: stream.echo is stream.repeat, and
    trainer=transfer has the measured data as trainer.data, too."""
    stream, trainer = config.get("stream"), config.get("trainer")
    if isinstance(trainer, dict) and str(trainer.get("_target_")).endswith(".transfer.Transfer"):
        config = config | {"trainer": {"data": config.get("data"), **trainer}}
    if isinstance(stream, dict) and "echo" in stream:
        if stream["echo"] != 1:
            log = logging.getLogger(__name__)
            log.warning("stream.echo=%s is now stream.repeat", stream["echo"])
        stream = {"repeat" if key == "echo" else key: value for key, value in stream.items()}
        words = [re.sub(r"^stream\.echo=", "stream.repeat=", word) for word in config["overrides"]]
        config = config | {"stream": stream, "overrides": words}
    return config
