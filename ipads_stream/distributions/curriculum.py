"""A distribution that moves into another as training goes on."""

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact
from ipads_stream.core.fields import Instance, ruled
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import Part, hull, support_of_part
from ipads_stream.distributions.schedules import Pace
from ipads_stream.distributions.univariate import Distribution, Interval, Supports, Values

SCHEDULES = "a schedule: LinearSchedule, CosineSchedule, StepSchedule, PiecewiseSchedule"


@dataclass(frozen=True, kw_only=True)
class Curriculum(Distribution):
    """``F^-1(u) = (1 - s) F0^-1(u) + s F1^-1(u)``, s the schedule's share at the sample's index.

    The same u at both ends: as s rises a sample moves from its quantile of ``start`` to the same
    quantile of ``end``. Several parameters follow one schedule by interpolation in the YAML:
    ``schedule: ${system.amplitude.schedule}``.
    """

    start: Distribution = ruled(Part())
    end: Distribution = ruled(Part())
    schedule: Pace = ruled(Instance(of=Pace, allowed=SCHEDULES))

    @cached_property
    def paces(self) -> tuple[Pace, ...]:
        return self.schedule, *self.start.paces, *self.end.paces

    def at(self, progress: float) -> Distribution:
        share = float(self.schedule.share(np.array(progress)))
        if 0.0 < share < 1.0:
            return self
        return (self.start if share == 0.0 else self.end).at(progress)

    @property
    def label(self) -> str:
        return f"{self.start.label} → {self.end.label}"

    @cached_property
    def support(self) -> Interval:
        return hull([self.start.support, self.end.support])

    def support_given(self, supports: Supports) -> Interval:
        return hull([support_of_part(*part, supports) for part in self.parts.items()])

    @property
    def is_integer(self) -> bool:
        return self.start.is_integer and self.end.is_integer

    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        share = self.schedule.share(given.progress)
        # Before it begins and after it ends one part alone is drawn, with the bits that both give.
        first = share.item(0) if share.size else 0.0
        if first in (0.0, 1.0) and (share == first).all():
            return (self.end if first else self.start).quantile(u, given)
        if np.size(share) > np.size(u):
            u = np.broadcast_to(u, share.shape)
        start, end = self.start.quantile(u, given), self.end.quantile(u, given)
        by_sample = start.shape[:1] + (1,) * (start.ndim - 1)
        if start.ndim and start.shape == end.shape and share.shape == by_sample:
            x = np.empty(start.shape)  # one share for all draws of a sample
            shape = share.size, -1
            _mix(share.reshape(-1), start.reshape(shape), end.reshape(shape), x.reshape(shape))
        else:
            x = (1.0 - share) * start + share * end
        return np.rint(x) if self.is_integer else x.clip(*self.support)


@exact
@no_type_check
def _mix(share, start, end, x):
    for i in range(share.size):
        for j in range(x.shape[1]):
            x[i, j] = (1.0 - share[i]) * start[i, j] + share[i] * end[i, j]
