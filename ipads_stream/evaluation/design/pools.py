"""Echo times of the decay of several pools to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ipads_stream.core.sample import Arrays
from ipads_stream.evaluation.adoption.measured import Setting
from ipads_stream.evaluation.design.problem import (
    CHOSEN,
    Asked,
    Control,
    Curve,
    Present,
    present,
    scales,
)
from ipads_stream.systems.ann_mwf import ANNMWF

LONGER = 5.0  # times what there is: the limit of a time of which none is given
POSSIBLE = (1e-5, 10.0)  # s


@dataclass(frozen=True)
class PoolEchoes:
    """Echoes whose times are chosen; as of ``Problem``.

    The noise is that of the system's echoes: later first echoes pay for it. What there is counts as
    the shortest that the scanner plays.
    """

    system: ANNMWF
    controls: Mapping[str, Control]
    count: int
    lasts = "the train of echoes"

    @property
    def unknown(self) -> dict[str, str]:
        return scales(self.system, self.system.varying("snr"))

    @property
    def size(self) -> str:
        return f"{self.count} echoes"

    def signal(self, params: Arrays, controls: Arrays) -> Any:
        noise = self.system.forward(params)[:, 0] / params["snr"]
        return self.system.echoes(self._times(controls), params) / noise[:, None]

    def duration(self, controls: Arrays) -> Any:
        return self._times(controls)[-1]

    def curve(self, controls: Arrays) -> Curve:
        times = 1e3 * self._times(controls).detach().numpy()
        return Curve(times, "echo", "echo time (ms)")

    def settings(
        self, controls: Arrays, folder: Path
    ) -> tuple[Mapping[str, Setting], Sequence[str]]:
        del folder
        chosen = {name: float(f"{float(x[0]):.6g}") for name, x in controls.items()}
        times = {"first_echo": chosen["spacing"]} | chosen  # equal in a train of spin echoes
        found = {name: Setting(x, CHOSEN) for name, x in times.items()}
        return found | {"num_echoes": Setting(self.count, CHOSEN)}, []

    def _times(self, controls: Arrays) -> Any:
        spacing = controls["spacing"]
        return controls.get("first_echo", spacing) + spacing * torch.arange(self.count)


def pool_echoes(system: Any, asked: Asked) -> tuple[Present, list[PoolEchoes]]:
    """First echo and spacing of gradient echoes, or the spacing of spin echoes."""
    names = ("spacing",) if system.B1 is not None else ("first_echo", "spacing")
    asked.check(names)
    there = {name: asked.started(name, getattr(system, name)) for name in names}
    controls = {
        name: asked.control(name, x, (x, LONGER * x), POSSIBLE, "ms") for name, x in there.items()
    }
    now = PoolEchoes(system, controls, system.num_echoes)
    return present(now, there), [replace(now, count=asked.count or system.num_echoes)]
