"""A protocol to choose: its numbers, their limits, and the signal that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.core.sample import Arrays
from ipads_stream.evaluation.adoption.measured import Setting

CHOSEN = "chosen by the bound"


@dataclass(frozen=True)
class Control:
    """Numbers of a protocol that are chosen, SI.

    Attributes:
        start: where the search begins, (n,).
        low, high: their limits.
        unit: of reports.
    """

    start: Float[np.ndarray, " n"]
    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Curve:
    """A protocol as it is drawn.

    Attributes:
        values: of its images, echoes or frames, in the unit of the label.
        counted: what they are, "echo".
        label: what the values are.
    """

    values: Float[np.ndarray, " n"]
    counted: str
    label: str


@runtime_checkable
class Problem(Protocol):
    """What may be chosen of a system's protocol, and what follows from it.

    Parameters (B,) and controls (n,) are of torch, in float64.

    Attributes:
        controls: by name.
        unknown: parameters that an estimate does not know, the amplitude aside, and whether "log"
            or "linear" steps of them count alike.
        lasts: what ``duration`` is the duration of.
        size: how many images or frames there are, in words.
    """

    @property
    def controls(self) -> Mapping[str, Control]: ...

    @property
    def unknown(self) -> Mapping[str, str]: ...

    @property
    def lasts(self) -> str: ...

    @property
    def size(self) -> str: ...

    def signal(self, params: Arrays, controls: Arrays) -> Any:
        """(B, N), real or complex, over the standard deviation of the noise in one real channel,
        which no control changes."""
        ...

    def duration(self, controls: Arrays) -> Any:
        """s."""
        ...

    def curve(self, controls: Arrays) -> Curve: ...

    def settings(
        self, controls: Arrays, folder: Path
    ) -> tuple[Mapping[str, Setting], Sequence[str]]:
        """Fields of the system for chosen controls, of NumPy, and notes; writes files in folder."""
        ...


@dataclass(frozen=True)
class Present:
    """The protocol that there is.

    Attributes:
        signal: of parameters, as of Problem.
        duration: s.
        curve: as it is drawn.
        size: in words.
    """

    signal: Callable[[Arrays], Any]
    duration: float
    curve: Curve
    size: str


def present(problem: Problem, there: Mapping[str, float]) -> Present:
    """That of a problem's numbers as they are."""
    now = {name: torch.tensor([x], dtype=torch.float64) for name, x in there.items()}
    return Present(
        lambda params: problem.signal(params, now), float(problem.duration(now)),
        problem.curve(now), problem.size,
    )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What the user says of the protocol.

    Attributes:
        budget: longest duration, s; None: that of the protocol that there is.
        count: of images or echoes; None: the best of those that the system has.
        start: of the protocol that there is, SI, by name.
        limits: lowest and highest value of a control, SI, by name.
    """

    budget: float | None
    count: int | None
    start: Mapping[str, Any]
    limits: Mapping[str, Any]

    def control(
        self, name: str, start: float, ends: tuple[float, float], possible: tuple[float, float],
        unit: str,
    ) -> Control:  # fmt: skip
        """A control of one number; the search begins at its start, or at the limit next to it.

        Raises:
            ConfigError: as of ``limits_of``.
        """
        low, high = self.limits_of(name, ends, possible)
        return Control(np.array([min(max(start, low), high)]), low, high, unit)

    def limits_of(
        self, name: str, ends: tuple[float, float], possible: tuple[float, float]
    ) -> tuple[float, float]:
        """The user's limits of a control, or those given.

        Raises:
            ConfigError: limits that are no interval, or lie outside of what is possible.
        """
        if name not in self.limits:
            return ends
        given = self.limits[name]
        allowed = f"two numbers in SI of {possible[0]:g} to {possible[1]:g}, the lower one first"
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise ConfigError(f"limits.{name}", given, allowed)
        first, last = (float(Number()(f"limits.{name}", x)) for x in given)
        if not possible[0] <= first < last <= possible[1]:
            raise ConfigError(f"limits.{name}", given, allowed)
        return first, last

    def started(self, name: str, start: float) -> float:
        """The user's start of a number of the protocol, or the one given."""
        return float(Number(above=0)(f"start.{name}", self.start.get(name, start)))

    def check(self, controls: Sequence[str], *others: str) -> None:
        """Refuses keys of ``limits`` that no control has, of ``start`` neither one nor others."""
        for key, given, names in (
            ("start", self.start, (*controls, *others)), ("limits", self.limits, controls),
        ):  # fmt: skip
            for name in given:
                if name not in names:
                    allowed = f"one of {', '.join(names)}" if names else "null"
                    raise ConfigError(f"{key}.{name}", given[name], allowed)


def scales(system: Any, names: Iterable[str]) -> dict[str, str]:
    """On which scale steps of parameters count alike: of quantities their own, else "linear"."""
    own = {name: x.scale for name, x in system.quantities.items()}
    return {name: own.get(name, "linear") for name in names}
