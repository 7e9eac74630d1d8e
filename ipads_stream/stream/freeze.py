"""A stream written to disk, for those who must share or archive a fixed set.

A manifest says what the set is, with a SHA-256 and, where the system says it, the unit of each
array. ``Stream(Frozen(path))`` shards, resumes and prefetches like the live stream, bit for bit.
"""

import hashlib
import json
import math
import operator
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ipads_stream.core.backend import is_torch
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Choice, Instance, Whole
from ipads_stream.core.files import bounded, from_json, h5_node, h5_numbers, json_text, mapped_npy
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import GROUPS, Arrays, Sample
from ipads_stream.core.units import UNITS, dimension
from ipads_stream.distributions.parameters import rules_of
from ipads_stream.stream.estimate import Needs, check_needs, sample_costs, tell
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import ParametricSystem, Quantified, System

FORMATS = ("npy", "hdf5")
ROWWISE = ("weight", "substituted")  # arrays with one value per sample
CHUNK = 1 << 22  # bytes hashed at once
MANIFEST: dict[str, type] = {
    "system": str, "config": dict, "config_hash": str, "num_samples": int, "arrays": dict,
}  # fmt: skip


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
    Choice(among=FORMATS)("format", fmt)
    Whole(low=1)("num_samples", num_samples)
    if path.exists():
        raise ConfigError("path", str(path), "a path that does not exist yet")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with (
            ExitStack() as opened,
            tqdm(total=num_samples, unit=" samples", disable=not bar) as seen,
        ):
            file = None
            if fmt == "npy":
                partial.mkdir()
            else:
                import h5py

                file = opened.enter_context(h5py.File(partial, "w"))
            arrays: dict[str, Any] = {}
            for start in range(0, num_samples, stream.batch_size):
                stop = min(start + stream.batch_size, num_samples)
                for name, values in _arrays_of(stream.sample(range(start, stop))).items():
                    if name not in arrays:
                        arrays[name] = _created(partial, file, name, values, num_samples)
                    arrays[name][start:stop] = values
                seen.update(stop - start)
            _write_manifest(partial, file, stream, num_samples, arrays)
            arrays.clear()
        partial.rename(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return path


def check_freeze(stream: Stream, path: str | Path, num_samples: int) -> None:
    """ConfigError, by name, of a set that the disk cannot hold or batches that memory cannot; says
    what a large one takes."""
    Whole(low=1)("num_samples", num_samples)
    if (costs := sample_costs(stream.system, seed=stream.seed, device=stream.device)) is None:
        return
    size = min(stream.batch_size, num_samples)
    check_needs(
        Needs(memory=costs.streamed(stream, size)),
        "batch_size", stream.batch_size, device=stream.device,
    )  # fmt: skip
    whole = Needs(disk=num_samples * (costs.kept + 5), seconds=num_samples * costs.seconds)
    tell(check_needs(whole, "num_samples", num_samples, folder=Path(path).parent))


def _arrays_of(sample: Sample) -> dict[str, np.ndarray]:
    """On the host, by the name in the set: ``group.name``, or that of a number per sample."""
    named = {f"{group}.{name}": x for group in GROUPS for name, x in getattr(sample, group).items()}
    named |= {name: getattr(sample, name) for name in ROWWISE}
    return {name: x.cpu().numpy() if is_torch(x) else np.asarray(x) for name, x in named.items()}


def _created(path: Path, file: Any, name: str, values: np.ndarray, num_samples: int) -> Any:
    shape, dtype = (num_samples, *values.shape[1:]), values.dtype
    if file is None:
        return np.lib.format.open_memmap(path / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
    return file.create_dataset(name, shape, dtype, chunks=(min(64, num_samples), *shape[1:]))


def _write_manifest(
    path: Path, file: Any, stream: Stream, num_samples: int, arrays: dict[str, Any]
) -> None:
    """Writes the manifest, and in HDF5 the units beside the arrays."""
    units, described = units_of(stream.system), {}
    for name, array in arrays.items():
        if file is None:
            array.flush()
        described[name] = _shape(array) | {"sha256": _sha256(path, name, array)}
        if name in units:
            described[name] |= {"unit": units[name]}
            if file is not None:
                array.attrs["unit"] = units[name]
    body = {
        "system": stream.system.name,
        "config": json.loads(json_text(describe(stream.system))),
        "config_hash": stream.config_hash,
        "seed": stream.seed,
        "split": stream.split,
        "on_nonfinite": stream.on_nonfinite,
        "num_samples": num_samples,
        "arrays": described,
    }
    manifest = json.dumps(body | {"manifest_hash": _hash(body)}, indent=1)
    if file is None:
        (path / "manifest.json").write_text(manifest)
    else:
        file.attrs["manifest"] = manifest


def units_of(system: System) -> dict[str, str]:
    """SI units of a system's arrays, such as ``params.T1``: "s"; "1" of plain numbers."""
    units: dict[str, str] = {}
    if isinstance(system, ParametricSystem):
        rules = rules_of(system).items()
        units |= {f"params.{name}": rule.quantity for name, rule in rules if rule.quantity}
    if isinstance(system, Quantified):
        quantities = system.quantities.items()
        units |= {f"targets.{name}": dimension(quantity.unit) for name, quantity in quantities}
    si = {kind: unit for unit, (kind, factor) in reversed(UNITS.items()) if unit and factor == 1}
    return {name: si[kind] for name, kind in units.items()}


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _shape(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape)}


def _array(folder: Path, name: str) -> np.ndarray:
    if Path(name).name != name:
        raise ValueError("no name of a file")
    return mapped_npy(folder / f"{name}.npy")


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


class Frozen:
    """A frozen set as a system: sample ``n`` is row ``n mod num_samples`` of the set.

    ``len(frozen)`` is the number of samples; ``frozen[3]`` and ``frozen[2:5]`` are batches of them.

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
        self.manifest, opened = _opened(self.path)
        self.name: str = self.manifest["system"]
        if config_hash not in (None, self.manifest["config_hash"]):
            allowed = f"{config_hash}, the configuration asked for"
            raise ConfigError("config_hash", self.manifest["config_hash"], allowed)
        self.arrays: dict[str, Any] = {}
        for name, expected in self.manifest["arrays"].items():
            try:
                array = self.arrays[name] = opened(name)
                digest = _sha256(self.path, name, array) if verify else expected.get("sha256")
            except (OSError, EOFError, KeyError, ValueError) as error:
                raise ConfigError(name, None, f"an array of the set {path} ({error})") from error
            shape = _shape(array)
            if any(shape[key] != expected.get(key) for key in shape):
                raise ConfigError(name, shape, f"{expected}, as the manifest says")
            if digest != expected.get("sha256"):
                allowed = f"SHA-256 {expected.get('sha256')}, as the manifest says"
                raise ConfigError(name, digest, allowed)

    def __len__(self) -> int:
        return int(self.manifest["num_samples"])

    def __getitem__(self, rows: int | slice) -> Sample:
        if isinstance(rows, slice):
            return self._samples.sample(range(len(self))[rows])
        return self._samples.sample([range(len(self))[operator.index(rows)]])

    def __repr__(self) -> str:
        return f"Frozen: {len(self)} samples of {self.name} ({self.path})"

    @cached_property
    def _samples(self) -> Stream:
        return self.stream(threads=0, device="cpu")

    def stream(self, *, batch_size: int = 64, threads: int = 1, device: str = "auto") -> Stream:
        """The stream that was frozen: same seed, split, policy and batches."""
        keys = ("seed", "split", "on_nonfinite")
        same = {key: self.manifest[key] for key in keys if key in self.manifest}
        return Stream(self, batch_size=batch_size, threads=threads, device=device, **same)

    def describe(self) -> Any:
        return from_json(json.dumps(self.manifest["config"]))

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self._rows("params.", keys, np)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        inputs, targets = (self._rows(f"{group}.", keys, xp) for group in ("inputs", "targets"))
        rowwise = {name: self._rows(name, keys, np).get("") for name in ROWWISE}
        return Sample(inputs, targets, params, **rowwise)

    def _rows(self, prefix: str, keys: Keys, xp: Any) -> Arrays:
        """The samples' rows of the arrays whose names begin so, by the rest of the name."""
        rows = (keys.indices % np.uint64(len(self))).astype(np.int64)
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


def _opened(path: Path) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """The manifest of a set, and what opens an array of it."""
    if not path.exists():
        raise ConfigError("path", str(path), "a set written by freeze")
    try:
        if path.is_dir():
            manifest = bounded(json.loads((path / "manifest.json").read_text()))
        else:
            import h5py

            file = h5py.File(path, "r")
            manifest = bounded(json.loads(file.attrs["manifest"]))
        if not isinstance(manifest, dict):
            raise ValueError("no keys")
    except (OSError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError("path", str(path), f"a set written by freeze ({error})") from error
    body = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    if manifest.get("manifest_hash") != _hash(body):
        raise ConfigError("manifest_hash", manifest.get("manifest_hash"), "the manifest's own hash")
    for key, kind in MANIFEST.items():
        Instance(of=kind, allowed=f"{kind.__name__}, in a manifest")(key, manifest.get(key))
    Whole(low=1)("num_samples", manifest["num_samples"])
    for name, described in manifest["arrays"].items():
        Instance(of=dict, allowed="its shape, dtype and sha256, in a manifest")(name, described)
    if path.is_dir():
        return manifest, partial(_array, path)
    return manifest, lambda name: h5_numbers(h5_node(file, name))
