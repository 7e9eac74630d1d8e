"""Statistics of test signals that can be taken again of resampled signals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Median:
    """Median of values, several or none of which belong to each signal.

    Attributes:
        values: (units,).
        signals: number of the signal that each belongs to, (units,).
    """

    values: Float[np.ndarray, " units"]
    signals: Int[np.ndarray, " units"]

    @property
    def num_units(self) -> int:
        return len(self.values)

    def point(self) -> float:
        """The median."""
        return float(np.median(self.values))

    @cached_property
    def _order(self) -> Int[np.ndarray, " units"]:
        return np.argsort(self.values, kind="stable")

    def resampled(self, counts: Int[np.ndarray, "resamples signals"]) -> np.ndarray:
        """Medians where signal s counts ``counts[k, s]`` times, (resamples,); NaN of nothing.

        Equal to the median of the values repeated so often: half of the total weight is looked up
        in the running sum over the sorted values, instead of sorting each resample.

        Args:
            counts: whole numbers from 0.
        """
        ordered = self.values[self._order]
        found = np.full(len(counts), np.nan)
        for k, row in enumerate(counts):
            running = np.cumsum(row[self.signals[self._order]])
            total = running[-1]
            if total:
                # The two middle ones, the same where their number is odd.
                at = np.searchsorted(running, [(total - 1) // 2, total // 2], side="right")
                found[k] = 0.5 * (ordered[at[0]] + ordered[at[1]])
        return found


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of pairs, pooled over signals, from n, sum x, sum y, sum xx, sum yy, sum xy.

    Attributes:
        sums: of each signal, (signals, 6).
    """

    sums: Float[np.ndarray, "signals 6"]

    @property
    def num_units(self) -> int:
        return int(self.sums[:, 0].sum())

    def point(self) -> float:
        """r; NaN without variation."""
        return float(_correlation(self.sums.sum(axis=0)))

    def resampled(self, counts: Int[np.ndarray, "resamples signals"]) -> np.ndarray:
        """r where signal s counts ``counts[k, s]`` times, (resamples,).

        Args:
            counts: whole numbers from 0.
        """
        return _correlation(counts[:, : len(self.sums)] @ self.sums)


def correlation_sums(
    estimated: Float[np.ndarray, " pairs"], true: Float[np.ndarray, " pairs"]
) -> Float[np.ndarray, " 6"]:
    """n, sum x, sum y, sum xx, sum yy, sum xy of pairs.

    Args:
        estimated: x, any unit, (pairs,).
        true: y, any unit, (pairs,).
    """
    x, y = estimated, true
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y], dtype=np.float64)


def _correlation(sums: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "..."]:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x**2) * (n * yy - y**2)
    r = (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.nan))
    return np.asarray(np.clip(r, -1.0, 1.0))
