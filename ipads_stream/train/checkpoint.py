"""Checkpoints: one file that training goes on from and that a network is loaded from.

A Lightning checkpoint with one more key, ``ipads_stream``: the configuration, the state of the
stream and the version. Files are read with PyTorch's restricted unpickler: a checkpoint from
somewhere else cannot run code.
"""

from __future__ import annotations

import pickle
import warnings
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
    """``config``, ``stream``, ``version`` and the network's ``weights`` of a checkpoint.

    Raises:
        ConfigError: the file is missing, or was not written by training with this package.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError("checkpoint", str(path), "a file written by `ipads-stream train`")
    try:
        with warnings.catch_warnings():  # on a foreign file torch warns before it refuses
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        extra = content[EXTRA]
        return {
            **extra,
            "steps": content["global_step"],
            "weights": {
                name.removeprefix("net."): tensor
                for name, tensor in content["state_dict"].items()
                if name.startswith("net.")
            },
        }
    except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            "checkpoint", str(path), f"a file written by `ipads-stream train` ({reason})"
        ) from error
