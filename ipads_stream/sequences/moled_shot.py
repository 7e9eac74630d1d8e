"""The arguments of a MOLED sequence, as a system's configuration keeps them."""

import math
from collections.abc import Sequence as Listed
from dataclasses import dataclass, fields
from typing import Any

from ipads_stream.core.description import describe
from ipads_stream.core.fields import keep
from ipads_stream.sequences.moled import moled
from ipads_stream.sequences.sequence import Sequence


@dataclass(frozen=True, kw_only=True)
class MoledShot:
    """Several excitations, one refocusing pulse and one train of lines.

    Attributes:
        matrix: samples of a line, and lines.
        fov: m, square.
        flip: of each excitation, rad.
        pulse_times: of the excitations, s from the first; None: those of sequences/moled.py.
        refocusing_time, centre_time: of the refocusing pulse and of the train's k = 0, s.
        offsets_x, offsets_y: of the echoes, as shares of the sampled extent; None: as there.
        dwell: time between samples, s.
        acceleration: R; one line of R is sampled.

    Raises:
        ConfigError: what the scanner cannot play, by name.
    """

    matrix: int = 64
    fov: float = 0.22
    flip: float = math.radians(30)
    pulse_times: Listed[float] | None = None
    refocusing_time: float = 55e-3
    centre_time: float = 88e-3
    offsets_x: Listed[float] | None = None
    offsets_y: Listed[float] | None = None
    dwell: float = 12e-6
    acceleration: int = 1

    def __post_init__(self) -> None:
        for name in ("pulse_times", "offsets_x", "offsets_y"):
            value = getattr(self, name)
            if isinstance(value, list):
                keep(self, **{name: tuple(value)})
        _ = self.sequence()

    def describe(self) -> dict[str, Any]:
        """As plain data, without an acceleration of 1, which runs made before there was one lack:
        their hashes stay what they were."""
        names = [each.name for each in fields(self)]
        if self.acceleration == 1:
            names.remove("acceleration")
        values = {name: describe(getattr(self, name)) for name in names}
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **values}

    def sequence(self) -> Sequence:
        """The blocks that are played."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        listed: dict[str, Any] = {
            name: [*x] if isinstance(x, tuple) else x for name, x in values.items()
        }
        return moled(**listed)
