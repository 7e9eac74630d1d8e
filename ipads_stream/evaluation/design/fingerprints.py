"""Flip angles of a fingerprint to choose: a spline of them, at the timings of its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import BSpline

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.core.sample import Arrays
from ipads_stream.evaluation.adoption.measured import Setting
from ipads_stream.evaluation.design.problem import (
    CHOSEN,
    Asked,
    Control,
    Curve,
    Present,
    scales,
)
from ipads_stream.physics.epg import num_orders
from ipads_stream.physics.epg.fingerprint import fingerprint
from ipads_stream.sequences.fingerprint_schedules import Frames, ScheduleFile
from ipads_stream.sequences.fisp_fingerprint import fisp_fingerprint
from ipads_stream.sequences.pulseq_writing import write_pulseq
from ipads_stream.systems.drone import DRONE

KNOTS, DEGREE = 20, 3  # of the spline; fewer where there are fewer frames
MOST_FRAMES = 10_000
LOWEST, HIGHEST = math.radians(1), math.radians(90)  # flip angles, where no limits are given


@dataclass(frozen=True)
class Fingerprint:
    """Frames whose flip angles are chosen; as of ``Problem``.

    The noise is that of the schedule that there is, in units of M0: a weaker signal pays for it.

    Attributes:
        frames: timings, and the flip angles where the search begins.
        limits: lowest and highest flip angle, rad.
    """

    system: DRONE
    frames: Frames
    limits: tuple[float, float]
    lasts = "the frames"

    @property
    def unknown(self) -> dict[str, str]:
        return scales(self.system, self.system.unknown)

    @property
    def size(self) -> str:
        return f"{len(self.frames.flip)} frames"

    @cached_property
    def basis(self) -> np.ndarray:
        """Cubic splines at the frames, (frames, knots): at least 0, their sum 1."""
        count = len(self.frames.flip)
        knots = min(KNOTS, count)
        degree = min(DEGREE, knots - 1)
        inner = np.linspace(0, 1, knots - degree + 1)
        ends = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
        return BSpline.design_matrix(np.linspace(0, 1, count), ends, degree).toarray()

    @cached_property
    def controls(self) -> dict[str, Control]:
        low, high = self.limits
        nearest = np.linalg.lstsq(self.basis, self.frames.flip)[0]
        return {"flip": Control(np.clip(nearest, low, high), low, high, "deg")}

    def signal(self, params: Arrays, controls: Arrays) -> Any:
        return self.of_flips(params, torch.as_tensor(self.basis) @ controls["flip"])

    def of_flips(self, params: Arrays, flip: Any) -> Any:
        """Of the flip angle of every frame, rad, torch; over the noise."""
        noise = _rms(self.system, params) / params["snr"]
        signal = _signal(self.system, self.frames._replace(flip=flip), params)
        return signal / noise[:, None]

    def duration(self, controls: Arrays) -> Any:
        return _duration(self.frames) + 0 * controls["flip"].sum()

    def curve(self, controls: Arrays) -> Curve:
        return _curve(self.basis @ controls["flip"].detach().numpy())

    def settings(
        self, controls: Arrays, folder: Path
    ) -> tuple[Mapping[str, Setting], Sequence[str]]:
        frames = self.frames._replace(flip=self.basis @ controls["flip"])
        path = folder / "schedule.csv"
        columns = zip(np.degrees(frames.flip), np.degrees(frames.phase), 1e3 * frames.TR,
                      1e3 * frames.TE, strict=True)  # fmt: skip
        rows = (",".join(f"{x:.6g}" for x in row) for row in columns)
        write_text(path, "\n".join(["FA,PH,TR,TE", *rows]) + "\n")
        schedule = ScheduleFile(path=str(path), TI=frames.TI, spoiling=frames.spoiling)
        found = {"schedule": Setting(schedule, CHOSEN)}
        return found, [_pulseq(frames, folder / "fingerprint.seq")]


def flip_trains(system: Any, asked: Asked) -> tuple[Present, list[Fingerprint]]:
    """Flip angles of the frames of a fingerprint; a budget decides how many there are."""
    asked.check(("flip",))
    if asked.start:
        raise ConfigError("start", asked.start, "null: the schedule of the system is what there is")
    if system.snr is None:
        raise ConfigError("system.snr", None, "a distribution: without noise there is no bound")
    if asked.count is not None and asked.budget is not None:
        raise ConfigError("count", asked.count, "null: the budget says how many frames there are")
    frames = system.schedule.frames
    limits = asked.limits_of("flip", (LOWEST, HIGHEST), (0.0, math.pi))
    present = Fingerprint(system, frames, limits)
    flip = torch.as_tensor(frames.flip)
    there = Present(
        lambda params: present.of_flips(params, flip), _duration(frames), _curve(frames.flip),
        present.size,
    )  # fmt: skip
    return there, [replace(present, frames=_repeated(frames, asked))]


def _repeated(frames: Frames, asked: Asked) -> Frames:
    """As many frames as are asked for: the first ones, or all of them again and again."""
    count = asked.count or len(frames.flip)
    if asked.budget is not None:
        spare = asked.budget - (frames.TI or 0.0)
        longest = MOST_FRAMES * frames.TR.max()
        turns = math.ceil(min(max(spare, 0.0), longest) / frames.TR.sum()) + 1
        count = int(np.searchsorted(np.cumsum(np.tile(frames.TR, turns)), spare * (1 + 1e-9)))
    if not 2 <= count <= MOST_FRAMES:
        if asked.budget is None:
            raise ConfigError("count", count, f"2 to {MOST_FRAMES} frames")
        allowed = f"a duration of two to {MOST_FRAMES} frames, s"
        raise ConfigError("budget", asked.budget, allowed)
    at = np.arange(count) % len(frames.flip)
    columns = {name: getattr(frames, name)[at] for name in ("flip", "phase", "TR", "TE")}
    return frames._replace(**columns)


def _signal(system: DRONE, frames: Frames, params: Arrays) -> Any:
    tissue = {name: params[name] for name in ("T1", "T2", "B1")}
    names = ("flip", "phase", "TR", "TE")
    by_frame: dict[str, Any] = {name: torch.as_tensor(getattr(frames, name)) for name in names}
    orders = num_orders(frames.TR, *system.supports[:2])
    return fingerprint(*frames._replace(**by_frame), **tissue, orders=orders)


def _rms(system: DRONE, params: Arrays) -> Any:
    """Root mean square of the frames that there are, M0 = 1, to which ``snr`` refers, (B,)."""
    signal = _signal(system, system.schedule.frames, params)
    return torch.sqrt(torch.mean(signal.imag**2, dim=1))


def _duration(frames: Frames) -> float:
    return float(frames.TR.sum() + (frames.TI or 0.0))


def _curve(flip: np.ndarray) -> Curve:
    return Curve(np.degrees(flip), "frame", "flip angle (deg)")


def _pulseq(frames: Frames, path: Path) -> str:
    """Writes the sequence of a spiral per frame; what was written, or why none was."""
    if frames.TI is None or frames.spoiling != "gradient" or np.ptp(frames.TR) or np.ptp(frames.TE):
        return "no Pulseq file: it is written of frames of one TR and TE after an inversion"
    try:
        sequence = fisp_fingerprint(
            flips=frames.flip.tolist(), TE=float(frames.TE[0]), TR=float(frames.TR[0]), TI=frames.TI
        )
    except ConfigError as error:
        return f"no Pulseq file: {error}"
    return f"{write_pulseq(sequence, path)}: a spiral for every frame (sequence=fisp_fingerprint)"
