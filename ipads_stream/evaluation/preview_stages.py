"""Where a system stands in its curriculum: the span of its schedules, and samples along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import (
    Curriculum,
    Distribution,
    LinearSchedule,
    PiecewiseSchedule,
    StepSchedule,
)
from ipads_stream.distributions.schedules import Schedule
from ipads_stream.evaluation.preview_parameters import distributions_of, nested
from ipads_stream.systems import System

FARTHEST = 12  # a schedule of another kind is followed up to 10^12 samples


@dataclass(frozen=True)
class Span:
    """The global sample indices from which and up to which something changes."""

    first: float
    last: float

    def index(self, percent: float) -> float:
        """Sample index at a share of the span, in whole samples."""
        return float(np.floor(self.first + (self.last - self.first) * percent / 100.0))

    def window(self) -> tuple[float, float]:
        """From where to where a picture of the span reaches, a little beyond it."""
        pad = 0.12 * (self.last - self.first)
        if self.last - self.first <= 1:  # a step
            pad = max(self.last, 1.0)
        return max(self.first - pad, 0.0), self.last + pad


@dataclass(frozen=True)
class AtProgress:
    """A system all of whose samples stand at one point of the curriculum.

    The keys stay those of the samples, so a sample keeps all its random numbers along the way.
    """

    system: System
    progress: float

    @property
    def name(self) -> str:
        return self.system.name

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self.system.draw(keys, np.full(progress.shape, self.progress))

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, keys, xp)

    def describe(self) -> Any:
        return describe(self.system)


def stages(span: Span | None, percents: Any) -> dict[str, float]:
    """Points of the curriculum that are shown: " at 50 %" -> sample index; one without a span.

    Args:
        span: of the system's schedules; None: nothing changes.
        percents: as configured.

    Raises:
        ConfigError: no list of numbers from 0 to 100.
    """
    if not isinstance(percents, (list, tuple)) or not percents:
        raise ConfigError("progress", percents, "a list of numbers from 0 to 100, in %")
    for i, value in enumerate(percents):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 100:
            raise ConfigError(f"progress[{i}]", value, "a number from 0 to 100, in %")
    if span is None:
        return {"": 0.0}
    return {f" at {value:g} %": span.index(float(value)) for value in percents}


def curricula(distribution: Distribution) -> list[Curriculum]:
    """The curricula in a distribution, outermost first."""
    return [part for part in nested(distribution) if isinstance(part, Curriculum)]


def span_of(system: Any) -> Span | None:
    """From the beginning of the system's first schedule to the end of its last; None without."""
    spans = [
        schedule_span(curriculum.schedule)
        for distribution in distributions_of(system).values()
        for curriculum in curricula(distribution)
    ]
    if not spans:
        return None
    return Span(min(span.first for span in spans), max(span.last for span in spans))


def schedule_span(schedule: Schedule) -> Span:
    """The sample indices between which a schedule changes."""
    match schedule:
        case LinearSchedule():
            return Span(schedule.begin, schedule.end)
        case StepSchedule():
            return Span(max(schedule.at - 1.0, 0.0), schedule.at)
        case PiecewiseSchedule():
            return Span(schedule.samples[0], schedule.samples[-1])
    indices = np.concatenate([[0.0], np.geomspace(1, 10.0**FARTHEST, 100 * FARTHEST + 1)])
    shares = schedule.share(indices)
    changing = np.flatnonzero(np.diff(shares))
    if not changing.size:
        return Span(0.0, 1.0)
    return Span(float(indices[changing[0]]), float(indices[changing[-1] + 1]))
