"""Makes the configuration groups of ipads_stream known to every Hydra application.

An application of somebody's own composes ``defaults: [ipads_stream/system: drone]``; the group's
package is ``ipads_stream.system``, or what ``@`` says. Hydra finds this plugin where ipads_stream
is installed.
"""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

PREFIX = "ipads_stream"
# What a foreign application may compose; the primary files belong to the command line alone.
GROUPS = ("loss", "net", "sequence", "system", "trainer")


class GroupsSource(FileConfigSource):
    """The folder ``conf`` as if it were called ``ipads_stream``.

    Args:
        provider: name of the plugin.
        path: "ipads://"; where the folder lies is found out here.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        import ipads_stream  # light: it imports nothing itself

        package = Path(ipads_stream.__file__).parent
        inside = package / "conf"
        self.path = str(inside if inside.is_dir() else package.parent / "conf")

    @staticmethod
    def scheme() -> str:
        return "ipads"

    def load_config(self, config_path: str) -> ConfigResult:
        return super().load_config(_inside(config_path))

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", PREFIX) or super().is_group(_inside(config_path))

    def is_config(self, config_path: str) -> bool:
        return super().is_config(_inside(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path in ("", PREFIX):
            names = [PREFIX] if not config_path else list(GROUPS)
            return [] if results_filter is ObjectType.CONFIG else names
        files = (Path(self.path) / _inside(config_path)).glob("*.yaml")
        return [] if results_filter is ObjectType.GROUP else sorted(path.stem for path in files)


def _inside(config_path: str) -> str:
    """The path below ``conf``; of what this application does not offer, one that is not there."""
    first, _, below = config_path.partition("/")
    is_offered = first == PREFIX and below.partition("/")[0] in GROUPS
    return below if is_offered else f".not-offered/{config_path}"


class GroupsSearchPath(SearchPathPlugin):
    """Appends the groups to the search path of every application."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("ipads_stream", "ipads://")
