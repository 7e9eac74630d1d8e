"""Schedules of fingerprinting: flip angles and timings of every frame, ready or from a file."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.fingerprint import SPOILING
from ipads_stream.sequences.fisp_fingerprint import sine_lobes

COLUMNS = {"FA": math.pi / 180, "PH": math.pi / 180, "TR": 1e-3, "TE": 1e-3}  # degrees, ms
EPI_FRAMES = 25


class Frames(NamedTuple):
    """What physics.fingerprint takes first: ``fingerprint(*frames, T1=..., T2=...)``.

    flip, phase: of the pulses, rad, (frames,).
    TR, TE: s, (frames,).
    TI: from the inversion to the first pulse, s; None: no inversion.
    spoiling: "gradient" or "ideal".
    """

    flip: Float[np.ndarray, " frames"]
    phase: Float[np.ndarray, " frames"]
    TR: Float[np.ndarray, " frames"]
    TE: Float[np.ndarray, " frames"]
    TI: float | None
    spoiling: str


class Schedule(Protocol):
    """A schedule as a configuration describes it."""

    @property
    def frames(self) -> Frames: ...


@dataclass(frozen=True, kw_only=True)
class SineLobes:
    """FISP with flip angles in half sine waves and constant timings; it encodes T1 and T2.

    Attributes:
        num_frames: pulses.
        TR, TE: s.
        TI: from the inversion to the first pulse, s; None: no inversion.
        spoiling: "gradient" or "ideal".

    Source: Jiang et al., Magnetic Resonance in Medicine 74(6), 2015, for the kind of train; the
    numbers are ours (fisp_fingerprint.py).
    """

    num_frames: int = 200
    TR: float = 14e-3
    TE: float = 3e-3
    TI: float | None = 20e-3
    spoiling: str = "gradient"

    def __post_init__(self) -> None:
        _count("num_frames", self.num_frames)
        _ = self.frames

    @property
    def frames(self) -> Frames:
        flip = sine_lobes(self.num_frames)
        return checked(flip, 0.0, self.TR, self.TE, self.TI, self.spoiling)


@dataclass(frozen=True, kw_only=True)
class VaryingEchoes:
    """25 frames of EPI whose flip angle, TR and TE vary, so that T1 and T2 are encoded.

    No dephasing within a voxel is simulated: what is called T2 is T2* where there is some.

    Attributes:
        TE_range, TR_range: shortest and longest, s; the orders are those of multiples modulo 25.
        flip_range: rad; half sine waves of 13 frames rise from the first to the second.
        TI: from the inversion to the first pulse, s; None: no inversion.
        spoiling: "gradient" or "ideal".

    Source: Cohen, Zhu, Rosen, MR fingerprinting deep reconstruction network (DRONE), Magnetic
    Resonance in Medicine 80(3), 2018: 25 frames. Its schedule is not in what was read; ours is one
    of a few that were tried, that of the lowest Cramer-Rao bounds.
    """

    TE_range: Sequence[float] = (20e-3, 100e-3)
    TR_range: Sequence[float] = (140e-3, 236e-3)
    flip_range: Sequence[float] = (math.radians(30), math.radians(90))
    TI: float | None = 20e-3
    spoiling: str = "gradient"

    def __post_init__(self) -> None:
        for name in ("TE_range", "TR_range", "flip_range"):
            ends = getattr(self, name)
            if not isinstance(ends, (list, tuple)) or len(ends) != 2:
                raise ConfigError(name, ends, "two numbers")
            object.__setattr__(self, name, tuple(ends))
        _ = self.frames

    @property
    def frames(self) -> Frames:
        n = np.arange(EPI_FRAMES)

        def spread(ends: Sequence[float], share: np.ndarray) -> np.ndarray:
            return np.asarray(ends[0] + (ends[1] - ends[0]) * share)

        return checked(
            spread(self.flip_range, np.sin(np.pi * (n % 13 + 0.5) / 13)),
            0.0,
            spread(self.TR_range, (11 * n) % EPI_FRAMES / (EPI_FRAMES - 1)),
            spread(self.TE_range, (7 * n) % EPI_FRAMES / (EPI_FRAMES - 1)),
            self.TI,
            self.spoiling,
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleFile:
    """The first frames of a file: YAML, CSV or MAT, columns FA, PH in degrees and TR, TE in ms.

    Attributes:
        path: of the file; one that is not there is looked for in the folder IPADS_DATA.
        num_frames: of them; None: all.
        TE: s, where the file has none.
        TI: from the inversion to the first pulse, s; None: no inversion.
        spoiling: "gradient" or "ideal".
        sha256: of the file, "": whatever it holds. It is filled in, so that a configuration that
            was written down does not go on with another file of that name.
    """

    path: str
    num_frames: int | None = None
    TE: float | None = None
    TI: float | None = 20e-3
    spoiling: str = "gradient"
    sha256: str = field(default="")

    def __post_init__(self) -> None:
        path = found(self.path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.sha256 not in ("", digest):
            raise ConfigError("sha256", self.sha256, f"{digest}, that of {path}")
        object.__setattr__(self, "sha256", digest)
        columns = read_schedule(path)
        length = max(map(len, columns.values()))
        count = length if self.num_frames is None else _count("num_frames", self.num_frames)
        if count > length:
            raise ConfigError("num_frames", count, f"at most the {length} of {path}")
        TE = columns["TE"][:count] if "TE" in columns else self.TE
        if TE is None:
            raise ConfigError("TE", None, f"a time in seconds: {path} has none")
        object.__setattr__(
            self,
            "_frames",
            checked(
                columns["FA"][:count],
                columns["PH"][:count] if "PH" in columns else 0.0,
                columns["TR"][:count],
                TE,
                self.TI,
                self.spoiling,
            ),
        )

    @property
    def frames(self) -> Frames:
        frames: Frames = self._frames  # type: ignore[attr-defined]
        return frames


def checked(flip: Any, phase: Any, TR: Any, TE: Any, TI: float | None, spoiling: str) -> Frames:
    """The frames of a schedule, in SI.

    Raises:
        ConfigError: a number that is not finite, a flip angle below 0 or all of them 0, TE outside
            0 to TR, lengths that differ, another word for spoiling; by name.
    """
    size = np.size(flip)
    named = {"flip": flip, "phase": phase, "TR": TR, "TE": TE}
    columns = {}
    for name, values in named.items():
        try:
            columns[name] = np.array(np.broadcast_to(np.asarray(values, float), (size,)))
        except (TypeError, ValueError):
            raise ConfigError(name, values, f"a number, or {size} of them") from None
        if not np.isfinite(columns[name]).all():
            raise ConfigError(name, values, "finite numbers")
    flip, TR, TE = columns["flip"], columns["TR"], columns["TE"]
    if not ((flip >= 0).all() and (flip > 0).any()):
        raise ConfigError("flip", flip.min(initial=0.0), "angles of 0 or more, some above 0")
    if not ((TE >= 0) & (TE < TR)).all():
        at = int(np.argmax((TE < 0) | (TE >= TR)))
        raise ConfigError("TE", float(TE[at]), f"0 or more, below TR={TR[at]:g} of frame {at}")
    is_time = isinstance(TI, (int, float)) and not isinstance(TI, bool) and 0 <= TI < math.inf
    if TI is not None and not is_time:
        raise ConfigError("TI", TI, "a time in seconds, 0 or more, or null")
    if spoiling not in SPOILING:
        raise ConfigError("spoiling", spoiling, f"one of {', '.join(SPOILING)}")
    return Frames(flip, columns["phase"], TR, TE, TI, spoiling)


def read_schedule(path: Path) -> dict[str, Float[np.ndarray, " frames"]]:
    """The columns FA, PH (rad) and TR, TE (s) of a file, those that it has.

    Args:
        path: .yaml or .yml (lists by name), .csv (names in the first line) or .mat (MATLAB 5).

    Raises:
        ConfigError: another kind of file, a column that is missing, of no numbers or of another
            length.
    """
    readers = {".yaml": _yaml, ".yml": _yaml, ".csv": _csv, ".mat": _mat}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError("path", str(path), f"a file that ends in {', '.join(readers)}")
    given = reader(path)
    columns = {}
    for name, unit in COLUMNS.items():
        if name not in given:
            continue
        try:
            columns[name] = np.asarray(given[name], dtype=float).ravel() * unit
        except (TypeError, ValueError):
            raise ConfigError("path", str(path), f"numbers in the column {name}") from None
    for name in ("FA", "TR"):
        if name not in columns:
            raise ConfigError("path", str(path), f"a file with the columns FA and TR; no {name}")
    length = len(columns["FA"])
    for name, values in columns.items():
        if len(values) not in (1, length):
            allowed = f"{length} values in the column {name}, as in FA, or one; not {len(values)}"
            raise ConfigError("path", str(path), allowed)
        columns[name] = np.array(np.broadcast_to(values, (length,)))
    return columns


def found(path: str) -> Path:
    """The file itself, or that of the same relative path in the folder IPADS_DATA.

    Raises:
        ConfigError: neither is there.
    """
    data = os.environ.get("IPADS_DATA", "")
    for candidate in (Path(path), *([Path(data) / path] if data else [])):
        if candidate.is_file():
            return candidate
    raise ConfigError("path", path, "a file that exists, also below the folder IPADS_DATA")


def _yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        given = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError("path", str(path), f"YAML ({' '.join(str(error).split())})") from None
    if not isinstance(given, Mapping):
        raise ConfigError("path", str(path), "lists by name: FA, PH, TR, TE")
    return given


def _csv(path: Path) -> Mapping[str, Any]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    names = rows[0].keys() if rows else ()
    return {str(name).strip(): [row[name] for row in rows] for name in names}


def _mat(path: Path) -> Mapping[str, Any]:
    from scipy.io import loadmat

    try:
        given: Mapping[str, Any] = loadmat(path)
    except Exception as error:  # of many kinds, as the file is
        raise ConfigError("path", str(path), f"a MATLAB file of version 5 ({error})") from None
    return given


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(name, value, "a whole number, at least 1")
    return value
