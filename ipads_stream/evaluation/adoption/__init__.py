"""From measured data to the YAML of a system that trains for them (`ipads-stream adopt`)."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Whole
from ipads_stream.core.files import write_text
from ipads_stream.data.planes.recording import MODES
from ipads_stream.evaluation.adoption.measured import Adopted, Measured, read_measured
from ipads_stream.evaluation.adoption.text import sentence, yaml_of
from ipads_stream.systems.base import Adopting, Replacing


def adopt(
    config: Mapping[str, Any],
    named: str | None,
    candidates: Mapping[str, Callable[[], Any]],
    recommended: Callable[[str], str],
) -> list[str]:
    """Reads protocol, noise and priors out of measured data and writes them as a system's YAML.

    Args:
        config: as conf/adopt.yaml; its output then serves as ``conf=FOLDER system=NAME``.
        named: the system that was asked for; None: the only one that fits.
        candidates: systems that there are, built when they are called, by name.
        recommended: text of the YAML of what a system is best trained with, by its name.

    Returns:
        Sentences: the file, each value with its source, the next commands.

    Raises:
        ConfigError: data that no system takes, several do, or the named one does not; a key that
            cannot be used.
        UnusableData: a recording that gives no plane.
    """
    _check(config, candidates)
    measured = read_measured(Path(config["data"]))
    if named is None:
        named, system, adopted = _proposed(measured, config, candidates)
        why = "the only system that they fit"
        if isinstance(system, Replacing):
            why += f", or in place of {' and '.join(system.instead_of)} (system= asks for one)"
    else:
        system, why = candidates[named](), "as asked"
        adopted = _asked(system, measured, config)
    mined, notes = adopted.priors()
    settings = {**adopted.settings, **mined}
    system = replace(system, **{name: x.value for name, x in settings.items()})
    name = config["name"]
    folder = Path(config["output"] or f"runs/adopted-{name}")
    path = folder / "system" / f"{name}.yaml"
    told = [f"{named}, {why}", *adopted.notes, *notes]
    head = f"{named}, adopted from {measured.path.name}"
    train = f"ipads-stream train conf={folder} system={name}"
    write_text(path, yaml_of(head, [*told, train], system, named, settings, recommended(named)))
    lines = [f"{field}: {sentence(x)}" for field, x in settings.items()]
    return [str(path), *told, *lines, train]


def _check(config: Mapping[str, Any], taken: Collection[str]) -> None:
    name = config["name"]
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise ConfigError("name", name, "letters, digits and underscores")
    if name in taken:
        raise ConfigError("name", name, "another name than a system has, which would be taken")
    if not isinstance(config["data"], str):
        raise ConfigError("data", config["data"], "one path")
    Whole(low=2, high=200)("bins", config["bins"])
    Whole(low=50, high=100_000)("voxels", config["voxels"])
    Number(low=0, high=1)("broad", config["broad"])
    for key, allowed in (("mode", MODES), ("reverse_indirect", (True, False))):
        if config[key] is not None and config[key] not in allowed:
            raise ConfigError(key, config[key], f"one of {', '.join(map(str, allowed))}, or null")


def _asked(system: Any, measured: Measured, config: Mapping[str, Any]) -> Adopted:
    """What a system adopts; ConfigError of one that adopts nothing, or not these data."""
    if not isinstance(system, Adopting):
        raise ConfigError("system", system.name, "one that adopts data: it has `adoption`")
    try:
        function = pkgutil.resolve_name(system.adoption)
    except (ImportError, ValueError, AttributeError):
        allowed = "the full name of a function adopt(system, measured, config)"
        raise ConfigError("system.adoption", system.adoption, allowed) from None
    return function(system, measured, config)  # type: ignore[no-any-return]


def _proposed(
    measured: Measured, config: Mapping[str, Any], candidates: Mapping[str, Callable[[], Any]]
) -> tuple[str, Any, Adopted]:
    """The only system that the data fit; variants of one system under other names aside, and what
    another that fits stands in for."""
    fitting, reasons = {}, []
    for name, build in candidates.items():
        system = build()
        if not isinstance(system, Adopting) or system.name != name:
            continue
        try:
            fitting[name] = system, _asked(system, measured, config)
        except ConfigError as error:
            reasons.append((name, error))
    if not fitting:
        others = [error for _, error in reasons if error.key != "system"]
        if others:  # the right kind of data, and what is wrong with them
            raise others[0]
        text = "; ".join(f"{name}: {error.allowed}" for name, error in reasons)
        raise ConfigError("data", str(measured.path), f"data that a system takes ({text})")
    instead = {other for system, _ in fitting.values() if isinstance(system, Replacing)
               for other in system.instead_of}  # fmt: skip
    fitting = {name: found for name, found in fitting.items() if name not in instead}
    if len(fitting) > 1:
        names = sorted(fitting)
        raise ConfigError(
            "system", None, f"one of {', '.join(names)}: no file says which of them it is"
        )
    ((name, (system, adopted)),) = fitting.items()
    return name, system, adopted
