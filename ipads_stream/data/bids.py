"""Data sets in the folders of BIDS: the series of all participants, and a place for results.

Source: BIDS specification 1.10, common principles, "Storage of derived datasets".
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ipads_stream import __version__
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import json_text, write_text
from ipads_stream.data.images import SUFFIXES, series_of, stem_of

DERIVATIVES = Path("derivatives", "ipads_stream")
DESCRIPTION = "dataset_description.json"


def series(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The first file of every series in a folder and those below it, derivatives left out.

    Args:
        folder: of a data set, or of some of its files.
        suffixes: the last words of the names, such as MEGRE.

    Raises:
        ConfigError: under the key ``data``: there is none.
    """
    found = set()
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if "derivatives" in below.parts or not path.name.endswith(SUFFIXES) or not path.is_file():
            continue
        if stem_of(path).rpartition("_")[2] in suffixes and "_part-phase" not in path.name:
            found.add(series_of(path)[0])
    if not found:
        allowed = f"a folder with images named ..._{', ..._'.join(suffixes)}{SUFFIXES[0]}"
        raise ConfigError("data", str(folder), allowed)
    return sorted(found)


def field_map(path: Path, suffix: str) -> Path | None:
    """The map of this suffix in ``fmap`` of the participant whose images a path is of, if any."""
    if path.parent.name != "anat":
        return None
    names = [part for part in path.name.split("_") if part.startswith(("sub-", "ses-"))]
    found = sorted(path.parent.with_name("fmap").glob(f"{'_'.join(names)}*_{suffix}.nii*"))
    return found[0] if found else None


def describe_derivatives(output: Path, source: Path) -> None:
    """Writes the description of a derived data set."""
    about = {
        "Name": f"Maps of {source.resolve().name} by ipads_stream",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "ipads_stream", "Version": __version__}],
        "SourceDatasets": [{"URL": source.resolve().as_uri()}],
    }
    write_text(output / DESCRIPTION, json_text(about, 1))
