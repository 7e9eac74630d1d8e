"""Checkpoints: one file that training goes on from and that a network is loaded from.

A Lightning checkpoint with one more key, ``ipads_stream``: the configuration, the state of the
stream and the version. Files are read with PyTorch's restricted unpickler: a checkpoint from
somewhere else cannot run code.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import replacing

EXTRA = "ipads_stream"


def save(trainer: Trainer, path: Path) -> None:
    """Writes a checkpoint that replaces an older one only when it is complete."""
    with replacing(path) if trainer.is_global_zero else nullcontext(path) as partial:
        trainer.save_checkpoint(partial, weights_only=False)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds: ``config``, ``stream``, ``version`` and ``weights`` of the network,
    ``steps`` and ``elapsed`` seconds of training.

    Raises:
        ConfigError: the file is missing, or was not written by training with this package.
    """
    path = Path(path)
    wanted = "a file written by `ipads-stream train`"
    if not path.is_file():
        raise ConfigError("checkpoint", str(path), wanted)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ConfigError("checkpoint", str(path), "a file that is whole (it is damaged)")
        with warnings.catch_warnings():  # on a foreign file torch warns before it refuses
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        extra, timer = content[EXTRA], content.get("callbacks", {}).get("Timer", {})
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
        words = checkpoint["config"]["overrides"]
        if not all(isinstance(word, str) for word in words):
            raise TypeError("overrides that are not text")
        return checkpoint
    except ConfigError:
        raise
    except (
        AttributeError, EOFError, KeyError, RuntimeError, TypeError, ValueError,
        pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", str(path), f"{wanted} ({reason})") from error
