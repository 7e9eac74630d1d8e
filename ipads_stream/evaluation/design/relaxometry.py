"""Echo, inversion and flip-angle series to choose, of the systems that draw their protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays
from ipads_stream.core.units import factor
from ipads_stream.evaluation.adoption.measured import Setting, constant
from ipads_stream.evaluation.design.problem import CHOSEN, Asked, Control, Curve, Present
from ipads_stream.systems.relaxometry import Relaxometry

DRAWN = 1001  # protocols, whose medians are the one that there is
UNITS = {"time": "ms", "angle": "deg", "": ""}


@dataclass(frozen=True)
class Series:
    """Images of a system whose protocol is drawn; as of ``Problem``.

    Attributes:
        names: distributions of the system that are the protocol, the number of images aside.
        count: of images.
        time: of the acquired images by name, (N,), s.
        axis: which of them are drawn.
    """

    system: Relaxometry
    asked: Asked
    names: Sequence[str]
    count: int
    lasts: str
    time: Callable[[Arrays], Any]
    axis: str

    @cached_property
    def controls(self) -> dict[str, Control]:
        found = {}
        for name in self.names:
            drawn = getattr(self.system, name)
            unit = getattr(drawn, "unit", "") or ""
            low, high = drawn.support
            found[name] = self.asked.control(name, self.medians[name], low, high, unit)
        return {name: x for name, x in found.items() if x.low < x.high}

    @cached_property
    def medians(self) -> dict[str, float]:
        """The protocol that there is: medians of what is drawn."""
        return {name: float(np.median(x)) for name, x in drawn_once(self.system).items()}

    @property
    def unknown(self) -> dict[str, str]:
        return {name: x.scale for name, x in self.system.quantities.items() if name != "snr"}

    @property
    def size(self) -> str:
        return f"{self.count} images"

    def acquired(self, params: Arrays, controls: Arrays) -> tuple[Arrays, Any]:
        """The acquisition (B, N) of chosen controls, and which images there are."""
        columns = {name: controls.get(name, self.medians[name]) for name in self.names}
        columns[number_of(self.system)] = self.count
        like = torch.zeros_like(params["snr"])
        return self.system.acquisition(params | {name: like + x for name, x in columns.items()})

    def signal(self, params: Arrays, controls: Arrays) -> Any:
        acquired, _ = self.acquired(params, controls)
        acquired = {name: x[:, : self.count] for name, x in acquired.items()}
        columns = {name: x[:, None] for name, x in params.items()}
        return columns["snr"] * self.system.relaxation(acquired, columns)

    def duration(self, controls: Arrays) -> Any:
        return self.time(self._one(controls))

    def curve(self, controls: Arrays) -> Curve:
        values = self._one(controls)[self.axis].detach().numpy()
        unit = UNITS["angle" if self.axis == "flip" else "time"]
        label = {"TE": "echo time", "TI": "inversion time", "flip": "flip angle"}[self.axis]
        return Curve(values / factor(unit), "image", f"{label} ({unit})")

    def settings(
        self, controls: Arrays, folder: Path
    ) -> tuple[Mapping[str, Setting], Sequence[str]]:
        del folder
        found = {number_of(self.system): Setting(constant(self.count), CHOSEN)}
        for name, values in controls.items():
            unit = self.controls[name].unit
            value = constant(float(values[0]) / factor(unit), unit)
            found[name] = Setting(value, CHOSEN)
        return found, []

    def _one(self, controls: Arrays) -> Arrays:
        """The acquisition of one voxel with a B1 of 1, (N,)."""
        one = {name: torch.ones(1, dtype=torch.float64) for name in self.medians}
        acquired, _ = self.acquired(one, controls)
        return {name: x[0, : self.count] for name, x in acquired.items()}


def echo_trains(system: Any, asked: Asked) -> tuple[Present, list[Series]]:
    """First echo, spacing and number of the echoes of a train."""
    names = ("spacing",) if system.first_echo is None else ("first_echo", "spacing")
    return _series(system, asked, names, "the train of echoes", _last_echo, "TE")


def flip_angles(system: Any, asked: Asked) -> tuple[Present, list[Series]]:
    """Flip angles, repetition time and number of spoiled gradient echoes."""
    names = ("smallest_flip", "largest_flip", "crowding", "TR")
    return _series(system, asked, names, "a line of k-space in all images", _repetitions, "flip")


def inversion_times(system: Any, asked: Asked) -> tuple[Present, list[Series]]:
    """Inversion times, repetition time and number of images of an inversion recovery."""
    names = ("first_TI", "last_TI", "crowding", "delay")
    return _series(system, asked, names, "a line of k-space in all images", _repetitions, "TI")


def _last_echo(acquired: Arrays) -> Any:
    return acquired["TE"].max()


def _repetitions(acquired: Arrays) -> Any:
    return acquired["TR"].sum()


def _series(
    system: Relaxometry, asked: Asked, names: Sequence[str], lasts: str,
    time: Callable[[Arrays], Any], axis: str,
) -> tuple[Present, list[Series]]:  # fmt: skip
    number = number_of(system)
    asked.check((*names, number))
    least, most = (int(x) for x in system.number.support)
    median = float(asked.count or np.median(drawn_once(system)[number]))
    start = round(asked.started(number, median))
    for key, count in (("count", asked.count), (f"start.{number}", start)):
        if count is not None and not least <= count <= most:
            raise ConfigError(key, count, f"{least} to {most}, the range of {number}")
    counts = range(least, most + 1) if asked.count is None else [asked.count]
    made = {n: Series(system, asked, names, n, lasts, time, axis) for n in {start, *counts}}
    first = made[start]
    begin = {name: torch.as_tensor(x.start) for name, x in first.controls.items()}
    present = Present(
        lambda params: first.signal(params, begin),
        float(first.duration(begin)), first.curve(begin), first.size,
    )  # fmt: skip
    return present, [made[n] for n in counts]


def number_of(system: Relaxometry) -> str:
    """The name of the distribution of the number of images."""
    return next(n for n, x in system.distributions().items() if x is system.number)


def drawn_once(system: Relaxometry) -> Arrays:
    """Parameters of voxels, whose medians are the protocol that there is."""
    keys = Keys(0, "design/protocol", np.arange(DRAWN, dtype=np.uint64))
    return system.draw(keys, np.full(DRAWN, np.inf))
