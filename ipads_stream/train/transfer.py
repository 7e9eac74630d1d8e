"""Transfer: a network trained on the stream goes on with a few real samples.

Sources: Dar et al., Magn Reson Med 84:663 (2020), for fine-tuning on few samples; Howard and Ruder,
ACL 2018, for learning rates that fall with the depth of a layer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.stream.mixing import Mixed, Shuffled
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.best import Best
from ipads_stream.train.checkpoint import read_checkpoint, save
from ipads_stream.train.measured_rows import MeasuredRows, usable_rows
from ipads_stream.train.named import matching
from ipads_stream.train.supervised import (
    Held,
    MakeStream,
    Rows,
    Streams,
    Supervised,
    check_numbers,
)
from ipads_stream.train.training import Training


@dataclass(frozen=True, kw_only=True)
class Transfer(Supervised):
    """Fine-tuning on ``samples`` real samples, as :class:`Supervised` in all else.

    Real samples are rows of measured, fully sampled ``data``, undersampled anew each time; or,
    without data, samples of the system as ``target`` changes it. Of the rows that hold a signal,
    validation takes a stretch of neighbours, which hold the same lines, and training the first of
    the others in a keyed order: more samples hold the fewer.

    The run starts from the weights of ``checkpoint`` (null: from random ones). It leaves
    ``best.ckpt``, the weights with the lowest held-out loss, those of the start included, beside
    ``run.ckpt``, which it goes on from.

    Attributes:
        samples: real samples to train on; 0: the start is validated, and that is all.
        real_share: of each batch, exactly; the rest is synthetic, of the system as configured.
        target: fields of the system that the real samples have otherwise; with data, ``rate`` and
            ``schedule`` are what matters.
        fresh: names of the draws that are new each time a real sample is used.
        freeze: patterns of the names of parameters that stay as they are.
        layer_decay: learning rate of a layer over that of the next: 1 for the same in all.
        patience: validations without a lower loss after which the run stops; 0: never.
        val_samples: held-out real samples.
    """

    samples: int = 20
    real_share: float = 1.0
    target: dict[str, Any] | None = None
    fresh: tuple[str, ...] = ("rate", "mask")
    freeze: tuple[str, ...] = ()
    layer_decay: float = 1.0
    patience: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(
            self,
            {
                "samples": ("whole number", 0, 1e9),
                "real_share": ("number", 0, 1),
                "layer_decay": ("number", 1e-3, 1),
                "patience": ("whole number", 0, 1e9),
            },
        )
        if self.real_share == 0:
            raise ConfigError("real_share", self.real_share, "above 0; without: trainer=supervised")
        if self.samples == 0 and self.val_every == 0:
            raise ConfigError("samples", 0, "at least 1 where val_every=0: nothing is left to do")
        if self.target is not None and not isinstance(self.target, dict):
            raise ConfigError("target", self.target, "fields of the system, or null")
        for name in ("fresh", "freeze"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(name, getattr(self, name), "a list of names")
            object.__setattr__(self, name, tuple(getattr(self, name)))

    # Samples

    def streams(self, system: System, make: MakeStream, rows: Rows | None) -> Streams:
        plain = make(system, "train", None)
        if self.val_samples % self.devices:
            allowed = f"a multiple of trainer.devices={self.devices}"
            raise ConfigError("trainer.val_samples", self.val_samples, allowed)
        train, held = self.real(system, plain.seed, rows)
        validation = make(held, "validation", self.val_samples)
        if self.samples == 0:
            return plain, validation
        size, count = plain.batch_size, round(self.real_share * plain.batch_size)
        if abs(count - self.real_share * size) > 1e-9 * size or count == 0:
            near = max(1, min(count, size)) / size
            allowed = f"a whole number of the {size} samples of a batch, such as {near:g}"
            raise ConfigError("trainer.real_share", self.real_share, allowed)
        points = getattr(system, "points", None)
        if rows is not None and count < size and points != rows.shape[1]:
            allowed = f"{rows.shape[1]}, as the signals of data have, to be in one batch with them"
            raise ConfigError("system.points", points, allowed)
        try:
            few = Shuffled(system=train, num_samples=self.samples, fresh=self.fresh)
        except ConfigError as error:
            raise error.under("trainer") from None
        real = cast(System, few)
        mixed = Mixed(synthetic=system, real=real, count=count, batch_size=size)
        return make(cast(System, mixed), "train", None), validation

    def real(self, system: System, seed: int, rows: Rows | None) -> tuple[System, System]:
        """Where real samples to train on, and held-out ones, come from."""
        shifted = shifted_system(system, self.target or {})
        if rows is None:
            if not self.target:
                allowed = "fields of the system that differ in the real samples, or data=..."
                raise ConfigError("trainer.target", self.target, allowed)
            return shifted, shifted  # their splits tell them apart
        for field in ("rate", "schedule"):
            if not hasattr(shifted, field):
                allowed = f"a system with rate and schedule; {system.name} has no {field}"
                raise ConfigError("system", system.name, allowed)
        rows = usable_rows(rows)
        if self.samples + self.val_samples > len(rows):
            most = len(rows) - self.val_samples
            allowed = f"at most {most} (data have {len(rows)} rows, val_samples={self.val_samples})"
            if most < 0:
                allowed = f"fewer held out: data have {len(rows)} rows that hold a signal"
                raise ConfigError("trainer.val_samples", self.val_samples, allowed)
            raise ConfigError("trainer.samples", self.samples, allowed)
        parts = _divided(seed, len(rows), self.val_samples)
        parts = parts[0][: max(self.samples, 1)], parts[1]
        rate, schedule = (getattr(shifted, field) for field in ("rate", "schedule"))
        train, held = (
            MeasuredRows(signals=rows[part], rate=rate, schedule=schedule) for part in parts
        )
        return cast(System, train), cast(System, held)

    # Network

    def module(
        self,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        rate: Callable[[int], float],
    ) -> Training:
        frozen = matching(dict(net.named_parameters()), self.freeze, key="trainer.freeze")
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name not in frozen)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise ConfigError("trainer.freeze", self.freeze, "patterns that leave some parameters")
        if config["resume"] is None and config.get("checkpoint") is not None:
            load_weights(net, config)
        return super().module(net, loss, stream, config, rate)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        layers = layers_of(net)
        found = []
        for depth, names in enumerate(reversed(layers)):
            own = dict(net.named_parameters())
            trained = [own[name] for name in names if own[name].requires_grad]
            if trained:
                found.append({"params": trained, "scale": self.layer_decay**depth})
        return found

    # Loop

    def callbacks(self, output: Path) -> list[Callback]:
        if self.val_every == 0:
            return []
        return [Best(output / "best.ckpt", every=self.val_every, patience=self.patience)]

    def run(
        self, trainer: Trainer, module: Training, held: Held, resume: str | Path | None
    ) -> None:
        if resume is None and self.val_every:
            trainer.validate(module, held, verbose=False)
        if self.samples == 0:
            save(trainer, Path(trainer.default_root_dir) / "run.ckpt")
            return
        super().run(trainer, module, held, resume)


def _divided(seed: int, rows: int, held: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on, in a keyed order, and of a stretch that is held out."""
    keys = Keys(seed, "real", np.zeros(1, dtype=np.uint64))
    start = int(random.integers(keys["stretch"], 0, rows - 1)[0])
    stretch = (start + np.arange(held)) % rows
    order = random.permutation(keys["order"], rows)[0]
    return order[~np.isin(order, stretch)], stretch


def shifted_system(system: System, target: dict[str, Any]) -> System:
    """The system with other values in some of its fields.

    Raises:
        ConfigError: a field that it does not have, a value that it refuses.
    """
    known = [field.name for field in dataclasses.fields(system)]  # type: ignore[arg-type]
    for name, value in target.items():
        if name not in known:
            allowed = f"no such field; {system.name} has {', '.join(known)}"
            raise ConfigError(f"trainer.target.{name}", value, allowed)
    try:
        return dataclasses.replace(system, **target)  # type: ignore[type-var]
    except ConfigError as error:
        raise error.under("trainer.target") from None


def load_weights(net: torch.nn.Module, config: dict[str, Any]) -> None:
    """Gives the network the weights of ``checkpoint``.

    Raises:
        ConfigError: the checkpoint holds another network; the key that differs is named.
    """
    path = config["checkpoint"]
    before = read_checkpoint(path)
    was, now = before["config"].get("net"), config["net"]
    if isinstance(was, dict):
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                allowed = f"{was.get(key)!r}, as in the network of {path}"
                raise ConfigError(f"net.{key}", now.get(key), allowed)
    try:
        net.load_state_dict(before["weights"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", str(path), f"weights that fit net ({reason})") from error


def layers_of(net: torch.nn.Module) -> list[list[str]]:
    """Names of the parameters by layer, from input to output.

    A layer is what a name holds up to its first number ("blocks.3"), or to its first dot; layers
    stand in the order in which the network defines them.
    """
    layers: dict[str, list[str]] = {}
    for name, _ in net.named_parameters():
        numbered = re.match(r".*?\.\d+(?=\.|$)|[^.]+", name)
        layers.setdefault(numbered.group() if numbered else name, []).append(name)
    return list(layers.values())
