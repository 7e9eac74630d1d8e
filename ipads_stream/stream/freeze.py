"""A stream written to disk, for those who must share or archive a fixed set.

``freeze`` writes memory-mapped NumPy files or one HDF5 file, with a manifest that says what the set
is and holds a SHA-256 of each array. ``Frozen`` reads it back as a system, so that
``Stream(Frozen(path))`` shards, resumes and prefetches like a live one, and yields the same
batches bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.stream.stream import Stream

FORMATS = ("npy", "hdf5")
GROUPS = ("inputs", "targets", "params")
ROWWISE = ("weight", "substituted")  # arrays with one value per sample
CHUNK = 1 << 22  # bytes hashed at once


def freeze(
    stream: Stream, path: str | Path, num_samples: int, *, fmt: str = "npy", bar: bool = False
) -> Path:
    """Writes samples ``0 .. num_samples - 1`` of a stream.

    The set appears under its name only when it is complete.

    Args:
        stream: to freeze; its device and threads are not used, samples are made in order.
        path: of the folder (npy) or file (hdf5); must not exist.
        num_samples: how many.
        fmt: "npy" (a folder of memory-mapped arrays) or "hdf5".
        bar: show a progress bar.

    Raises:
        ConfigError: unknown format, no samples, or the path exists.
    """
    path = Path(path)
    if fmt not in FORMATS:
        raise ConfigError("format", fmt, f"one of {', '.join(FORMATS)}")
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ConfigError("num_samples", num_samples, "a whole number, at least 1")
    if path.exists():
        raise ConfigError("path", str(path), "a path that does not exist yet")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with (
            _Writer(partial, fmt, num_samples) as writer,
            tqdm(total=num_samples, unit=" samples", disable=not bar) as progress,
        ):
            for start in range(0, num_samples, stream.batch_size):
                stop = min(start + stream.batch_size, num_samples)
                writer.put(start, stream.sample(range(start, stop)))
                progress.update(stop - start)
            writer.finish(_manifest(stream, num_samples, writer.described()))
        partial.rename(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return path


def _manifest(stream: Stream, num_samples: int, arrays: dict[str, Any]) -> dict[str, Any]:
    body = {
        "system": stream.system.name,
        "config": describe(stream.system),
        "config_hash": stream.config_hash,
        "seed": stream.seed,
        "split": stream.split,
        "on_nonfinite": stream.on_nonfinite,
        "num_samples": num_samples,
        "arrays": arrays,
    }
    return body | {"manifest_hash": _hash(body)}


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class _Writer:
    """Arrays named ``group.name``, created with the first batch."""

    def __init__(self, path: Path, fmt: str, num_samples: int) -> None:
        self.path, self.fmt, self.num_samples = path, fmt, num_samples
        self.arrays: dict[str, Any] = {}

    def __enter__(self) -> _Writer:
        if self.fmt == "npy":
            self.path.mkdir()
            self.file = None
        else:
            import h5py

            self.file = h5py.File(self.path, "w")
        return self

    def __exit__(self, *failure: Any) -> None:
        self.arrays.clear()
        if self.file is not None:
            self.file.close()

    def put(self, start: int, sample: Sample) -> None:
        for group in GROUPS:
            for name, array in getattr(sample, group).items():
                self._array(f"{group}.{name}", _host(array), start)
        for name in ROWWISE:
            self._array(name, _host(getattr(sample, name)), start)

    def _array(self, name: str, values: np.ndarray, start: int) -> None:
        if name not in self.arrays:
            shape = (self.num_samples, *values.shape[1:])
            if self.file is None:
                self.arrays[name] = np.lib.format.open_memmap(
                    self.path / f"{name}.npy", mode="w+", dtype=values.dtype, shape=shape
                )
            else:
                chunks = (min(64, self.num_samples), *values.shape[1:])
                self.arrays[name] = self.file.create_dataset(
                    name, shape, values.dtype, chunks=chunks
                )
        self.arrays[name][start : start + len(values)] = values

    def described(self) -> dict[str, Any]:
        """Array name -> data type, shape and SHA-256."""
        if self.file is None:
            for array in self.arrays.values():
                array.flush()
        return {
            name: _shape(array) | {"sha256": _sha256(self.path, name, array)}
            for name, array in self.arrays.items()
        }

    def finish(self, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, indent=1)
        if self.file is not None:
            self.file.attrs["manifest"] = text
            return
        (self.path / "manifest.json").write_text(text)


def _shape(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape)}


def _sha256(path: Path, name: str, array: Any) -> str:
    """Digest of a NumPy array's file, or of an HDF5 array's values, a piece at a time."""
    if path.is_dir():
        # Read, not mapped: pages of a mapped file would count as memory of this process.
        with (path / f"{name}.npy").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    sha = hashlib.sha256()
    rows = max(1, CHUNK // max(1, array.dtype.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        sha.update(array[start : start + rows].tobytes())
    return sha.hexdigest()


def _host(array: Any) -> np.ndarray:
    return array.cpu().numpy() if hasattr(array, "cpu") else np.asarray(array)


class Frozen:
    """A frozen set as a system: sample ``n`` is row ``n mod num_samples`` of the set.

    Args:
        path: written by :func:`freeze`.
        config_hash: of the system that the set must come from; None accepts any.
        verify: read all arrays and compare their SHA-256 with the manifest's.

    Raises:
        ConfigError: not a frozen set, a manifest or an array that was changed or is missing, or
            another configuration.
    """

    def __init__(
        self, path: str | Path, *, config_hash: str | None = None, verify: bool = True
    ) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self.name: str = self.manifest["system"]
        if config_hash not in (None, self.manifest["config_hash"]):
            allowed = f"{config_hash}, the configuration asked for"
            raise ConfigError("config_hash", self.manifest["config_hash"], allowed)
        self.arrays = _open(self.path, self.manifest)
        if verify:
            _verify(self.path, self.manifest, self.arrays)

    def stream(self, *, batch_size: int = 64, threads: int = 1, device: str = "auto") -> Stream:
        """The stream that was frozen: same seed, split, policy and batches."""
        return Stream(
            self,
            seed=self.manifest["seed"],
            split=self.manifest["split"],
            batch_size=batch_size,
            threads=threads,
            device=device,
            on_nonfinite=self.manifest.get("on_nonfinite", "raise"),
        )

    def describe(self) -> Any:
        return self.manifest["config"]

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self._rows("params", keys, np)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        rows = self._numbers(keys)
        rowwise: dict[str, Any] = {
            name: _take(self.arrays[name], rows) for name in ROWWISE if name in self.arrays
        }
        return Sample(
            self._rows("inputs", keys, xp),
            self._rows("targets", keys, xp),
            params,
            **rowwise,
        )

    def _numbers(self, keys: Keys) -> np.ndarray:
        return (keys.indices % np.uint64(self.manifest["num_samples"])).astype(np.int64)

    def _rows(self, group: str, keys: Keys, xp: Any) -> Arrays:
        rows = self._numbers(keys)
        prefix = f"{group}."
        return {
            name.removeprefix(prefix): xp.asarray(_take(array, rows))
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }


def _take(array: Any, rows: np.ndarray) -> np.ndarray:
    start, stop = int(rows[0]), int(rows[-1]) + 1
    if stop - start == len(rows) and np.all(np.diff(rows) == 1):
        return np.array(array[start:stop])
    unique, back = np.unique(rows, return_inverse=True)  # HDF5 wants rising, unique rows
    return np.asarray(array[unique])[back]


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError("path", str(path), "a set written by freeze")
    try:
        if path.is_dir():
            manifest = json.loads((path / "manifest.json").read_text())
        else:
            import h5py

            with h5py.File(path, "r") as file:
                manifest = json.loads(file.attrs["manifest"])
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError("path", str(path), f"a set written by freeze ({error})") from error
    body = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    if manifest.get("manifest_hash") != _hash(body):
        raise ConfigError("manifest_hash", manifest.get("manifest_hash"), "the manifest's own hash")
    return manifest


def _open(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    arrays = {}
    file = None
    if not path.is_dir():
        import h5py

        file = h5py.File(path, "r")
    for name, wanted in manifest["arrays"].items():
        try:
            array = np.load(path / f"{name}.npy", mmap_mode="r") if file is None else file[name]
        except (OSError, EOFError, KeyError, ValueError) as error:
            raise ConfigError(name, None, f"an array of the set {path} ({error})") from error
        found = _shape(array)
        if any(found[key] != wanted[key] for key in found):
            raise ConfigError(name, found, f"{wanted}, as the manifest says")
        arrays[name] = array
    return arrays


def _verify(path: Path, manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        wanted = manifest["arrays"][name].get("sha256")
        try:
            found = _sha256(path, name, array)
        except OSError as error:
            raise ConfigError(
                name, None, f"a readable array of the set {path} ({error})"
            ) from error
        if found != wanted:
            raise ConfigError(name, found, f"SHA-256 {wanted}, as the manifest says")
