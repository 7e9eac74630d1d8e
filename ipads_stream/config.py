"""From YAML and overrides to systems, networks and trainers: the one place that knows Hydra.

Hydra composes; objects are built here and not by Hydra, for three reasons: a ``_target_`` may
only name a class of this package or of one that the user listed as trusted; an error names the
dotted key; and giving a value another ``_target_`` replaces it instead of merging the keys of two
classes.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.systems import System

# Where classes named in YAML may live; what else the package holds is not for YAML to build.
BUILDABLE = ("systems", "phantoms", "distributions", "sequences", "nets", "losses", "train")


def conf_dir() -> Path:
    """Folder of the YAML files: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"conf/train.yaml is neither in {package} nor beside it")


def compose(
    overrides: Sequence[str] = (), *, name: str = "train", conf: str | Path | None = None
) -> dict[str, Any]:
    """The configuration ``conf/<name>.yaml`` with Hydra overrides applied, as plain data.

    Args:
        overrides: e.g. ``["system=dlnmr", "system.rate=0.25", "trainer.max_steps=100"]``.
        name: of the primary file.
        conf: a further folder of YAML files (for a system of one's own).

    Raises:
        ConfigError: an override that cannot be read, or names what does not exist.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    search = []
    if conf is not None:
        if not Path(conf).is_dir():
            raise ConfigError("conf", str(conf), "a folder of YAML files")
        search = [f"hydra.searchpath=[file://{Path(conf).resolve()}]"]
    try:
        parsed = [_parsed(line) for line in overrides]
        replaced = [o for o in parsed if "_target_" in _keys_of(o.value())]
        merged = [str(o.input_line) for o in parsed if o not in replaced]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra_compose(name, overrides=[*search, *merged])
        for override in replaced:
            key = override.key_or_group
            if OmegaConf.select(config, key, default=config) is config:
                raise ConfigError(key, override.value(), "a key of the configuration")
            OmegaConf.update(config, key, override.value(), merge=False)
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        text = " ".join(str(error).split()).partition(" Config search path")[0]
        unknown = re.match(r"Could not override '(?:([\w.]+)\.)?(\w+)'", text)
        if unknown and unknown[1] is None:
            allowed = f"no such key; {name} has {', '.join(compose(name=name, conf=conf))}"
            raise ConfigError(unknown[2], None, allowed) from error
        if unknown:
            parent, key = unknown.groups()
            groups = [line for line in overrides if "." not in line.partition("=")[0]]
            node: Any = compose(groups, name=name, conf=conf)
            for part in parent.split("."):
                node = node.get(part, {}) if isinstance(node, dict) else {}
            allowed = f"no such key; {parent} has {', '.join(node or ()) or 'no keys'}"
            raise ConfigError(f"{parent}.{key}", None, allowed) from error
        raise ConfigError("override", " ".join(overrides), text) from error


def _parsed(line: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    # Hydra knows nan and inf, YAML writes them with a point.
    line = re.sub(r"(?i)(?<=[=\[, :])([+-]?)\.(nan|inf)(?=[\], }]|$)", r"\1\2", line)
    try:
        return OverridesParser.create().parse_overrides([line])[0]
    except HydraException as error:
        reason = " ".join(str(error).split()).partition(" See https")[0]
        raise ConfigError("override", line, f"key=value in Hydra's grammar ({reason})") from error


def _keys_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else []


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
    except (TypeError, ValueError) as error:
        raise ConfigError(key, node["_target_"], str(error)) from error


def _class(target: Any, key: str, trusted: Sequence[str]) -> type:
    own = [f"ipads_stream.{package}" for package in BUILDABLE]
    allowed = f"a class in {', '.join(own)}, or in a package listed under trusted"
    packages = (*own, *trusted)
    module, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if not any(module == package or module.startswith(f"{package}.") for package in packages):
        raise ConfigError(key, target, allowed)
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        of_this = f"{module}.".startswith(f"{getattr(error, 'name', '')}.")
        if isinstance(error, AttributeError) or of_this:
            raise ConfigError(key, target, "the full name of a class that exists") from None
        raise ConfigError(key, target, f"a class that can be imported ({error})") from error
    # A module of ours also holds what it imported: os, numpy. Only what it defines may be built.
    home = getattr(cls, "__module__", "")
    if not _builds(cls) or not any(
        home == package or home.startswith(f"{package}.") for package in packages
    ):
        raise ConfigError(key, target, allowed)
    return cls


def _builds(target: Any) -> bool:
    """Whether it is a class, or a function that returns a Sequence: no other may be called."""
    if inspect.isfunction(target):
        return (
            str(target.__annotations__.get("return")).rpartition(".")[2].strip("'>") == "Sequence"
        )
    return isinstance(target, type)


def _check_keys(cls: type, values: dict[str, Any], key: str) -> None:
    parameters = inspect.signature(cls).parameters
    prefix = f"{key}." if key else ""
    for name, value in values.items():
        if name not in parameters:
            allowed = f"no such key; {cls.__name__} has {', '.join(parameters)}"
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
    lines = [f"system={name}", *(_prefixed(line) for line in overrides)]
    return build_system(compose(lines, conf=conf), trusted)


def build_system(config: dict[str, Any], trusted: Sequence[str] = ()) -> System:
    """The system of a composed configuration."""
    node = config["system"]
    if isinstance(node, dict) and "_target_" not in node and "system" in node:
        allowed = "a file of conf/system whose first line is: # @package _global_"
        raise ConfigError("system", list(node), allowed)
    system = instantiate(node, "system", trusted)
    if not isinstance(system, System):
        raise ConfigError("system", config["system"], "a system: name, draw and render")
    return system


def build_sequence(config: dict[str, Any], trusted: Sequence[str] = ()) -> Any:
    """The pulse sequence of a composed configuration, or None where it names none."""
    from ipads_stream import sequences

    node, path = config.get("sequence"), config.get("pulseq")
    if path is not None:
        if node is not None:
            raise ConfigError("pulseq", path, "a file, or sequence=NAME, but not both")
        try:
            return sequences.read_pulseq(path)
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
    from ipads_stream.train.run import Run

    trusted = config["trusted"]
    for key in ("net", "loss", "trainer"):
        node = config.get(key)
        if not isinstance(node, dict) or "_target_" not in node:
            raise ConfigError(key, node, "a class under _target_ (the system names none)")
    for key in ("stream", "logger"):
        if not isinstance(config.get(key), dict):
            raise ConfigError(key, config.get(key), "its keys (see ipads-stream train --help)")
    return Run(
        config=config,
        system=build_system(config, trusted),
        trainer=instantiate(config["trainer"], "trainer", trusted),
        build_net=lambda: instantiate(config["net"], "net", trusted),
        build_loss=lambda: instantiate(config["loss"], "loss", trusted),
        read_rows=_measured_rows,
    )


def _measured_rows(data: str) -> Any:
    """Fully sampled signals of a measured plane; of a named one, the rows that hold its signals."""
    from ipads_stream.evaluation import datasets
    from ipads_stream.evaluation.planes import read_plane, rows_between

    if data in datasets.NAMES:
        plane = read_plane(datasets.find(data))
        return plane.fid[rows_between(plane, *datasets.SOURCES[data].signal_ppm)]
    if not isinstance(data, str) or not Path(data).exists():
        allowed = f"{', '.join(datasets.NAMES)}, or the path of a file or folder that exists"
        raise ConfigError("data", data, allowed)
    return read_plane(data).fid


def _prefixed(line: str) -> str:
    for mark in ("++", "+", "~"):
        if line.startswith(mark):
            return f"{mark}system.{line[len(mark) :]}"
    return f"system.{line}"


def load_model(path: str | Path, *, trusted: Sequence[str] = (), device: str = "cpu") -> Any:
    """A trained network, ready for somebody's data.

    Args:
        path: a checkpoint written by training.
        trusted: packages besides this one whose classes the checkpoint may name.
        device: to run on.

    Returns:
        For reconstruction systems a function ``reconstruct(fid, mask)`` on NumPy arrays, complex
        (rows, points) and bool (points,) or (rows, points), that returns the reconstructed rows.
        For systems of quantities, whose networks have ``outputs``, a function ``estimate(inputs)``
        of NumPy arrays by name, batch first, that returns the quantities in SI by name.

    Raises:
        ConfigError: not a checkpoint of this package, or one that names a class not allowed.
    """
    from ipads_stream.evaluation.model import Model
    from ipads_stream.train.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    config = checkpoint["config"]
    net = instantiate(config["net"], "net", trusted)
    try:
        net.load_state_dict(checkpoint["weights"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", str(path), f"weights that fit net ({reason})") from error
    if "outputs" in config["net"]:
        from ipads_stream.evaluation.quantification.model import QuantityModel

        return QuantityModel(net, config=config, device=device)
    return Model(net, config=config, device=device)
