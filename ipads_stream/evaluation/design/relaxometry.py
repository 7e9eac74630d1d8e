"""Echo, inversion and flip-angle series to choose, of the systems that draw their protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipads_stream.core.fields import Whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays
from ipads_stream.core.units import factor
from ipads_stream.distributions.parameters import rules_of
from ipads_stream.evaluation.adoption.measured import Setting, constant
from ipads_stream.evaluation.design.problem import (
    CHOSEN,
    Asked,
    Control,
    Curve,
    Present,
    present,
    scales,
)
from ipads_stream.systems.relaxometry import Relaxometry

DRAWN = 1001  # protocols, whose medians are the one that there is
LABELS = {"TE": ("echo time", "ms"), "TI": ("inversion time", "ms"), "flip": ("flip angle", "deg")}


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
    names: Sequence[str]
    controls: Mapping[str, Control]
    count: int
    lasts: str
    time: Callable[[Arrays], Any]
    axis: str

    @property
    def unknown(self) -> dict[str, str]:
        return scales(self.system, (name for name in self.system.quantities if name != "snr"))

    @property
    def size(self) -> str:
        return f"{self.count} images"

    def acquired(self, params: Arrays, controls: Arrays) -> tuple[Arrays, Any]:
        """The acquisition (B, N) of chosen controls, and which images there are."""
        fixed = {name: getattr(self.system, name).support[0] for name in self.names}
        columns = {**fixed, **controls, number_of(self.system): self.count}
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
        label, unit = LABELS[self.axis]
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
        one = {name: torch.ones(1, dtype=torch.float64) for name in self.system.distributions()}
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
    number, (least, most) = number_of(system), (int(x) for x in system.number.support)
    asked.check(names, number)
    within = Whole(low=least, high=most, optional=True)
    count, start = within("count", asked.count), within(f"start.{number}", asked.start.get(number))
    keys = Keys(0, "design/protocol", np.arange(DRAWN, dtype=np.uint64))
    drawn = system.draw(keys, np.full(DRAWN, np.inf))
    there = {name: asked.started(name, float(np.median(drawn[name]))) for name in names}
    start = start or count or round(float(np.median(drawn[number])))
    controls = {}
    for name in names:
        distribution, possible = getattr(system, name), rules_of(system)[name].within
        ends, unit = distribution.support, getattr(distribution, "unit", "") or ""
        controls[name] = asked.control(name, there[name], ends, possible, unit)
    controls = {name: x for name, x in controls.items() if x.low < x.high}
    now = Series(system, names, controls, start, lasts, time, axis)
    counts = range(least, most + 1) if count is None else [count]
    return present(now, there), [replace(now, count=n) for n in counts]


def number_of(system: Relaxometry) -> str:
    """The name of the distribution of the number of images."""
    return next(n for n, x in system.distributions().items() if x is system.number)
