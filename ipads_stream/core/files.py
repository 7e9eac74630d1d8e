"""Files that are either complete or not there, and plain JSON.

JSON has neither infinity nor NaN: they stand there as YAML writes them, ".inf", "-.inf" and ".nan".
"""

import gzip
import json
import math
import mmap
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ipads_stream.core.errors import ConfigError

HARD_LINK = 0  # of HDF5: to what lies in the file itself
PACKED = 1032  # bytes that one byte of deflate's stands for at most
NIFTI_HEAD, MOST_EXTENSIONS = 540, 1 << 26  # bytes
DEPTH, THINGS = 100, 1_000_000  # of plain data that somebody else may have written
WORDS = {".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}


def free_memory() -> int:
    """Bytes that a process may still take; without bound where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return sys.maxsize


def check_memory(key: str, value: Any, num_bytes: float) -> None:
    """Raises ConfigError where ``key=value`` needs more bytes than are free."""
    free = free_memory()
    if not num_bytes <= free:
        asked = f"less: it needs about {num_bytes / 1e9:.3g} GB, {free / 1e9:.3g} GB are free"
        raise ConfigError(key, value, asked)


def check_declared(key: str, path: Path, num_bytes: int, *, is_packed: bool) -> None:
    """Raises ConfigError where a header says more bytes than its file can hold, or than are free.

    Args:
        key: that names the file.
        path: of the file.
        num_bytes: that its arrays take once read.
        is_packed: whether they are compressed by deflate.
    """
    if not 0 <= num_bytes <= held_bytes(path, is_packed=is_packed):
        allowed = f"a file that can hold the {num_bytes / 1e9:.3g} GB of its header"
        raise ConfigError(key, str(path), allowed)
    check_memory(key, str(path), num_bytes)


def held_bytes(path: Path, *, is_packed: bool) -> int:
    """Bytes that the arrays of a file may take once read, compressed by deflate or not."""
    return path.stat().st_size * (PACKED if is_packed else 1)


def check_size(key: str, path: Path) -> None:
    """Raises ConfigError of a file that memory cannot hold, as a sparse one is."""
    check_memory(key, str(path), path.stat().st_size)


def check_nifti(key: str, path: Path) -> None:
    """Raises ConfigError of a NIfTI file whose header puts the voxels far behind itself: what lies
    between is read whole, and of a compressed file may be a thousand times as long as the file."""
    opened = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opened(path, "rb") as file:
            head = file.read(NIFTI_HEAD)
        for order in "<>":
            for size, place, kind in ((348, 108, "f"), (540, 168, "q")):
                if head[:4] == struct.pack(f"{order}i", size):
                    (offset,) = struct.unpack_from(order + kind, head, place)
                    if not offset <= MOST_EXTENSIONS:
                        allowed = f"voxels within {MOST_EXTENSIONS} bytes of its header"
                        raise ConfigError(key, str(path), allowed)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise ConfigError(key, str(path), f"a whole NIfTI file ({error})") from error


def h5_node(group: Any, name: str) -> Any:
    """A group or data set of an HDF5 file, which no soft or external link leads to.

    Nothing else of the file system is opened to tell, not even a pipe.

    Raises:
        KeyError: no such name.
        ValueError: a link.
    """
    for part in name.split("/"):
        try:
            link = group.id.links.get_info(part.encode())
        except RuntimeError as error:
            raise KeyError(f"{part}: not in the file") from error
        if link.type != HARD_LINK:
            raise ValueError(f"{part}: a link; what lies in the file itself is allowed")
        group = group[part]
    return group


def h5_numbers(dataset: Any) -> Any:
    """A data set of HDF5 as given, once it is known to be no bomb.

    Raises:
        ValueError: no data set, one of other files, or one that declares more than its file can
            hold or than memory can take.
    """
    if not hasattr(dataset, "id") or not hasattr(dataset, "nbytes"):
        raise ValueError(f"{getattr(dataset, 'name', dataset)}: not a data set")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name}: its numbers lie in another file")
    held = PACKED * dataset.id.get_storage_size()
    if dataset.nbytes > min(held, free_memory()):
        raise ValueError(
            f"{dataset.name}: declares {dataset.nbytes / 1e9:.3g} GB and cannot hold it"
        )
    return dataset


def load_npy(path: Path) -> np.ndarray:
    """The array of a NumPy file, mapped before it is copied: a header that says more than the file
    holds takes no memory. ValueError of all that is no such file; objects are refused."""
    return np.array(mapped_npy(path))


def mapped_npy(path: Path) -> np.ndarray:
    """As :func:`load_npy`, not copied."""
    try:
        with np.errstate(over="raise"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # foreign bytes make this parser fail in many ways
        raise ValueError(str(error)) from error
    if not isinstance(mapped, np.ndarray):
        raise ValueError("several arrays")
    return mapped


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes that name when the block ends without error.

    What was written is on the disk before: where power fails, either file is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        if partial.exists():
            to_disk(partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_name(text: str) -> str:
    """A name that data give, as one of a file: it leads into no other folder."""
    return re.sub(r"[^\w.+=-]", "_", text).lstrip(".")[:200] or "_"


def to_disk(path: Path) -> None:
    """Waits until what was written to a file, or to the files in a folder, is on the disk."""
    for part in path.rglob("*") if path.is_dir() else [path]:
        if part.is_file():
            with part.open("r+b") as file:
                os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Writes a text file, atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def open_log(path: Path) -> TextIO:
    """A JSON-lines file to append to, at the start of a line: a killed run may leave a torn one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    return path.open("a", buffering=1, encoding="utf-8")


def cut_log(path: Path, step: int) -> None:
    """Removes what a run wrote after its checkpoint of ``step``: the lines at the end of a
    JSON-lines file whose "step" is that or a later one, and torn ones."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            with mmap.mmap(file.fileno(), 0) as lines:
                while end:
                    start = lines.rfind(b"\n", 0, end - 1) + 1
                    if _step(lines[start:end]) < step:
                        break
                    end = start
            file.truncate(end)


def _step(line: bytes) -> float:
    """Of a whole line; infinite of others."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf


def json_text(thing: Any, indent: int | None = None) -> str:
    """Plain data as JSON that every reader takes."""
    return json.dumps(_leaves_changed(thing, _worded), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """What :func:`json_text` wrote; JavaScript's ``Infinity`` and ``NaN`` are read as well.

    Raises:
        ValueError: no JSON, or deeper or larger than :func:`bounded` allows.
    """
    try:
        return _leaves_changed(bounded(json.loads(text)), _numbered)
    except RecursionError:
        raise ValueError(f"JSON deeper than {DEPTH} levels") from None


def bounded(thing: Any) -> Any:
    """Plain data as given, counted first: what is held twice (by a reference) counts twice.

    Raises:
        ValueError: deeper than 100 levels, or a million things.
    """
    known: dict[int, int] = {}

    def size(node: Any, depth: int) -> int:
        if depth > DEPTH:
            raise ValueError(f"deeper than {DEPTH} levels")
        if not isinstance(node, (dict, list, tuple)):
            return 1
        if id(node) not in known:
            inside = node.values() if isinstance(node, dict) else node
            known[id(node)] = 1 + sum(size(each, depth + 1) for each in inside)
        return known[id(node)]

    if size(thing, 0) > THINGS:
        raise ValueError(f"more than {THINGS} things")
    return thing


def _leaves_changed(thing: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(thing, dict):
        return {key: _leaves_changed(value, change) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_leaves_changed(value, change) for value in thing]
    return change(thing)


def _numbered(x: Any) -> Any:
    return WORDS.get(x, x) if isinstance(x, str) else x


def _worded(x: Any) -> Any:
    if isinstance(x, float) and not math.isfinite(x):
        return ".nan" if math.isnan(x) else ".inf" if x > 0 else "-.inf"
    return x
