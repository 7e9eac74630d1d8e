"""A user's folder of YAML as Hydra composes it, each file checked before it is read.

A folder may come from somebody else. Its files hold data for this package alone: they neither
configure Hydra nor import packages (``pkg://``), and a small file cannot stand for a huge one by
aliases of aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult

BYTES = 1 << 18  # of a file
NODES = 10_000  # of a file, those under aliases counted wherever they stand
OF_HYDRA = re.compile(r"^(override\s+)?/?hydra([/@.]|$)|pkg://")


class UserFolder(FileConfigSource):
    """A folder of YAML files, ``conf://PATH``."""

    @staticmethod
    def scheme() -> str:
        return "conf"

    def load_config(self, config_path: str) -> ConfigResult:
        from ipads_stream.core.errors import ConfigError

        path = Path(self.path) / self._normalize_file_name(config_path)
        try:
            check_yaml(path)
            return super().load_config(config_path)
        except (yaml.YAMLError, OSError, RecursionError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError("conf", str(path), f"a file of keys in YAML ({reason})") from error


def check_yaml(path: Path) -> None:
    """Raises ValueError, or one of YAML's, where a file is not what a folder may hold."""
    if path.is_file() and path.stat().st_size > BYTES:
        raise ValueError(f"at most {BYTES} bytes")
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("no keys")
    if _size(root, {}) > NODES:
        raise ValueError(f"at most {NODES} nodes, aliases counted")
    package = re.search(r"^#\s*@package\s+(\S+)", text, re.M)
    for word in (*_strings_of_hydra(root), package[1] if package else ""):
        if OF_HYDRA.search(word):
            raise ValueError(f"no {word!r}: keys of Hydra's own are refused")


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below a node, itself included; those under an alias are counted once more each time."""
    if id(node) not in known:
        known[id(node)] = NODES  # what holds itself is endless
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inside = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        known[id(node)] = 1 + sum(_size(each, known) for each in inside)
    return known[id(node)]


def _strings_of_hydra(root: yaml.MappingNode) -> Iterator[str]:
    """The keys of a file, and the words of its defaults list."""
    for key, value in root.value:
        yield str(key.value)
        if key.value == "defaults" and isinstance(value, yaml.SequenceNode):
            for item in value.value:
                pairs = item.value if isinstance(item, yaml.MappingNode) else [(item, item)]
                yield from (str(each.value) for pair in pairs for each in pair)
