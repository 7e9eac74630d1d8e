"""Phantoms of other simulators: KomaMRI's .phantom and JEMRIS's .h5."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.files import h5_node, h5_numbers
from ipads_stream.physics.bloch.phantom import Phantom

MOST_NUMBERS = 250_000_000  # of a data set, 2 GB in float64
JEMRIS = ("M0", "R1", "R2", "R2s", "omega")  # rates in 1/ms, omega in rad/s
KOMA = {"M0": "\u03c1", "T1": "T1", "T2": "T2", "T2s": "T2s", "omega": "\u0394w"}


def read_phantom(path: str | Path) -> Phantom:
    """The spins of a phantom file, T2' from 1/T2' = 1/T2* - 1/T2.

    Args:
        path: of a file of KomaMRI or JEMRIS; which one its groups tell.

    Raises:
        ValueError: neither, malformed, or with motion or more numbers than fit; says which.
        FileNotFoundError: no such file.

    Source: the readers of KomaMRI; Stoecker et al., Magn Reson Med 2010; 64: 186 (JEMRIS).
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            for group, read in (("sample", _jemris), ("position", _koma)):
                if group in list(file):
                    return _phantom(**read(file))
        raise ValueError("no group sample (JEMRIS) or position (KomaMRI)")
    except (OSError, KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: cannot be read as a phantom ({error})") from error


def _phantom(position: Any, M0: Any, T1: Any, T2: Any, T2s: Any, omega: Any) -> Phantom:
    for name, x in {"M0": M0, "T1": T1, "T2": T2, "T2*": T2s, "frequency": omega}.items():
        if x.shape != position.shape[:1]:
            raise ValueError(f"{name}: shape {x.shape}; {position.shape[:1]} is allowed")
    lost = 1 / T2s - 1 / T2  # 1/s; T2* of inf or of T2 itself: none
    T2p = np.divide(1.0, lost, out=np.full_like(lost, math.inf), where=lost > 1e-9 / T2)
    given = {"T2p": T2p} if np.any(np.isfinite(T2p)) else {}
    return Phantom(position, M0=M0, T1=T1, T2=T2, df=omega / (2 * math.pi), **given)


def _numbers(dataset: Any) -> np.ndarray:
    if h5_numbers(dataset).size > MOST_NUMBERS:
        raise ValueError(f"{dataset.name}: a data set of at most {MOST_NUMBERS} numbers is allowed")
    return np.asarray(dataset[...], np.float64)


def _jemris(file: Any) -> dict[str, np.ndarray]:
    """A grid of five maps, x fastest, about the centre, in mm; where M0 is 0 there is no spin."""
    data = _numbers(h5_node(file, "sample/data"))
    spacing, offset = (1e-3 * _numbers(h5_node(file, f"sample/{name}")).ravel()
                       for name in ("resolution", "offset"))  # fmt: skip
    size = data.shape[-2::-1]
    if (
        data.shape[-1] != len(JEMRIS)
        or not 1 <= len(size) <= 3
        or min(spacing.size, offset.size) < len(size)
    ):
        raise ValueError(f"sample/data: shape {data.shape}; ([Z,] Y, X, 5) is allowed")
    axes = [(np.arange(n) - 0.5 * (n - 1)) * d + o
            for n, d, o in zip(size, spacing, offset, strict=False)]  # fmt: skip
    axes += [np.zeros(1)] * (3 - len(axes))
    grid = np.meshgrid(*axes[::-1], indexing="ij")[::-1]
    present = data[..., 0].ravel() != 0
    M0, R1, R2, R2s, omega = data.reshape(-1, len(JEMRIS))[present].T
    with np.errstate(divide="ignore"):
        times = {name: 1e-3 / R for name, R in (("T1", R1), ("T2", R2), ("T2s", R2s))}
    position = np.stack([x.ravel()[present] for x in grid], axis=-1)
    return {"position": position, "M0": M0, "omega": omega, **times}


def _koma(file: Any) -> dict[str, np.ndarray]:
    """Columns, one number per spin, SI; what a file leaves out is as KomaMRI has it."""
    if "motion" in list(file) and len(h5_node(file, "motion")):
        raise ValueError("its spins move; still ones are allowed")
    columns = {name: _column(file, "position", name) for name in "xyz"}
    spins = max((x.size for x in columns.values() if x is not None), default=0)
    if not spins:
        raise ValueError("no positions")
    zeros = np.zeros(spins)
    position = np.stack([zeros if x is None else x for x in columns.values()], axis=-1)
    contrast = {name: _column(file, "contrast", label) for name, label in KOMA.items()}
    usual = {"M0": 1.0, "T1": 1e6, "T2": 1e6, "T2s": 1e6, "omega": 0.0}
    known = {n: np.full(spins, usual[n]) if x is None else x for n, x in contrast.items()}
    return {"position": position, **known}


def _column(file: Any, group: str, name: str) -> np.ndarray | None:
    """Of a data set, or of a group with values, which may point into a table, from 1 on."""
    if name not in list(h5_node(file, group)):
        return None
    node = h5_node(file, f"{group}/{name}")
    if node.attrs.get("type") in ("Default", b"Default"):
        return None
    if hasattr(node, "shape"):
        return _numbers(node).ravel()
    values = _numbers(h5_node(node, "values")).ravel()
    if node.attrs.get("type") in ("Indexed", b"Indexed"):
        table, index = _numbers(h5_node(node, "table")).ravel(), values.astype(np.int64) - 1
        if index.size and not 0 <= index.min() <= index.max() < table.size:
            raise ValueError(f"{node.name}: an index out of its table")
        return table[index]
    return values
