"""Transfer: a network trained on the stream goes on with a few real samples.

Sources: Dar et al., Magn Reson Med 84:663 (2020), for fine-tuning on few samples; Howard and Ruder,
ACL 2018, for learning rates that fall with the depth of a layer.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, Names, number, ruled, whole
from ipads_stream.stream.mixing import Mixed, Shuffled
from ipads_stream.systems import System
from ipads_stream.train.adapting import matching
from ipads_stream.train.callbacks import Best
from ipads_stream.train.checkpoint import fill, read_checkpoint, save
from ipads_stream.train.lightning_data import StreamDataModule
from ipads_stream.train.measured_rows import RealSamples, SignalRows
from ipads_stream.train.supervised import MakeStream, Streams, Supervised
from ipads_stream.train.training import Training

DATA = Instance(of=(str, RealSamples), allowed="a name, a path or real samples", optional=True)
TARGET = Instance(of=Mapping, allowed="fields of the system", optional=True)


@dataclass(frozen=True, kw_only=True)
class Transfer(Supervised):
    """Fine-tuning on ``samples`` real samples, as :class:`Supervised` in all else.

    Real samples are those of measured ``data``; or, without data, samples of the system as
    ``target`` changes it. A larger set holds the smaller, and none of them is held out.

    The run starts from the weights of ``checkpoint`` (null: from random ones). It leaves
    ``best.ckpt``, the weights with the lowest held-out loss, those of the start included, beside
    ``run.ckpt``, which it goes on from.

    Attributes:
        samples: real samples to train on; 0: the start is validated, and that is all.
        real_share: of each batch, exactly; the rest is synthetic, of the system as configured.
        data: name or path of a fully sampled measured plane, whose rows are undersampled anew each
            time (measured_rows.py), or any ``RealSamples``; null: none.
        target: fields of the system that differ in the real samples; with data, ``rate`` and
            ``schedule`` are what matters.
        fresh: names of the draws that are new each time a real sample is used.
        freeze: patterns of the names of parameters that stay as they are.
        layer_decay: learning rate of a layer over that of the next: 1 for the same in all.
        patience: validations without a lower loss after which the run stops; 0: never.
        val_samples: held-out real samples.
    """

    samples: int = whole(20, low=0, high=1e9)
    real_share: float = number(1.0, low=0, high=1)
    data: str | RealSamples | None = None
    target: Mapping[str, Any] | None = None
    fresh: tuple[str, ...] = ruled(Names(), ("rate", "mask"))
    freeze: tuple[str, ...] = ruled(Names(), ())
    layer_decay: float = number(1.0, low=1e-3, high=1)
    patience: int = whole(5, low=0, high=1e9)

    def __post_init__(self) -> None:
        super().__post_init__()
        DATA("data", self.data)
        TARGET("target", self.target)
        if self.real_share == 0:
            raise ConfigError("real_share", self.real_share, "above 0; without: trainer=supervised")
        if self.samples == 0 and self.val_every == 0:
            raise ConfigError("samples", 0, "at least 1 where val_every=0: nothing is left to do")

    # Samples

    def streams(self, system: System, make: MakeStream) -> Streams:
        plain = make(system, "train", None)
        if self.val_samples % self.processes:
            allowed = f"a multiple of trainer.devices={self.processes}"
            raise ConfigError("trainer.val_samples", self.val_samples, allowed)
        train, held = self.real(system, plain.seed)
        validation = make(held, "validation", self.val_samples)
        if self.samples == 0:
            return plain, validation
        size, count = plain.batch_size, round(self.real_share * plain.batch_size)
        if abs(count - self.real_share * size) > 1e-9 * size or count == 0:
            near = max(1, min(count, size)) / size
            allowed = f"a whole number of the {size} samples of a batch, such as {near:g}"
            raise ConfigError("trainer.real_share", self.real_share, allowed)
        try:
            real = Shuffled(system=train, num_samples=self.samples, fresh=self.fresh)
        except ConfigError as error:
            raise error.under("trainer") from None
        mixed = Mixed(synthetic=system, real=cast(System, real), count=count, batch_size=size)
        return make(cast(System, mixed), "train", None), validation

    def real(self, system: System, seed: int) -> tuple[System, System]:
        """Where real samples to train on, and held-out ones, come from."""
        known = [field.name for field in dataclasses.fields(system)]  # type: ignore[arg-type]
        for name, value in (self.target or {}).items():
            if name not in known:
                allowed = f"no such field; {system.name} has {', '.join(known)}"
                raise ConfigError(f"trainer.target.{name}", value, allowed)
        try:
            shifted = dataclasses.replace(system, **(self.target or {}))  # type: ignore[type-var]
        except ConfigError as error:
            raise error.under("trainer.target") from None
        if self.data is None:
            if not self.target:
                allowed = "fields of the system that differ in the real samples, or data=..."
                raise ConfigError("trainer.target", self.target, allowed)
            return shifted, shifted  # their splits tell them apart
        source = SignalRows(self.data) if isinstance(self.data, str) else self.data
        counts = {"train": self.samples, "held": self.val_samples}
        is_mixed = self.samples > 0 and self.real_share < 1
        return source.parts(shifted, seed=seed, **counts, is_mixed=is_mixed)

    # Network

    def prepare(self, net: torch.nn.Module, config: dict[str, Any]) -> None:
        """Freezes parameters, and loads the weights that the run starts from."""
        frozen = matching(dict(net.named_parameters()), self.freeze, key="trainer.freeze")
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name not in frozen)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise ConfigError("trainer.freeze", self.freeze, "patterns that leave some parameters")
        if config["resume"] is None and config.get("checkpoint") is not None:
            load_weights(net, config)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        parameters, groups = dict(net.named_parameters()), []
        for depth, names in enumerate(reversed(layers_of(net))):
            trained = [parameters[name] for name in names if parameters[name].requires_grad]
            if trained:
                groups.append({"params": trained, "scale": self.layer_decay**depth})
        return groups

    # Loop

    def callbacks(self, output: Path) -> list[Callback]:
        if self.val_every == 0:
            return []
        return [Best(output / "best.ckpt", every=self.val_every, patience=self.patience)]

    def run(self, trainer: Trainer, module: Training, data: StreamDataModule, path: Any) -> None:
        if path is None and self.val_every:
            trainer.validate(module, datamodule=data, verbose=False)
        if self.samples == 0:
            save(trainer, Path(trainer.default_root_dir) / "run.ckpt")
            return
        super().run(trainer, module, data, path)


def load_weights(net: torch.nn.Module, config: dict[str, Any]) -> None:
    """Gives the network the weights of ``checkpoint``; ConfigError by the key that differs."""
    path = config["checkpoint"]
    before = read_checkpoint(path)
    was, now = before["config"].get("net"), config["net"]
    if isinstance(was, dict):
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                allowed = f"{was.get(key)!r}, as in the network of {path}"
                raise ConfigError(f"net.{key}", now.get(key), allowed)
    fill(net, before["weights"], path)


def layers_of(net: torch.nn.Module) -> list[list[str]]:
    """Names of the parameters by layer, in the order of the network.

    A layer is what a name holds up to its first number ("blocks.3"), or to its first dot.
    """
    layers: dict[str, list[str]] = {}
    for name, _ in net.named_parameters():
        numbered = re.match(r".*?\.\d+(?=\.|$)|[^.]+", name)
        layers.setdefault(numbered.group() if numbered else name, []).append(name)
    return list(layers.values())
