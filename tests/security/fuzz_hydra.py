"""Hydra, with what it makes of words, files and groups kept: of a thousand lines most are the same.

Words that are wrong, and folders of YAML that a line brings, it reads each time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.defaults_list import Overrides
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from ipads_stream.config import conf_dir

MOST = 20_000  # entries of each kind


def keep() -> None:
    """From now on, in this process and what is forked from it."""
    Plugins.instance()  # which bring the sources
    loader, file = config_loader_impl.ConfigLoaderImpl, SourcesRegistry.instance().resolve("file")
    config_loader_impl.create_defaults_list = _defaults(config_loader_impl.create_defaults_list)
    for owner, name, key in (
        (OverridesParser, "parse_rule", lambda parser, text, rule: (text, rule)),
        (file, "load_config", lambda source, config_path: _ours([source], config_path)),
        (loader, "_compose_config_from_defaults_list",
         lambda loader, defaults, repo: _ours(repo.get_sources()[1:-1], str(defaults))),
    ):  # fmt: skip
        setattr(owner, name, _kept(getattr(owner, name), key))


def _ours(sources: list[Any], path: Any) -> tuple[Any, ...] | None:
    """What a result depends on; None where files are not those of the package."""
    return (path,) if all(source.path == str(conf_dir()) for source in sources) else None


def _kept(function: Callable[..., Any], key: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def call(*arguments: Any, **named: Any) -> Any:
        found = key(*arguments, **named)
        if found is None:
            return function(*arguments, **named)
        if found not in known:
            if len(known) > MOST:
                known.clear()
            known[found] = function(*arguments, **named)
        return copy.deepcopy(known[found])

    return call


def _defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def call(
        repo: Any,
        config_name: Any,
        overrides_list: list[Any],
        prepend_hydra: bool,
        skip_missing: bool,
    ) -> Any:
        asked = (repo, config_name, overrides_list, prepend_hydra, skip_missing)
        values = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
        groups = [str(x.input_line) for x in overrides_list if not any(x is y for y in values)]
        found = _ours(repo.get_sources()[1:-1], (config_name, skip_missing, *groups))
        if found is None:
            return function(*asked)
        if found not in known:
            known[found] = function(*asked)
        return replace(known[found], config_overrides=values)

    return call
