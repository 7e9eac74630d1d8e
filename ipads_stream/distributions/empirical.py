"""The distribution of measured values."""

import csv
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import choice, keep, ruled, whole
from ipads_stream.core.files import check_declared, check_nifti, load_npy
from ipads_stream.distributions.arguments import OPTIONAL_REAL, Real
from ipads_stream.distributions.tabulated import Tabulated, tabulate
from ipads_stream.distributions.univariate import Interval, Values, Vector

MOST_BINS = 100_000
MOST_QUANTILES = 4097  # a table of them is off by 1/4096 of the probability at most
MOST_KERNELS = 512  # more values are represented by as many of their quantiles
KERNEL_TOLERANCE = 1e-5  # of F, far below what any number of values tells
SUFFIXES = (".csv", ".npy", ".nii", ".nii.gz")


@dataclass(frozen=True, kw_only=True)
class Empirical(Tabulated):
    """The values of a file, by a histogram or by Gaussian kernels, on a bounded support.

    Histogram: the quantile of u is the value number (n - 1) u of the n in order, straight between
    them (or between 4,097 of them, where there are more); or ``bins`` of equal width, uniform
    inside. Kernel density: ``F(x) = mean Phi((x - x_i) / h)``, mirrored at both ends of the support
    so that nothing leaks out of it, h by Silverman's rule unless given.

    Attributes:
        path: CSV, NPY or NIfTI file, relative to the working directory.
        column: of the file (see :func:`read_values`).
        method: "histogram" or "kernel".
        bins: of the histogram, of equal width; None: as fine as the values.
        bandwidth: h in ``unit``; None: 0.9 min(std, IQR / 1.34) n^(-1/5).
        low, high: support in ``unit``; values outside it are left out; None: the extreme values.
        sha256: of the file; filled in when the file is read. A configuration that holds it refuses
            a file that has changed.

    Source: Hyndman and Fan, The American Statistician 50(4), 1996, definition 7 (quantiles);
    Silverman, Density estimation, 1986, Eq. 3.31; mirroring: section 2.10.
    """

    path: str
    column: str | int | None = None
    method: str = choice("histogram", among=("histogram", "kernel"))
    bins: int | None = whole(None, low=1, high=MOST_BINS, optional=True)
    bandwidth: float | None = ruled(Real(above=0, optional=True), None)
    low: float | None = ruled(OPTIONAL_REAL, None)
    high: float | None = ruled(OPTIONAL_REAL, None)
    sha256: str | None = None

    def check(self) -> None:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ConfigError("low", self.low, f"below high={self.high:g}")
        _ = self._values  # reads and checks the file
        digest = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        if self.sha256 is not None and self.sha256 != digest:
            allowed = f"{digest}, of the file {self.path} (which has changed)"
            raise ConfigError("sha256", self.sha256, allowed)
        keep(self, sha256=digest)

    @property
    def label(self) -> str:
        return f"Empirical ({Path(self.path).name})"

    @cached_property
    def _values(self) -> Vector:
        """Those within the support, in ``unit``, rising."""
        values = np.sort(read_values(self.path, self.column))
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        inside = values[(values >= low) & (values <= high)]
        if inside.size < 2 or inside[0] == inside[-1]:
            allowed = f"a file with at least 2 different values from {low:g} to {high:g}"
            raise ConfigError("path", self.path, allowed)
        return inside

    def _bounds(self) -> Interval:
        low = float(self._values[0]) if self.low is None else self.low
        high = float(self._values[-1]) if self.high is None else self.high
        return low, high

    @cached_property
    def _knots(self) -> tuple[Vector, Vector]:
        low, high = self._bounds()
        if self.bins is None and self.method == "histogram":
            levels = np.linspace(0.0, 1.0, min(self._values.size, MOST_QUANTILES))
            edges = np.concatenate([[low], np.quantile(self._values, levels), [high]])
            levels = np.concatenate([[0.0], levels, [1.0]])
        elif self.bins is not None and self.method == "histogram":
            counts, edges = np.histogram(self._values, bins=self.bins, range=(low, high))
            levels = np.concatenate([[0.0], np.cumsum(counts) / self._values.size])
        else:
            h = self._bandwidth()
            start = np.linspace(low, high, 3 + int(np.ceil(min((high - low) / h, 1000.0))))
            edges, levels = tabulate(self._kernel_cdf, start, KERNEL_TOLERANCE)
        levels[0], levels[-1] = 0.0, 1.0
        si = np.array([self._si(edge) for edge in edges])
        si[0], si[-1] = self._si(low), self._si(high)
        return si, levels

    def _bandwidth(self) -> float:
        if self.bandwidth is not None:
            return self.bandwidth
        x = self._values
        quartiles = np.quantile(x, [0.25, 0.75])
        spreads = [float(np.std(x, ddof=1)), float(np.diff(quartiles)[0]) / 1.34]
        return 0.9 * min(s for s in spreads if s > 0) * x.size**-0.2

    @cached_property
    def _centres(self) -> Vector:
        if self._values.size <= MOST_KERNELS:
            return self._values
        return np.quantile(self._values, (np.arange(MOST_KERNELS) + 0.5) / MOST_KERNELS)

    def _kernel_cdf(self, x: Vector) -> Vector:
        low, high = self._bounds()
        h = self._bandwidth()
        images = np.concatenate([self._centres, 2 * low - self._centres, 2 * high - self._centres])
        ends = [np.sum(ndtr((end - images) / h)) for end in (low, high)]
        inside = np.clip(x, low, high)
        total = np.empty(x.size)
        for at in range(0, x.size, 256):
            total[at : at + 256] = ndtr((inside[at : at + 256, None] - images) / h).sum(axis=1)
        return np.where(x < low, 0.0, (total - ends[0]) / (ends[1] - ends[0]))


def read_values(path: str, column: str | int | None) -> Vector:
    """All values of a file, or of one column of it, in the unit of the file.

    Args:
        path: of a CSV file (with or without names in the first line), an array (.npy), or a map
            (.nii, .nii.gz).
        column: name or number (from 0) of a CSV column, number of the last axis of an array; None:
            the only column, or all values.

    Raises:
        ConfigError: ``path`` or ``column`` cannot be used, or a value is not a finite number.
    """
    if not isinstance(path, str) or not path.endswith(SUFFIXES):
        raise ConfigError("path", path, f"a file that ends in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
        raise ConfigError("path", path, "a file that exists")
    if Path(path).stat().st_size == 0:
        raise ConfigError("path", path, "a file that is not empty")
    if path.endswith(".csv"):
        values = _read_csv(path, column)
    elif path.endswith(".npy"):
        values = _one_column(_read_npy(path), path, column)
    else:
        values = _one_column(_read_nifti(path), path, column)
    if values.size == 0:
        raise ConfigError("path", path, "a file with values; it holds none")
    if not np.isfinite(values).all():
        where = int(np.flatnonzero(~np.isfinite(values))[0])
        position = f"value {where} of {values.size} is {values[where]}"
        raise ConfigError("path", path, f"a file of finite numbers; {position}")
    return values


def _read_csv(path: str, column: str | int | None) -> Vector:
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("path", path, f"a CSV file in UTF-8 ({error})") from None
    if not rows:
        raise ConfigError("path", path, "a file with values; it holds none")
    names = None if all(_is_number(cell) for cell in rows[0]) else [c.strip() for c in rows[0]]
    at = _column_number(column, len(rows[0]), names)
    first = 0 if names is None else 1
    values = []
    for line, row in enumerate(rows[first:], start=first + 1):
        cell = row[at] if len(row) > at else ""
        if not _is_number(cell):
            raise ConfigError("path", path, f"numbers only; row {line} holds {cell!r}")
        values.append(float(cell))
    return np.array(values)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column_number(column: str | int | None, width: int, names: list[str] | None) -> int:
    if column is None and width == 1:
        return 0
    if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < width:
        return column
    if isinstance(column, str) and names is not None and column in names:
        return names.index(column)
    named = f" or one of {', '.join(names)}" if names else ""
    raise ConfigError("column", column, f"a number from 0 to {width - 1}{named}")


def _one_column(values: Values, path: str, column: str | int | None) -> Vector:
    if values.dtype.kind not in "iuf":
        raise ConfigError("path", path, f"real numbers, not {values.dtype}")
    if column is not None:
        if values.ndim < 2:
            raise ConfigError("column", column, f"null: the array has {values.ndim} axis")
        values = values[..., _column_number(column, values.shape[-1], None)]
    return values.reshape(-1).astype(np.float64)


def _read_npy(path: str) -> Values:
    try:
        return load_npy(Path(path))
    except ValueError as error:
        raise ConfigError("path", path, f"an array file of NumPy ({error})") from None


def _read_nifti(path: str) -> Values:
    try:
        import nibabel
    except ModuleNotFoundError:
        raise ConfigError("path", path, "a CSV or NPY file; NIfTI needs nibabel") from None
    check_nifti("path", Path(path))
    try:
        image: Any = nibabel.load(path)
        num_bytes = math.prod(image.shape) * image.get_data_dtype().itemsize
        check_declared("path", Path(path), num_bytes, is_packed=path.endswith(".gz"))
        return np.asanyarray(image.dataobj)
    except ConfigError:
        raise
    except Exception as error:  # foreign bytes make this parser fail in many ways
        text = " ".join(str(error).split())
        raise ConfigError("path", path, f"a NIfTI file ({text})") from None
