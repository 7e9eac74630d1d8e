"""The distribution of measured values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.lines import Lines
from ipads_stream.distributions.measured_values import read_values
from ipads_stream.distributions.tabulated import tabulate
from ipads_stream.distributions.univariate import Distribution

METHODS = ("histogram", "kernel")
MOST_BINS = 100_000
MOST_KERNELS = 512  # more values are represented by as many of their quantiles
KERNEL_TOLERANCE = 1e-5  # of F, far below what any number of values tells


@dataclass(frozen=True, kw_only=True)
class Empirical(Distribution):
    """The values of a file, by a histogram or by Gaussian kernels, on a bounded support.

    Histogram: ``bins`` of equal width, uniform inside. Kernel density: ``F(x) = mean Phi((x - x_i)
    / h)``, mirrored at both ends of the support so that nothing leaks out of it, h by Silverman's
    rule unless given.

    Attributes:
        path: CSV, NPY or NIfTI file, relative to the working directory.
        column: of the file (see :func:`read_values`).
        method: "histogram" or "kernel".
        bins: of the histogram.
        bandwidth: h in ``unit``; None: 0.9 min(std, IQR / 1.34) n^(-1/5).
        low, high: support in ``unit``; values outside it are left out; None: the extreme values.
        sha256: of the file; filled in when the file is read. A configuration that holds it refuses
            a file that has changed.

    Source: Silverman, Density estimation, 1986, Eq. 3.31; mirroring: section 2.10.
    """

    path: str
    column: str | int | None = None
    method: str = "histogram"
    bins: int = 64
    bandwidth: float | None = None
    low: float | None = None
    high: float | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ConfigError("method", self.method, f"one of {', '.join(METHODS)}")
        is_whole = isinstance(self.bins, int) and not isinstance(self.bins, bool)
        if not is_whole or not 1 <= self.bins <= MOST_BINS:
            raise ConfigError("bins", self.bins, f"a whole number, 1 to {MOST_BINS}")
        for name in ("bandwidth", "low", "high"):
            if getattr(self, name) is not None:
                self._number(name)
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise ConfigError("bandwidth", self.bandwidth, "above 0")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ConfigError("low", self.low, f"below high={self.high:g}")
        _ = self._values  # reads and checks the file
        found = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        if self.sha256 is not None and self.sha256 != found:
            allowed = f"{found}, of the file {self.path} (which has changed)"
            raise ConfigError("sha256", self.sha256, allowed)
        object.__setattr__(self, "sha256", found)

    @cached_property
    def _values(self) -> Float[np.ndarray, " n"]:
        """Those within the support, in ``unit``, rising."""
        values = np.sort(read_values(self.path, self.column))
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        inside = values[(values >= low) & (values <= high)]
        if inside.size < 2 or inside[0] == inside[-1]:
            allowed = f"a file with at least 2 different values from {low:g} to {high:g}"
            raise ConfigError("path", self.path, allowed)
        return inside

    def _bounds(self) -> tuple[float, float]:
        low = float(self._values[0]) if self.low is None else self.low
        high = float(self._values[-1]) if self.high is None else self.high
        return low, high

    @property
    def support(self) -> tuple[float, float]:
        low, high = self._bounds()
        return self._si(low), self._si(high)

    @cached_property
    def _knots(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Values (SI) and the probability up to each."""
        low, high = self._bounds()
        if self.method == "histogram":
            counts, edges = np.histogram(self._values, bins=self.bins, range=(low, high))
            levels = np.concatenate([[0.0], np.cumsum(counts) / self._values.size])
        else:
            h = self._bandwidth()
            start = np.linspace(low, high, 3 + int(np.ceil(min((high - low) / h, 1000.0))))
            edges, levels = tabulate(self._kernel_cdf, start, KERNEL_TOLERANCE)
        levels[0], levels[-1] = 0.0, 1.0
        si = np.array([self._si(edge) for edge in edges])
        si[0], si[-1] = self.support
        return si, levels

    def _bandwidth(self) -> float:
        if self.bandwidth is not None:
            return self.bandwidth
        x = self._values
        quartiles = np.quantile(x, [0.25, 0.75])
        spreads = [float(np.std(x, ddof=1)), float(np.diff(quartiles)[0]) / 1.34]
        return 0.9 * min(s for s in spreads if s > 0) * x.size**-0.2

    @cached_property
    def _centres(self) -> Float[np.ndarray, " n"]:
        if self._values.size <= MOST_KERNELS:
            return self._values
        return np.quantile(self._values, (np.arange(MOST_KERNELS) + 0.5) / MOST_KERNELS)

    def _kernel_cdf(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        low, high = self._bounds()
        h = self._bandwidth()
        images = np.concatenate([self._centres, 2 * low - self._centres, 2 * high - self._centres])
        ends = [np.sum(ndtr((end - images) / h)) for end in (low, high)]
        inside = np.clip(x, low, high)
        total = np.empty(x.size)
        for at in range(0, x.size, 256):
            total[at : at + 256] = ndtr((inside[at : at + 256, None] - images) / h).sum(axis=1)
        return np.where(x < low, 0.0, (total - ends[0]) / (ends[1] - ends[0]))

    @cached_property
    def _lines(self) -> Lines:
        values, levels = self._knots
        return Lines(levels, values)

    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return self._lines(u)

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        return np.interp(x, *self._knots)
