"""A distribution that moves into another as training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.parts import as_part, common_unit, hull
from ipads_stream.distributions.schedules import Schedule
from ipads_stream.distributions.univariate import Distribution


@dataclass(frozen=True, kw_only=True)
class Curriculum(Distribution):
    """``F^-1(u) = (1 - s) F0^-1(u) + s F1^-1(u)``, s the schedule's share at the sample's index.

    The same u at both ends: as s rises a sample moves from its quantile of ``start`` to the same
    quantile of ``end``. Several parameters follow one schedule by interpolation in the YAML:
    ``schedule: ${system.amplitude.schedule}``.
    """

    start: Distribution
    end: Distribution
    schedule: Schedule

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start", "end"):
            object.__setattr__(self, name, as_part(name, getattr(self, name)))
        object.__setattr__(self, "unit", common_unit(self.unit, self.parts))
        if not isinstance(self.schedule, Schedule):
            allowed = "a schedule: LinearSchedule, CosineSchedule, StepSchedule, PiecewiseSchedule"
            raise ConfigError("schedule", self.schedule, allowed)

    @property
    def parts(self) -> dict[str, Distribution]:
        return {"start": self.start, "end": self.end}

    @property
    def varies(self) -> bool:  # type: ignore[override]
        return True

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        return self.support

    @property
    def support(self) -> tuple[float, float]:
        return hull([self.start.support, self.end.support])

    def support_given(self, supports: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The hull of both ends.

        Raises:
            ConfigError: one of them refuses its circumstances.
        """
        both = []
        for name, part in self.parts.items():
            try:
                both.append(part.support_given(supports))
            except ConfigError as error:
                raise error.under(name) from None
        return hull(both)

    @property
    def is_integer(self) -> bool:
        return self.start.is_integer and self.end.is_integer

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        share = self.schedule.share(given.progress)
        # Before it begins and after it ends one part alone is drawn, with the bits that both give.
        first = share.item(0) if share.size else 0.0
        if first in (0.0, 1.0) and (share == first).all():
            return (self.end if first else self.start).quantile(u, given)
        if np.size(share) > np.size(u):
            u = np.broadcast_to(u, share.shape)
        start, end = self.start.quantile(u, given), self.end.quantile(u, given)
        of_samples = start.shape[:1] + (1,) * (start.ndim - 1)
        if start.ndim and start.shape == end.shape and share.shape == of_samples:
            x = np.empty(start.shape)  # one share for all draws of a sample
            shape = share.size, -1
            _mix(share.reshape(-1), start.reshape(shape), end.reshape(shape), x.reshape(shape))
        else:
            x = (1.0 - share) * start + share * end
        return np.rint(x) if self.is_integer else x.clip(*self._bounds)


@njit(nogil=True, cache=True, error_model="numpy")
@no_type_check
def _mix(share, start, end, x):
    for i in range(share.size):
        for j in range(x.shape[1]):
            x[i, j] = (1.0 - share[i]) * start[i, j] + share[i] * end[i, j]
