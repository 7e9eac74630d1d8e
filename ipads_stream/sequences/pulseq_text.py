"""The text of a Pulseq file, versions 1.2 to 1.5, as tables of numbers.

Sections may come in any order and lines may be blank anywhere: nothing but a header ends a table.
What a file declares is checked before it is unpacked.
"""

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

# By section and version what follows the number of a row: i whole, f any number, s text.
ROWS = {
    "RF": {2: "fiifff", 4: "fiiifff", 5: "fiiiffffffs"},
    "GRADIENTS": {2: "fif", 4: "fiif", 5: "fffiif"},
    "TRAP": {2: "fffff"},
    "ADC": {2: "iffff", 5: "iffffffi"},
    "DELAYS": {2: "f"},
    "EXTENSIONS": {2: "iii"},
    "extension DELAYS": {2: "iffs"},
    "extension ROTATIONS": {2: "ffff"},
}
# What changes nothing that is simulated: labels, whatever their names, and triggers.
HARMLESS = ("TRIGGERS", "LABELSET", "LABELINC")
EXTENSIONS = (*HARMLESS, "DELAYS", "ROTATIONS", "RF_SHIMS")
RASTERS = {
    "GradientRasterTime": 1e-5,
    "RadiofrequencyRasterTime": 1e-6,
    "AdcRasterTime": 1e-7,
    "BlockDurationRaster": 1e-5,
}
MOST_SAMPLES = 20_000_000  # of all shapes of a file, and of all its events: 160 MB
LARGEST_FILE = 1 << 30  # bytes
HASHES = ("md5", "sha1", "sha256")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Shape:
    """Samples as a file keeps them: packed where they are fewer or more than num_samples."""

    num_samples: int
    data: Float[np.ndarray, " n"]
    packed: bool

    def samples(self) -> Float[np.ndarray, " num_samples"]:
        """The samples; a run of equal differences d stands as d, d and how many more follow."""
        if not self.packed:
            return self.data
        data, count = self.data, self.num_samples
        steps, done, at = np.zeros(count), 0, 0
        for marker in np.flatnonzero(data[1:] == data[:-1]):
            if marker < at:
                continue
            plain = int(marker) - at
            run = data[marker + 2] + 2 if marker + 2 < data.size else math.nan
            if not (run >= 2 and run == round(run) and done + plain + run <= count):
                raise ValueError(f"a run of {run} samples among {count} is not a run-length code")
            steps[done : done + plain] = data[at:marker]
            done += plain + int(run)
            steps[done - int(run) : done] = data[marker]
            at = int(marker) + 3
        if data.size - at != count - done:
            raise ValueError(f"{data.size} numbers are no run-length code of {count} samples")
        steps[done:] = data[at:]
        return np.cumsum(steps)


@dataclass(frozen=True)
class Text:
    """Tables of a file: by section its rows by their number; times as they are written.

    blocks: by number duration or delay, numbers of rf, gx, gy, gz, adc and of the first extension;
    extensions: kind by its number.
    """

    version: tuple[int, int]
    definitions: dict[str, Any]
    blocks: dict[int, Row]
    tables: dict[str, dict[int, Row]]
    extensions: dict[int, str]
    shapes: dict[int, Shape]

    def row(self, section: str, number: int) -> Row:
        """A row that another one names."""
        if number not in self.tables.get(section, {}):
            raise ValueError(f"[{section}] has no row {number}")
        return self.tables[section][number]

    def samples(self, number: int) -> Float[np.ndarray, " num_samples"]:
        if number not in self.shapes:
            raise ValueError(f"[SHAPES] has no shape {number}")
        try:
            return self.shapes[number].samples()
        except ValueError as error:
            raise ValueError(f"shape {number}: {error}") from error

    def raster(self, name: str) -> float:
        """Of RASTERS, s: as defined, or the usual one."""
        raster = self.definitions.get(name, RASTERS[name])
        if not (isinstance(raster, float) and 1e-9 <= raster < 1):
            raise ValueError(f"{name}={raster}: a time from 1e-9 s and below 1 s is allowed")
        return raster


def parse(path: Path) -> Text:
    """The tables of a file; warns where its signature is not that of its text.

    Raises:
        ValueError: no Pulseq file, or what is not known in it, with the reason and the line.
        FileNotFoundError: no such file.
    """
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise ValueError(f"{path}: {size} bytes; at most {LARGEST_FILE} are allowed")
    raw = path.read_bytes()
    try:
        sections = _sections(raw.decode("utf-8", errors="replace"))
        text = _tables(sections)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _check_signature(path, raw, sections.get("SIGNATURE", ()))
    return text


Line = tuple[int, list[str]]


def _sections(text: str) -> dict[str, list[Line]]:
    """By header the lines that hold something, as words with their number."""
    sections: dict[str, list[Line]] = {}
    lines: list[Line] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        header = re.fullmatch(r"\[(\w+)\]", line.strip())
        if header or words[0] == "extension":
            name = header[1] if header else " ".join(words[:2])
            lines = sections.setdefault(name, [])
            if not header:
                lines.append((number, words))
        elif lines is None:
            break
        else:
            lines.append((number, words))
    if "VERSION" not in sections:
        raise ValueError("no [VERSION]; a Pulseq file is allowed")
    return sections


def _tables(sections: dict[str, list[Line]]) -> Text:
    given = {words[0]: words[1] for _, words in sections["VERSION"] if len(words) > 1}
    if not all(given.get(name, "").isdecimal() for name in ("major", "minor")):
        raise ValueError("[VERSION] without major and minor; a Pulseq file is allowed")
    major, minor = int(given["major"]), int(given["minor"])
    if not (major == 1 and 2 <= minor <= 5):
        raise ValueError(f"version {major}.{minor}; 1.2 to 1.5 are allowed")
    known = {"VERSION", "DEFINITIONS", "BLOCKS", "SHAPES", "SIGNATURE", *ROWS}
    tables: dict[str, dict[int, Row]] = {}
    extensions: dict[int, str] = {}
    for section, lines in sections.items():
        if section.startswith("extension "):
            kind = section.split()[1]
            if kind not in EXTENSIONS:
                allowed = ", ".join(EXTENSIONS)
                raise ValueError(f"extension {kind} is not simulated; allowed are {allowed}")
            for _, words in (line for line in lines if line[1][0] == "extension"):
                extensions[_whole(words[2])] = kind
            lines = [line for line in lines if line[1][0] != "extension"]
            if kind == "RF_SHIMS":
                tables[kind] = _shims(lines)
                continue
            if kind in HARMLESS:
                continue
        elif section not in known:
            raise ValueError(f"cannot be read as a Pulseq file: section [{section}] is not known")
        if section in ROWS:
            kinds = max((v, kinds) for v, kinds in ROWS[section].items() if v <= minor)[1]
            tables[section.removeprefix("extension ")] = _rows(section, kinds, lines)
        if section == "DELAYS" and minor >= 4:
            raise ValueError("cannot be read as a Pulseq file: [DELAYS] in version 1.4 and above")
        if section == "extension DELAYS":
            tables["SOFT"] = tables.pop("DELAYS")
    if both := tables.get("GRADIENTS", {}).keys() & tables.get("TRAP", {}).keys():
        raise ValueError(f"[GRADIENTS] and [TRAP] both have a row {min(both)}")
    blocks = _blocks(sections.get("BLOCKS", []))
    definitions = {words[0]: _definition(words[1:]) for _, words in sections.get("DEFINITIONS", ())}
    shapes = _shapes(sections.get("SHAPES", []), minor)
    return Text((major, minor), definitions, blocks, tables, extensions, shapes)


def _rows(section: str, kinds: str, lines: Iterable[Line]) -> dict[int, Row]:
    """Rows by their number, of which one may stand twice if it says the same."""
    table: dict[int, Row] = {}
    for number, words in lines:
        try:
            if len(words) != len(kinds) + 1:
                raise ValueError(f"{len(words)} columns; {len(kinds) + 1} are allowed")
            row = tuple(READERS[kind](word) for kind, word in zip(kinds, words[1:], strict=True))
            if table.setdefault(_whole(words[0]), row) != row:
                raise ValueError(f"another row {words[0]}")
        except ValueError as error:
            where = f"line {number}: [{section}]"
            raise ValueError(f"cannot be read as a Pulseq file: {where}: {error}") from error
    return table


def _whole(word: str) -> int:
    if (value := _number(word)) != round(value):
        raise ValueError(f"{word}: a whole number is allowed")
    return round(value)


def _number(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word}: a finite number is allowed")
    return value


READERS: dict[str, Callable[[str], Any]] = {"i": _whole, "f": _number, "s": str}


def _blocks(lines: Iterable[Line]) -> dict[int, Row]:
    """Rows of seven whole numbers: files up to 1.2.1 have no column of extensions."""
    rows = {}
    for number, words in lines:
        full = words if len(words) == 8 else [*words, "0"]
        (row,) = _rows("BLOCKS", "iiiiiii", [(number, full)]).items()
        if row[0] in rows:
            raise ValueError(f"cannot be read as a Pulseq file: two blocks {row[0]}")
        rows[row[0]] = row[1]
    return rows


def _shims(lines: Iterable[Line]) -> dict[int, Row]:
    """By number the complex weight of each channel, from magnitude and phase (rad)."""
    table = {}
    for number, words in lines:
        count = _whole(words[1]) if len(words) > 1 else 0
        kinds = "i" + "ff" * max(min(count, len(words)), 1)
        ((shim, row),) = _rows("extension RF_SHIMS", kinds, [(number, words)]).items()
        values = np.asarray(row[1:])
        table[shim] = tuple(values[0::2] * np.exp(1j * values[1::2]))
    return table


def _definition(words: list[str]) -> Any:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return " ".join(words)
    return numbers[0] if len(numbers) == 1 else numbers


def _shapes(lines: Iterable[Line], minor: int) -> dict[int, Shape]:
    """Shapes by number; before 1.4 all are packed, then those of as many numbers as samples not."""
    found: dict[int, tuple[int, list[float]]] = {}
    number = 0
    for line, words in lines:
        try:
            if words[0].lower() == "shape_id":
                number = _whole(words[1])
                if number in found:
                    raise ValueError(f"two shapes {number}")
                found[number] = 0, []
            elif words[0].lower() in ("num_samples", "num_uncompressed"):
                found[number] = _whole(words[1]), found[number][1]
            else:
                (word,) = words
                found[number][1].append(_number(word))
        except (ValueError, LookupError) as error:
            where = f"line {line}: [SHAPES]"
            raise ValueError(f"cannot be read as a Pulseq file: {where}: {error}") from error
    if (total := sum(count for count, _ in found.values())) > MOST_SAMPLES:
        raise ValueError(f"{total} samples in shapes; at most {MOST_SAMPLES} are allowed")
    shapes = {}
    for number, (count, data) in found.items():
        if not (count > 0 and data):
            raise ValueError(f"shape {number} has no samples")
        shapes[number] = Shape(count, np.asarray(data), minor < 4 or len(data) != count)
    return shapes


def _check_signature(path: Path, raw: bytes, lines: Iterable[Line]) -> None:
    given = {words[0]: words[1] for _, words in lines if len(words) > 1}
    kind = given.get("Type", "").lower()
    section = re.search(rb"^\[SIGNATURE\]", raw, re.MULTILINE)
    if kind not in HASHES or section is None:
        return
    place = section.start()
    # By the specification without the line break before the section; JEMRIS signs that, too.
    text = raw[:place].replace(b"\r\n", b"\n")
    signed = (raw[:place], raw[:place].removesuffix(b"\n"), text, text.removesuffix(b"\n"))
    digests = (hashlib.new(kind, part, usedforsecurity=False).hexdigest() for part in signed)
    if given.get("Hash", "").lower() not in digests:
        warnings.warn(
            f"{path}: its signature is not that of its text: it was changed after it was written",
            stacklevel=3,
        )
