"""Schedules of fingerprinting: flip angles and timings of every frame, ready or from a file."""

import csv
import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, check, choice, keep, number, ruled, whole
from ipads_stream.core.files import bounded
from ipads_stream.core.matlab import read_mat
from ipads_stream.physics.epg.fingerprint import SPOILING
from ipads_stream.sequences.fisp_fingerprint import sine_lobes

COLUMNS = {"FA": math.pi / 180, "PH": math.pi / 180, "TR": 1e-3, "TE": 1e-3}  # degrees, ms
FORMATS = {".yaml": "YAML", ".yml": "YAML", ".csv": "CSV", ".mat": "a MATLAB file of version 5"}
EPI_FRAMES = 25
MOST_YAML = 1 << 22


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


class FrameSchedule(Protocol):
    """A schedule of frames as a configuration describes it."""

    @property
    def frames(self) -> Frames: ...


@dataclass(frozen=True, kw_only=True)
class _Schedule(ABC):
    """What all schedules say: TI, and how transverse magnetisation is spoiled."""

    TI: float | None = number(20e-3, low=0.0, optional=True)
    spoiling: str = choice("gradient", among=SPOILING)

    def __post_init__(self) -> None:
        check(self)
        _ = self.frames

    @property
    @abstractmethod
    def frames(self) -> Frames: ...


@dataclass(frozen=True, kw_only=True)
class SineLobes(_Schedule):
    """FISP with flip angles in half sine waves and constant timings; it encodes T1 and T2.

    Attributes:
        num_frames: pulses.
        TR, TE: s.
        TI, spoiling: as of Frames.

    Source: Jiang et al., Magnetic Resonance in Medicine 74(6), 2015, for the kind of train; the
    numbers are ours (fisp_fingerprint.py).
    """

    num_frames: int = whole(200, low=1, high=100_000)
    TR: float = 14e-3
    TE: float = 3e-3

    @property
    def frames(self) -> Frames:
        return frames_of(self, sine_lobes(self.num_frames), 0.0, self.TR, self.TE)


@dataclass(frozen=True, kw_only=True)
class VaryingEchoes(_Schedule):
    """25 frames of EPI whose flip angle, TR and TE vary, so that T1 and T2 are encoded.

    No dephasing within a voxel is simulated: what is called T2 is T2* where there is some.

    Attributes:
        TE_range, TR_range: shortest and longest, s; the orders are those of multiples modulo 25.
        flip_range: rad; half sine waves of 13 frames rise from the first to the second.
        TI, spoiling: as of Frames.

    Source: Cohen, Zhu, Rosen, MR fingerprinting deep reconstruction network (DRONE), Magnetic
    Resonance in Medicine 80(3), 2018: 25 frames. Its schedule is not in what was read; ours is one
    of a few that were tried, that of the lowest Cramer-Rao bounds.
    """

    TE_range: Sequence[float] = ruled(Numbers(count=2), (20e-3, 100e-3))
    TR_range: Sequence[float] = ruled(Numbers(count=2), (140e-3, 236e-3))
    flip_range: Sequence[float] = ruled(Numbers(count=2), (math.radians(30), math.radians(90)))

    @property
    def frames(self) -> Frames:
        n = np.arange(EPI_FRAMES)

        def spread(ends: Sequence[float], share: np.ndarray) -> np.ndarray:
            return np.asarray(ends[0] + (ends[1] - ends[0]) * share)

        flip = spread(self.flip_range, np.sin(np.pi * (n % 13 + 0.5) / 13))
        TR = spread(self.TR_range, (11 * n) % EPI_FRAMES / (EPI_FRAMES - 1))
        TE = spread(self.TE_range, (7 * n) % EPI_FRAMES / (EPI_FRAMES - 1))
        return frames_of(self, flip, 0.0, TR, TE)


@dataclass(frozen=True, kw_only=True)
class ScheduleFile(_Schedule):
    """The first frames of a file: YAML, CSV or MAT, columns FA, PH in degrees and TR, TE in ms.

    Attributes:
        path: of the file; one that is not there is looked for in the folder IPADS_DATA.
        num_frames: of them; None: all.
        TE: s, where the file has none.
        TI, spoiling: as of Frames.
        sha256: of the file, "": whatever it holds. It is filled in, so that a saved configuration
            refuses another file of that name.
    """

    path: str
    num_frames: int | None = whole(None, low=1, optional=True)
    TE: float | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        check(self)
        path = located(self.path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.sha256 not in ("", digest):
            raise ConfigError("sha256", self.sha256, f"{digest}, that of {path}")
        columns = read_schedule(path)
        length = len(columns["FA"])
        if (self.num_frames or 1) > length:
            raise ConfigError("num_frames", self.num_frames, f"at most the {length} of {path}")
        columns = {name: values[: self.num_frames] for name, values in columns.items()}
        TE = columns.get("TE", self.TE)
        if TE is None:
            raise ConfigError("TE", None, f"a time in seconds: {path} has none")
        frames = frames_of(self, columns["FA"], columns.get("PH", 0.0), columns["TR"], TE)
        keep(self, sha256=digest, _frames=frames)

    @property
    def frames(self) -> Frames:
        frames: Frames = self._frames  # type: ignore[attr-defined]
        return frames


def frames_of(schedule: Any, flip: Any, phase: Any, TR: Any, TE: Any) -> Frames:
    """The frames of a schedule, whose TI and spoiling hold for all, in SI.

    Raises:
        ConfigError: a number that is not finite, a flip angle below 0 or all of them 0, TE outside
            0 to TR, lengths that differ; by name.
    """
    size, columns = np.size(flip), {}
    for name, values in {"flip": flip, "phase": phase, "TR": TR, "TE": TE}.items():
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
    return Frames(flip, columns["phase"], TR, TE, schedule.TI, schedule.spoiling)


def read_schedule(path: Path) -> dict[str, Float[np.ndarray, " frames"]]:
    """The columns FA, PH (rad) and TR, TE (s) of a file, those that it has.

    It ends in .yaml or .yml (lists by name), .csv (names in the first line) or .mat (MATLAB 5).
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError("path", str(path), f"a file that ends in {', '.join(FORMATS)}")
    try:
        content = _content(path)
    except ConfigError:
        raise
    except Exception as error:  # of many kinds, as the file is
        form, reason = FORMATS[path.suffix.lower()], " ".join(str(error).split())
        raise ConfigError("path", str(path), f"{form} ({reason})") from None
    if not isinstance(content, Mapping):
        raise ConfigError("path", str(path), "lists by name: FA, PH, TR, TE")
    columns = {}
    for name in COLUMNS.keys() & content.keys():
        try:
            columns[name] = np.asarray(content[name], dtype=float).ravel() * COLUMNS[name]
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


def located(path: str) -> Path:
    """The file itself, or that of the same relative path in the folder IPADS_DATA."""
    data = os.environ.get("IPADS_DATA", "")
    for candidate in (Path(path), *([Path(data) / path] if data else [])):
        if candidate.is_file():
            return candidate
    raise ConfigError("path", path, "a file that exists, also below the folder IPADS_DATA")


def _content(path: Path) -> Any:
    """Columns by name, as the file's reader gives them."""
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        import yaml

        if path.stat().st_size > MOST_YAML:
            raise ConfigError("path", str(path), f"at most {MOST_YAML} bytes of YAML")
        return bounded(yaml.safe_load(path.read_text()))  # aliases counted: arrays copy them
    if suffix == ".mat":
        return read_mat("path", path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    return {str(name).strip(): [row[name] for row in rows] for name in (rows[0] if rows else ())}
