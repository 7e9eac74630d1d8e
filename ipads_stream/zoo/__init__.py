"""Small trained networks that are part of the package: ``zoo:t2_map`` stands for a checkpoint.

Beside the weights of each (NAME.ckpt, a checkpoint without the state of its optimizer) lies its
card (NAME.json): what the network was trained on, how, what it gives, and digests by which weights
and stream are known again. ``experiments/zoo.py`` makes both.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError

PREFIX = "zoo:"
SEEN = 1000  # first samples of the stream that a card has the digest of
FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Networks that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.ckpt"))


def card(name: str) -> dict[str, Any]:
    """What is known of a network; ConfigError of one that is not there."""
    path = located(f"{PREFIX}{name}").with_suffix(".json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def is_named(checkpoint: Any) -> bool:
    """Whether a checkpoint is meant as one of the zoo, by its prefix."""
    return str(checkpoint).startswith(PREFIX)


def located(checkpoint: str | Path) -> Path:
    """The file of a checkpoint: of ``zoo:NAME`` that of the zoo, of others the path itself.

    Raises:
        ConfigError: the zoo has no network of this name.
    """
    if not is_named(checkpoint):
        return Path(checkpoint)
    name = str(checkpoint).removeprefix(PREFIX)
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f" (did you mean {PREFIX}{close[0]}?)" if close else ""
        raise ConfigError("checkpoint", str(checkpoint), f"one of {listed()}{hint}")
    return FOLDER / f"{name}.ckpt"


def listed() -> str:
    """The names under which networks are given, as a sentence has them."""
    return ", ".join(f"{PREFIX}{name}" for name in names())


def sentence(name: str) -> str:
    """A network in a line: quantities with their ranges, and what intervals of the first hold."""
    about = card(name)
    ranges = [f"{key} {spec['low']:g} to {spec['high']:g} {spec.get('unit', '')}".strip()
              for key, spec in about["quantities"].items()]  # fmt: skip
    first = next(iter(about["quantities"]))
    held = next(row["coverage_90"] for row in reversed(about["calibration"])
                if row["quantity"] == first)  # fmt: skip
    return f"{', '.join(ranges)}; 90 % intervals of {first} hold {100 * held:.1f} %"


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(arrays: Mapping[str, Any]) -> str:
    """SHA-256 of named arrays: names, shapes and values of six digits.

    Exponentials may differ in the last bit from processor to processor; six digits do not.
    """
    found = hashlib.sha256()
    for name in sorted(arrays):
        values = np.asarray(arrays[name], np.float64)
        found.update(f"{name} {values.shape} ".encode())
        found.update(" ".join(f"{x + 0.0:.5e}" for x in values.ravel().tolist()).encode())
    return found.hexdigest()


def glimpse(arrays: Mapping[str, Any], count: int = 16) -> dict[str, list[float]]:
    """Evenly spaced values of each array: what is rendered agrees to rounding, not to the bit."""
    flat = {name: np.asarray(x, np.float64).ravel() for name, x in arrays.items()}
    # An odd step comes by all columns of a table of two, four or eight.
    return {name: x[:: x.size // count | 1][:count].tolist() for name, x in flat.items()}
