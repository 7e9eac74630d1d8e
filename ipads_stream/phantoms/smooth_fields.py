"""Smooth random fields: off-resonance, transmit field, variation within a tissue.

Each is a function of position in metres that is evaluated on a grid, so that one field looks the
same at any resolution. Axes: B sample, then the grid's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.backend import namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Normal, Uniform, as_distribution
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.lengths import as_length, length

WAVES = 48  # of a noise field
WIDTH, POSITION = Uniform(low=0.1, high=0.2), Uniform(low=-0.8, high=0.8)
ANY = (-math.inf, math.inf)


class SmoothField(Protocol):
    """What draws one number for every voxel of every sample."""

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "field",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """The fields of some samples, (B, *grid.shape).

        Args:
            keys: of B samples.
            grid: of the maps.
            progress: global sample indices, for distributions that change over training.
            name: before the names of the random streams.
            xp: array library that computes: numpy or cupy.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PolynomialField:
    """A polynomial of the position in metres: offset + sum_t c_t t(x, y, z).

    Attributes:
        terms: monomial, e.g. "x" or "xxy" -> its coefficient in the field's unit per m^order.
        peak: the largest absolute value of the sum on the grid, to which it is scaled; None: as the
            coefficients have it.
        offset: added at last.
    """

    terms: Mapping[str, Distribution | float]
    peak: Distribution | float | None = None
    offset: Distribution | float = 0.0

    def __post_init__(self) -> None:
        if not self.terms:
            raise ConfigError("terms", self.terms, "at least one monomial, such as x or xyy")
        found = {}
        for term, value in self.terms.items():
            if not term or set(term) - set("xyz"):
                raise ConfigError(f"terms.{term}", value, "a product of x, y and z, such as xyy")
            found[term] = as_distribution(
                f"terms.{term}", value, within=ANY, quantity=own_kind(value)
            )
        object.__setattr__(self, "terms", found)
        _set_distribution(self, "offset")
        if self.peak is not None:
            _set_distribution(self, "peak")

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "field",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """As of SmoothField.

        Raises:
            ConfigError: a monomial of an axis that the grid has not.
        """
        columns = [
            value.draw(keys[f"{name}.{term}"], (), progress)  # type: ignore[union-attr]
            for term, value in self.terms.items()
        ]
        basis = xp.asarray(_monomials(tuple(self.terms), grid))
        coefficients = np.stack(columns, axis=1).astype(np.float32)
        out = xp.asarray(coefficients) @ basis
        if self.peak is not None:
            peak = self.peak.draw(keys[f"{name}.peak"], (), progress)  # type: ignore[union-attr]
            most = xp.maximum(xp.max(xp.abs(out), axis=1), 1e-30)
            out = out * (xp.asarray(peak.astype(np.float32)) / most)[:, None]
        offset = self.offset.draw(keys[f"{name}.offset"], (), progress)  # type: ignore[union-attr]
        out = out + xp.asarray(offset.astype(np.float32))[:, None]
        return out.reshape(-1, *grid.shape)


@dataclass(frozen=True, kw_only=True)
class BumpField:
    """Gaussian bumps: sum_n a_n exp(-|r - c_n|^2 / (2 w_n^2)).

    Attributes:
        amplitude: a, in the field's unit.
        width: w, a length, or without a unit a share of the shortest field of view.
        position: of the centre along each axis; -1 and 1 are the edges of the field of view.
        number: of bumps.
    """

    amplitude: Distribution | float
    width: Distribution | float = WIDTH
    position: Distribution | float = POSITION
    number: Distribution | float = 1

    def __post_init__(self) -> None:
        _set_distribution(self, "amplitude")
        _set_distribution(self, "position")
        object.__setattr__(self, "width", as_length("width", self.width))
        number = as_distribution("number", self.number, within=(0, 4096), integer=True)
        object.__setattr__(self, "number", number)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "field",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """As of SmoothField."""
        most = int(self.number.support[1])  # type: ignore[union-attr]

        def drawn(what: str, *shape: int) -> Any:
            return getattr(self, what).draw(keys[f"{name}.{what}"], shape, progress)

        is_there = np.arange(most) < drawn("number")[:, None]
        amplitude = drawn("amplitude", most) * is_there
        width = length(self.width, drawn("width", most), grid)
        centre = drawn("position", most, grid.num_axes) * (0.5 * np.asarray(grid.field_of_view))
        factors = []
        for axis, at in enumerate(grid.coordinates(np)):
            away = (at.reshape(-1) - centre[:, :, axis, None]) / width[..., None]
            factors.append(np.exp(-0.5 * away * away).astype(np.float32))
        factors[0] *= amplitude[..., None].astype(np.float32)
        first, *others = (xp.asarray(factor) for factor in factors)
        for factor in others[:-1]:
            first = (first[..., None] * factor[:, :, None]).reshape(*first.shape[:2], -1)
        return _product([first, others[-1]], grid)


@dataclass(frozen=True, kw_only=True)
class NoiseField:
    """Gaussian noise of a correlation length: sum_m sqrt(2 / M) cos(k_m.r + phase_m) amplitude.

    The wave vectors k are normal of standard deviation 1 / width, so that the mean over samples of
    the product of two values r apart is amplitude^2 exp(-r^2 / (2 width^2)).

    Attributes:
        amplitude: standard deviation over samples, in the field's unit.
        width: a length, or without a unit a share of the shortest field of view.

    Source: random Fourier features, Rahimi and Recht, NIPS 2007.
    """

    amplitude: Distribution | float = 1.0
    width: Distribution | float = 0.1

    def __post_init__(self) -> None:
        _set_distribution(self, "amplitude")
        object.__setattr__(self, "width", as_length("width", self.width))

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "field",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """As of SmoothField."""
        drawn = self.width.draw(keys[f"{name}.width"], (), progress)  # type: ignore[union-attr]
        width = length(self.width, drawn, grid)
        amplitude = self.amplitude.draw(  # type: ignore[union-attr]
            keys[f"{name}.amplitude"], (), progress
        )
        waves = random.normal(keys[f"{name}.waves"], (WAVES, grid.num_axes))
        waves = waves / width.astype(np.float32)[:, None, None]
        phase = random.uniform(keys[f"{name}.phase"], (WAVES,)).astype(np.float32)
        pairs = []
        for axis, at in enumerate(grid.coordinates(np)):
            angle = waves[:, :, axis, None] * at.reshape(-1)
            if axis == 0:
                angle += (2 * math.pi) * phase[..., None]
            pairs.append((xp.asarray(np.cos(angle)), xp.asarray(np.sin(angle))))
        height = xp.asarray((amplitude * math.sqrt(2 / WAVES)).astype(np.float32))[:, None, None]
        real, imaginary = pairs[0][0] * height, pairs[0][1] * height
        for c, s in pairs[1:-1]:
            c, s = c[:, :, None], s[:, :, None]
            real, imaginary = real[..., None], imaginary[..., None]
            real, imaginary = real * c - imaginary * s, real * s + imaginary * c
        left = xp.concatenate([real, -imaginary], axis=1)
        right = xp.concatenate(pairs[-1], axis=1)
        return _product([left.reshape(*left.shape[:2], -1), right], grid)


@dataclass(frozen=True, kw_only=True)
class SumOfFields:
    """The sum of other fields.

    Attributes:
        fields: each draws from streams of its own.
    """

    fields: Sequence[SmoothField]

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError("fields", self.fields, "at least one field")

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "field",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """As of SmoothField."""
        total: Any = 0.0
        for n, part in enumerate(self.fields):
            total = total + part.draw(keys, grid, progress=progress, name=f"{name}.{n}", xp=xp)
        return total


def moled_b1() -> PolynomialField:
    """Relative transmit field of the overlapping-echo templates, about 1.

    Source: qinqinyang/MOST-DL and wjgxw/MRiLab_angus, WJG_B1_rand.m: a cubic in x and y (m) with
    X, Y ~ N(0, 0.5), the others ~ U(-0.5, 0.5), all but Y3 times 1.5, scaled to a largest value of
    U(0, 0.5) and moved by 1 + U(-0.1, 0.1).
    """
    slope, curve = Normal(mean=0.0, std=0.75), Uniform(low=-0.75, high=0.75)
    terms = {"x": slope, "y": slope, "xy": curve, "xx": curve, "yy": curve, "xxx": curve}
    return PolynomialField(
        terms={**terms, "yyy": Uniform(low=-0.5, high=0.5)},
        peak=Uniform(low=0.0, high=0.5),
        offset=Uniform(low=0.9, high=1.1),
    )


def moled_b0() -> SumOfFields:
    """Off-resonance of the overlapping-echo templates, Hz.

    Source: wjgxw/MRiLab_angus, Mag_WW_LSM.m and WJGshapeB0.m: X, Y, XY, X2, Y2, XY2, X2Y ~
    U(-0.5, 0.5) 1500 Hz on metres, and a bump of +-2.5 uT whose centre lies in the middle 80 % and
    whose standard deviation is 50 to 100 voxels of 0.44 mm.
    """
    slope = Uniform(low=-750.0, high=750.0)
    return SumOfFields(
        fields=(
            PolynomialField(terms=dict.fromkeys(("x", "y", "xy", "xx", "yy", "xyy", "xxy"), slope)),
            BumpField(
                amplitude=Uniform(low=-106.44, high=106.44),
                width=Uniform(low=22.0, high=44.0, unit="mm"),
            ),
        )
    )


def normalised(field: Float[Any, "B ..."], low: Any, high: Any) -> Float[Any, "B ..."]:
    """Fields of samples, each scaled and moved so that its least and largest are as stated.

    low + (high - low) (f - min f) / (max f - min f); a field that is constant becomes ``low``.

    Args:
        field: (B, *grid).
        low, high: numbers or (B,).
    """
    xp = namespace(field)
    flat = xp.reshape(field, (field.shape[0], -1))
    least, most = xp.min(flat, axis=1), xp.max(flat, axis=1)
    of = (-1,) + (1,) * (field.ndim - 1)
    span = xp.where(most > least, most - least, xp.ones_like(most))
    low, high = (xp.asarray(x, dtype=field.dtype) + 0 * least for x in (low, high))
    return xp.reshape(low, of) + (field - xp.reshape(least, of)) * xp.reshape(
        (high - low) / span, of
    )


def own_kind(value: Any) -> str:
    from ipads_stream.core.units import dimension

    return dimension(value.unit) if isinstance(value, Distribution) else "number"


def _set_distribution(of: Any, name: str) -> None:
    value = getattr(of, name)
    found = as_distribution(name, value, within=ANY, quantity=own_kind(value))
    object.__setattr__(of, name, found)


@lru_cache(maxsize=16)
def _monomials(terms: tuple[str, ...], grid: Grid) -> Any:
    """(terms, voxels), float32."""
    axes = dict(zip("xyz", grid.coordinates(np), strict=False))
    rows = []
    for term in terms:
        if set(term) - set(axes):
            allowed = f"a product of {', '.join(axes)} on a grid of {grid.num_axes} axes"
            raise ConfigError(f"terms.{term}", term, allowed)
        value: Any = np.ones((), np.float64)
        for axis, power in Counter(term).items():
            value = value * axes[axis].astype(np.float64) ** power
        rows.append(np.broadcast_to(value, grid.shape).reshape(-1))
    return np.stack(rows).astype(np.float32)


def _product(factors: list[Any], grid: Grid) -> Any:
    """sum_m first[b, m, i] last[b, m, j], (B, *grid), of (B, M, I) and (B, M, J)."""
    first, last = factors
    xp = namespace(first, last)
    out = xp.matmul(xp.permute_dims(first, (0, 2, 1)), last)
    return xp.reshape(out, (-1, *grid.shape))
