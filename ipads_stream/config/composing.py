"""From YAML and overrides to a configuration as plain data: the one place that knows Hydra."""

import difflib
import re
from collections.abc import Sequence
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from ipads_stream.core.description import flat
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Flag, Instance, Number, Rule, Whole
from ipads_stream.core.trust import packages

KEY = re.compile(r"\$\{[\w.\[\]]+\}")  # of another key, by its name
INTERPOLATIONS = 30  # what refers to what refers grows by 3^(30/3) at most
TEXT, INDEX = Instance(of=str, allowed="text"), Whole(low=0, high=2**63 - 1)
KINDS: dict[type, Rule] = {  # of the defaults in the primary files; null: as RULES say, or anything
    bool: Flag(), int: INDEX, float: Number(low=0), str: TEXT,
    list: Instance(of=list, allowed="a list"), dict: Instance(of=dict, allowed="keys and values"),
}  # fmt: skip
PATHS = ("B1", "checkpoint", "log", "out", "output", "path", "pulseq", "repeats", "resume", "run",
         "schedule")  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys((*PATHS, "arm", "axis_unit", "device", "mode", "variable"), TEXT),
    "data": Instance(of=(str, list), allowed="text, or a list of texts"),
    **dict.fromkeys(("index", "samples", "schedules", "seed"), INDEX),
}
# How a class fails on a value of a kind that it does not expect.
WRONG_VALUE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
               ValueError)  # fmt: skip
RENAMED = {"stream.echo": "stream.repeat"}


def conf_dir() -> Path:
    """Folder of the YAML files: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
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
    return composed(overrides, name=name, conf=conf)[0]


def composed(
    overrides: Sequence[str] = (), *, name: str = "train", conf: str | Path | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """As :func:`compose`, with the file that was chosen of every group: group -> name.

    A system brings what it is best trained with: of ``train``, ``conf/recommended/<system>.yaml``
    is composed after it, before all that the overrides say.
    """
    if conf is not None and not Path(conf).is_dir():
        raise ConfigError("conf", str(conf), "a folder of YAML files")
    if conf is None and all(isinstance(line, str) for line in overrides):
        return deepcopy(_known(tuple(overrides), name))
    return _composed(overrides, name, conf)  # somebody's files may have changed since


@lru_cache(maxsize=256)
def _known(overrides: tuple[str, ...], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Of the package's own files, which stay as they are: Hydra takes a tenth of a second."""
    return _composed(overrides, name, None)


def _composed(
    overrides: Sequence[str], name: str, conf: str | Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    search = [] if conf is None else [_searchpath(Path(conf))]
    try:
        parsed = [_parsed(line) for line in overrides]
        # Hydra merges a dictionary key by key, and refuses new ones: an object is replaced whole,
        # and named objects (baselines, callbacks) are added to those that are there.
        objects = [o for o in parsed if _names_objects(o.value())]
        merged = [str(o.input_line) for o in parsed if o not in objects]
        first = [] if name != "train" else _recommended(merged, conf)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            words = [*search, *first, *merged]
            config = hydra_compose(name, overrides=words, return_hydra_config=True)
        choices: Any = OmegaConf.to_container(config.hydra.runtime.choices)
        with open_dict(config):
            del config["hydra"]
        for override in objects:
            key, value = override.key_or_group, override.value()
            if not override.is_add() and OmegaConf.select(config, key, default=config) is config:
                raise _unknown(key, value, overrides, name, conf)
            is_named = "_target_" not in value
            OmegaConf.update(config, key, value, merge=is_named, force_add=True)
        return _checked(resolved(config, overrides), name, parsed), {
            group: str(chosen) for group, chosen in choices.items() if "hydra" not in group
        }
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, *WRONG_VALUE) as error:  # Hydra's own, too
        text = " ".join(str(error).split()).partition(" Config search path")[0]
        unknown = re.match(r"Could not override '([\w.]+)'", text)
        if unknown:
            value = next((o.value() for o in parsed if o.key_or_group == unknown[1]), None)
            raise _unknown(unknown[1], value, overrides, name, conf) from error
        missing = re.search(r"Could not find '([\w/]+)/([^'/]+)'", text)
        if missing:
            group, chosen = missing.groups()
            names = group_names(group, conf)
            allowed = f"one of {', '.join(names)}{suggestion(chosen, names)}"
            raise ConfigError(group, chosen, allowed) from error
        raise ConfigError("override", " ".join(overrides), text) from error


def _checked(config: dict[str, Any], name: str, overrides: Sequence[Any]) -> dict[str, Any]:
    """A configuration whose keys are those of its primary file, each of the kind of its default."""
    primary, groups = _primary(name)
    known = [*primary, *groups]
    for override in overrides:
        top = re.split(r"[.@/\[]", override.key_or_group)[0]
        if override.is_add() and top not in known:
            listed = f"{name} has {', '.join(known)}{suggestion(top, known)}"
            raise ConfigError(override.key_or_group, override.value(), f"no such key; {listed}")
        if override.is_delete() and groups.get(override.key_or_group) is not None:
            allowed = f"one of {', '.join(group_names(top))}; {name} needs one"
            raise ConfigError(override.key_or_group, override.input_line, allowed)
    for key, default in primary.items():
        if key not in config:
            raise ConfigError(key, None, f"a value; {name} needs one")
        rule, value = RULES.get(key, KINDS.get(type(default))), config[key]
        if rule is not None and value != "???" and (value, default) != (None, None):
            rule(key, value)
        for part in default if isinstance(default, dict) else ():
            if part not in value:
                raise ConfigError(f"{key}.{part}", None, f"a value; {name} needs one")
    return config


@cache
def _primary(name: str) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Keys of a primary file with their defaults, and its groups with the file taken of each."""
    keys = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text(encoding="utf-8"))
    groups: dict[str, str | None] = {}
    for item in keys.pop("defaults", []):
        groups |= item if isinstance(item, dict) else {}
    keys.pop("hydra", None)
    groups.pop("recommended", None)  # it chooses of the others, and may be left out
    return keys, groups


def _searchpath(folder: Path) -> str:
    path = str(folder.resolve()).replace("\\", "\\\\").replace("'", "\\'")
    return f"hydra.searchpath=['conf://{path}']"


def resolved(config: Any, overrides: Sequence[str]) -> dict[str, Any]:
    """A composed configuration as plain data, of which what is recorded holds no secret.

    Args:
        config: OmegaConf's, not resolved.
        overrides: words that it was composed with: they alone say which packages are trusted.

    Raises:
        ConfigError: trust from elsewhere, or an interpolation of anything but another key.
    """
    from omegaconf import OmegaConf

    given = [_parsed(line) for line in overrides if re.match(r"[+~]*trusted\b", line)]
    for override in given:
        if override.key_or_group != "trusted" or override.is_delete():
            raise ConfigError("trusted", override.input_line, "one list, as in 'trusted=[mylab]'")
    trusted = list(packages(given[-1].value() if given else []))
    leaves = flat(OmegaConf.to_container(config, resolve=False))
    texts = {key: str(leaf) for key, leaf in leaves.items() if "${" in str(leaf)}
    for key, text in texts.items():
        if "${" in KEY.sub("", text):
            allowed = "${...} of another key: what is composed is recorded, so that nothing is "
            raise ConfigError(key, text, f"{allowed}taken from the environment or computed")
    if sum(text.count("${") for text in texts.values()) > INTERPOLATIONS:
        raise ConfigError("conf", list(texts), f"at most {INTERPOLATIONS} interpolations")
    plain: Any = _without_convert(OmegaConf.to_container(config, resolve=True))
    if (plain.get("trusted") or []) != trusted:
        allowed = f"{trusted}: the command line or a call says what is trusted, never a file"
        raise ConfigError("trusted", plain["trusted"], allowed)
    return plain


def group_names(group: str, conf: str | Path | None = None) -> list[str]:
    """Names of the files of a group, those of a user's folder included."""
    folders = [conf_dir()] if conf is None else [conf_dir(), Path(conf)]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def suggestion(word: str, known: Sequence[str]) -> str:
    """``; did you mean x?`` where a word is nearly one that is known, else nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def recommended(name: str, conf: str | Path | None = None) -> str:
    """The YAML of what a system is best trained with, "" where nothing is known."""
    folders = [conf_dir()] if conf is None else [Path(conf), conf_dir()]
    files = (folder / "recommended" / f"{name}.yaml" for folder in folders)
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")


def _recommended(words: Sequence[str], conf: str | Path | None) -> list[str]:
    """The override that chooses what a system is best trained with; null where nothing is known."""
    groups = dict(word.partition("=")[::2] for word in words if "." not in word.partition("=")[0])
    if "system" not in groups or "recommended" in groups:
        return []
    known = groups["system"] in group_names("recommended", conf)
    return [f"recommended={groups['system']}" if known else "~recommended"]


def _unknown(
    key: str, value: Any, overrides: Sequence[str], name: str, conf: str | Path | None
) -> ConfigError:
    """What to say of a key that the configuration lacks: those beside it, and the nearest."""
    if key in RENAMED:
        return ConfigError(key, value, f"no such key; it is now {RENAMED[key]}")
    groups = [line for line in overrides if "." not in line.partition("=")[0]]
    groups = [line for line in groups if line.partition("=")[0].lstrip("+~") != key]
    parent, _, last = key.rpartition(".")
    node: Any = compose(groups, name=name, conf=conf)
    for part in parent.split(".") if parent else ():
        node = node.get(part, {}) if isinstance(node, dict) else {}
    known = list(node) if isinstance(node, dict) else []
    listed = f"{parent or name} has {', '.join(known) or 'no keys'}"
    return ConfigError(key, value, f"no such key; {listed}{suggestion(last, known)}")


def _parsed(line: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if re.match(r"[+~]*hydra\b", line):
        raise ConfigError(line.partition("=")[0].lstrip("+~"), line, "a key of this package")
    # Hydra knows nan and inf, YAML writes them with a point.
    line = re.sub(r"(?i)(?<=[=\[, :])([+-]?)\.(nan|inf)(?=[\], }]|$)", r"\1\2", line)
    try:
        return OverridesParser.create().parse_overrides([line])[0]
    except HydraException as error:
        reason = " ".join(str(error).split()).partition(" See https")[0]
        raise ConfigError("override", line, f"key=value in Hydra's grammar ({reason})") from error


def _names_objects(value: Any) -> bool:
    """Whether a value of an override is an object, ``{_target_: ...}``, or objects by name."""
    nodes = [value, *value.values()] if isinstance(value, dict) else []
    return any(isinstance(node, dict) and "_target_" in node for node in nodes)


def _without_convert(node: Any) -> Any:
    """Plain data without ``_convert_``, which only hydra.utils.instantiate needs."""
    if isinstance(node, dict):
        return {key: _without_convert(x) for key, x in node.items() if key != "_convert_"}
    return [_without_convert(x) for x in node] if isinstance(node, list) else node
