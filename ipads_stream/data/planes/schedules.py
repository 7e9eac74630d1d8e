"""Non-uniform recordings: which increments were measured, and of how many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ipads_stream.core.files import check_size
from ipads_stream.data.planes import formats, varian
from ipads_stream.data.planes.gate import NON_UNIFORM, PARTS
from ipads_stream.data.planes.recording import Axis, Recording, UnusableData

LISTS = ("nuslist", "sampling.sch")  # beside the data: of Bruker and of Varian
MOST = 2**18  # increments


@dataclass(frozen=True)
class Sparse:
    """The schedule of a recording.

    Attributes:
        points: of the full grid.
        sampled: increments that were measured, from 0 on.
        indirect: axis of t1.
        mode: of quadrature.
        source: name of the list.
    """

    points: int
    sampled: np.ndarray
    indirect: Axis
    mode: str
    source: str


def read_sparse(path: Path, schedule: Path | None, mode: str | None) -> Sparse | None:
    """The schedule of a non-uniform recording; None where the data are uniform.

    Bruker's `nuslist` counts from 0, `acqu2s` holds the size of the full grid; lists of others
    (VnmrJ's sampling.sch, or one that is given) hold a number a line, too, and count from 1 where
    they do not hold 0 but the last increment of the grid.

    Args:
        path: of a vendor's folder or an NMRPipe file.
        schedule: a list of increments; None: the one beside the data.
        mode: of quadrature, where the file does not say it.

    Raises:
        UnusableData: a list that cannot be read or does not fit the recording.
    """
    beside = [path / name for name in LISTS if path.is_dir() and (path / name).is_file()]
    given = schedule or next(iter(beside), None)
    if given is None:
        return None
    recording = _recording(path)
    mode = mode or recording.mode
    parts = PARTS.get(mode, 1)
    listed = _listed(given)
    recorded = len(recording.traces) // parts
    announced = max(recording.announced // parts, recorded)
    points = max(announced, int(listed.max()) + (0 if listed.min() > 0 else 1))
    if listed.min() > 0 and listed.max() == points:
        listed = listed - 1
    if listed.min() < 0 or listed.max() >= points or len(np.unique(listed)) != len(listed):
        raise UnusableData(f"{given}: increments twice, below 0 or beyond {points}")
    if len(listed) not in (recorded, points) and recorded != points:
        fault = f"{len(listed)} increments are listed, {recorded} of {points} were recorded"
        raise UnusableData(f"{given}: {fault}; give the list of this recording")
    return Sparse(points, np.sort(listed), recording.indirect, mode, given.name)


def _recording(path: Path) -> Recording:
    if path.is_dir() and (path / "acqus").exists():
        return formats.read_bruker(path)
    if path.is_dir() and (path / "procpar").exists():
        return varian.read_varian(path)
    if path.is_file() and path.suffix in (".fid", ".dat", ".pipe"):
        return formats.read_nmrpipe(path)
    raise UnusableData(f"{path}: neither Bruker, Varian nor NMRPipe data; {NON_UNIFORM}")


def _listed(path: Path) -> np.ndarray:
    """Numbers of a list, one a line; comments begin with #."""
    if not path.is_file():
        raise UnusableData(f"{path}: no such list of increments")
    check_size("schedule", path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        words = [line.partition("#")[0].split() for line in lines]
        words = [word for word in words if word]
        if any(len(word) > 1 for word in words):
            raise UnusableData(f"{path}: several columns, of more dimensions; give a list of t1")
        numbers = np.array([int(word[0]) for word in words])
    except (OSError, ValueError) as error:
        if isinstance(error, UnusableData):
            raise
        raise UnusableData(f"{path}: not a list of increments ({error})") from error
    if not len(numbers) or numbers.max() > MOST or numbers.min() < 0:
        raise UnusableData(f"{path}: no increments, or more than {MOST}; give a list of t1")
    return numbers
