"""The words of a command line, ``key=value``, as overrides and as a composed configuration."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipads_stream.core.errors import ConfigError


def key_of(word: str) -> str:
    """Key of an override, without Hydra's marks."""
    return word.partition("=")[0].lstrip("+~")


def _literal(word: str) -> str:
    """A path is taken as it stands: brackets and spaces are not Hydra's grammar in it, and a folder
    may be called 3."""
    from ipads_stream.config import PATHS

    key, _, value = word.partition("=")
    if key_of(word) not in (*PATHS, "data") or value in ("", "null"):
        return word
    if value[0] == value[-1] and value[0] in "'\"" and len(value) > 1:
        return word
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def overrides_of(verb: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The folder under ``conf=``, and the other words as overrides."""
    folders = [word.removeprefix("conf=") for word in words if word.startswith("conf=")]
    others = [word for word in words if not word.startswith("conf=")]
    for word in others:
        if word.startswith("-") or ("=" not in word and not word.startswith("~")):
            raise ConfigError("argument", word, f"key=value (see ipads-stream {verb} --help)")
    return folders[-1] if folders else None, [_literal(word) for word in others]


def composed_of(verb: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of a verb; what it trusts is then found in the working directory, too."""
    from ipads_stream.config import compose

    conf, words = overrides_of(verb.replace("_", "-"), overrides)
    config = compose(words, name=verb, conf=conf)
    for package in config["trusted"]:
        top, here = package.partition(".")[0], Path.cwd()
        # A console script does not look there by itself. Last: files there hide nothing installed.
        if (here / top).is_dir() or (here / f"{top}.py").is_file():
            sys.path += [str(here)] * (str(here) not in sys.path)
    missing = [key for key, value in config.items() if value == "???"]
    if missing:
        raise ConfigError(missing[0], None, f"a value (see ipads-stream {verb} --help)")
    for key, is_folder in (("output", True), ("out", False)):
        if config.get(key) is not None:
            _check_place(key, Path(config[key]), is_folder=is_folder)
    return config


def _check_place(key: str, path: Path, *, is_folder: bool) -> None:
    """Refuses, before any work, a path to write to that is something else or leads through it."""
    parts = [path, *path.parents] if is_folder else path.parents
    there = next((part for part in parts if part.exists()), None)
    if there is not None and not there.is_dir():
        raise ConfigError(key, str(path), f"a path through folders: {there} is none")
    if not is_folder and path.is_dir():
        raise ConfigError(key, str(path), "a file, not a folder")
