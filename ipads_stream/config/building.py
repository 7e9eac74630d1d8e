"""From a configuration as plain data to systems, networks and trainers.

A ``_target_`` may only name a class of this package or of one that the user trusts, an error names
the dotted key, and another ``_target_`` replaces an object instead of merging the keys of two
classes.
"""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipads_stream import zoo
from ipads_stream.config.composing import WRONG_VALUE, compose, suggestion
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance
from ipads_stream.core.trust import imported, packages
from ipads_stream.systems import System

# Where classes named in YAML may live; what else the package holds is not for YAML to build.
BUILDABLE = ("systems", "phantoms", "distributions", "sequences", "nets", "losses", "train")


def instantiate(node: Any, key: str = "", trusted: Sequence[str] = ()) -> Any:
    """Builds the object that a configuration node describes; what has no ``_target_`` stays data.

    Args:
        node: plain data from :func:`compose`.
        key: dotted name of the node, for errors.
        trusted: packages besides this one whose classes may be named.

    Raises:
        ConfigError: a class that may not be built, an unknown or missing key, a refused value.
    """
    if isinstance(node, (list, tuple)):
        return [instantiate(item, f"{key}[{i}]", trusted) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    values = {
        name: instantiate(value, f"{key}.{name}" if key else str(name), trusted)
        for name, value in node.items()
        if name != "_target_"
    }
    if "_target_" not in node:
        return values
    cls = _class(node["_target_"], f"{key}._target_" if key else "_target_", trusted)
    _check_keys(cls, values, key)
    try:
        return cls(**values)
    except ConfigError as error:
        raise (error.under(key) if key else error) from None
    except WRONG_VALUE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(key, node["_target_"], reason) from error


def _class(target: Any, key: str, trusted: Sequence[str]) -> type:
    """A class, or a function that returns a Sequence: nothing else may be called."""
    rooms = [f"ipads_stream.{package}" for package in BUILDABLE]
    allowed = f"a class in {', '.join(rooms)}, or in a package listed under trusted"
    cls = imported(target, key, (*rooms, *packages(trusted)), allowed)
    returned = str(getattr(cls, "__annotations__", {}).get("return"))
    makes_sequence = inspect.isfunction(cls) and re.search(r"\bSequence\b'?>?$", returned)
    if not (isinstance(cls, type) or makes_sequence):
        raise ConfigError(key, target, allowed)
    return cls


def _check_keys(cls: type, values: dict[str, Any], key: str) -> None:
    every = inspect.signature(cls).parameters
    parameters = {name: p for name, p in every.items()
                  if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}  # fmt: skip
    # A module of torch without an __init__ of its own takes (*args, **kwargs), and no key.
    takes_any = len(parameters) > 0 and any(p.kind is p.VAR_KEYWORD for p in every.values())
    prefix = f"{key}." if key else ""
    for name, value in values.items():
        if name not in parameters and not takes_any:
            listed = f"{cls.__name__} has {', '.join(parameters) or 'no keys'}"
            allowed = f"no such key; {listed}{suggestion(name, list(parameters))}"
            raise ConfigError(f"{prefix}{name}", value, allowed)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in values:
            raise ConfigError(f"{prefix}{name}", None, f"a value; {cls.__name__} needs one")


def load_system(
    name: str,
    overrides: Sequence[str] = (),
    *,
    conf: str | Path | None = None,
    trusted: Sequence[str] = (),
) -> System:
    """A published system, by the name of its YAML file.

    Args:
        name: e.g. "dlnmr".
        overrides: of the system's own keys, e.g. ``["rate=0.25", "points=128"]``.
        conf: a further folder of YAML files.
        trusted: packages besides this one whose classes may be built.

    Raises:
        ConfigError: no such system, or an override that is refused.
    """
    packages(trusted)
    lines = [re.sub(r"^(\+\+|\+|~|)", r"\1system.", line) for line in overrides]
    return build_system(compose([f"system={name}", *lines], conf=conf), trusted)


def build_system(config: dict[str, Any], trusted: Sequence[str] = ()) -> System:
    """The system of a composed configuration."""
    node = config.get("system")
    is_misplaced = "_target_" in config or (isinstance(node, dict) and "system" in node)
    if isinstance(node, dict) and "_target_" not in node and is_misplaced:
        allowed = "a file of conf/system with the keys of the system alone: no level system: "
        allowed += "above them, no first line # @package _global_"
        raise ConfigError("system", list(node), allowed)
    system = instantiate(node, "system", trusted)
    if not isinstance(system, System):
        raise ConfigError("system", node, "a system: name, draw and render")
    return system


def build_sequence(config: dict[str, Any], trusted: Sequence[str] = ()) -> Any:
    """The pulse sequence of a composed configuration, or None where it names none."""
    from ipads_stream import sequences
    from ipads_stream.sequences.pulseq_asked import asked_of_file

    node, path, told = config.get("sequence"), config.get("pulseq"), asked_of_file(config)
    if path is not None:
        if node is not None:
            raise ConfigError("pulseq", path, "a file, or sequence=NAME, but not both")
        try:
            return sequences.read_pulseq(path, **told)
        except ValueError as error:
            raise ConfigError("pulseq", path, str(error)) from error
    if node is None:
        return None
    sequence = instantiate(node, "sequence", trusted)
    if not isinstance(sequence, sequences.Sequence):
        raise ConfigError("sequence", node, "a sequence (a file of conf/sequence)")
    return sequence


def build_run(config: dict[str, Any]) -> Any:
    """The training run that a composed ``train`` configuration describes."""
    import torch

    from ipads_stream.core.files import free_memory
    from ipads_stream.nets.outputs import filled_outputs
    from ipads_stream.train.allowance import Allowance
    from ipads_stream.train.run import Run
    from ipads_stream.train.supervised import Supervised

    trusted = config["trusted"]
    for key in ("net", "loss", "trainer"):
        node = config.get(key)
        if not isinstance(node, dict) or "_target_" not in node:
            raise ConfigError(key, node, "a class under _target_ (the system names none)")
    for key in ("stream", "logger"):
        if not isinstance(config.get(key), dict):
            raise ConfigError(key, config.get(key), "its keys (see ipads-stream train --help)")
    system = build_system(config, trusted)
    config = config | {key: filled_outputs(config[key], system, key) for key in ("net", "loss")}

    def module(key: str) -> Any:
        return Instance(of=torch.nn.Module)(key, instantiate(config[key], key, trusted))

    def build_net() -> Any:
        # Training holds weights, gradients and two moments of them.
        most = {"num_bytes": free_memory() // 4, "num_tensors": 20_000}
        with Allowance(str(config["net"].get("_target_")), **most):
            return module("net")

    trainer = instantiate(config["trainer"], "trainer", trusted)
    return Run(
        config=config,
        system=system,
        trainer=Instance(of=Supervised)("trainer", trainer),
        build_net=build_net,
        build_loss=lambda: module("loss"),
        build=lambda node, key, packages: instantiate(node, key, (*trusted, *packages)),
    )


def load_model(path: str | Path, *, trusted: Sequence[str] = (), device: str = "cpu") -> Any:
    """A trained network, ready for somebody's data.

    Args:
        path: a checkpoint written by training, or ``zoo:NAME`` of the networks that are part of the
            package; NAME alone is enough where no file is called so.
        trusted: packages besides this one whose classes the checkpoint may name.
        device: to run on.

    Returns:
        What the task of the system makes of the network: of signals a function
        ``reconstruct(fid, mask)`` on NumPy arrays, complex (rows, points) and bool (points,) or
        (rows, points), that returns the reconstructed rows; of others a function
        ``estimate(inputs)`` of arrays by name, batch first, that returns estimates by name in SI.

    Raises:
        ConfigError: not a checkpoint of this package, or one that names a class not allowed.
    """
    import torch

    from ipads_stream.evaluation.familiar import Familiar
    from ipads_stream.evaluation.model import Model
    from ipads_stream.evaluation.tasks import task_of
    from ipads_stream.systems.base import NoiseLimited
    from ipads_stream.train.allowance import Allowance
    from ipads_stream.train.checkpoint import fill, read_checkpoint

    packages(trusted)
    if str(path) in zoo.names() and not Path(path).exists():
        path = f"{zoo.PREFIX}{path}"
    checkpoint = read_checkpoint(path)
    config = checkpoint["config"]
    held = sum(weight.nbytes for weight in checkpoint["weights"].values())
    most = {"num_bytes": 4 * held + 2**28, "num_tensors": 20 * len(checkpoint["weights"]) + 10_000}
    with Allowance(str(config["net"].get("_target_")), **most):
        net = Instance(of=torch.nn.Module)("net", instantiate(config["net"], "net", trusted))
    fill(net, checkpoint["weights"], path)
    system = build_system(config, trusted)
    task = task_of(system, trusted=trusted)
    targets, familiar = tuple(task.targets(system)), Familiar(system)
    limit = system.limit_snr if isinstance(system, NoiseLimited) else None
    model = Model(
        net, config=config, device=device, targets=targets, familiar=familiar, limit=limit,
        system=system,
    )  # fmt: skip
    return task.user_function(model)
