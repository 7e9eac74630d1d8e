"""Smooth random fields: off-resonance, transmit field, variation within a tissue.

Each is a function of position in metres that is evaluated on a grid, so that one field looks the
same at any resolution. Axes: B sample, then the grid's.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.backend import fused, kept, moved, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import keep, ruled
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Normal, Uniform
from ipads_stream.distributions.parameters import Parameter, as_parameters, check_each, parameter
from ipads_stream.phantoms.draws import Draws, Step, as_length
from ipads_stream.phantoms.grid import Grid
from ipads_stream.physics.arrays import as_float

WAVES = 48  # of a noise field
WIDTH, POSITION = Uniform(low=0.1, high=0.2), Uniform(low=-0.8, high=0.8)
ANY = Parameter(quantity=None)  # a number in whatever unit the field has


class SmoothField(ABC):
    """What draws one number for every voxel of every sample; a dataclass, checked when made."""

    def __post_init__(self) -> None:
        check_each(self)

    def draw(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "field", xp: Any = np
    ) -> Float32[Any, "B ..."]:
        """The fields of some samples, (B, *grid.shape); the arguments are those of draws.py."""
        return self.evaluated(Draws(keys, progress, name), grid, xp)

    @abstractmethod
    def evaluated(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B ..."]:
        """The fields that are drawn, on a grid."""


@dataclass(frozen=True, kw_only=True)
class PolynomialField(SmoothField):
    """A polynomial of the position in metres: offset + sum_t c_t t(x, y, z).

    Attributes:
        terms: monomial, e.g. "x" or "xxy" -> its coefficient in the field's unit per m^order; of
            axes that the grid has.
        peak: the largest absolute value of the sum on the grid, to which it is scaled; None: as the
            coefficients have it.
        offset: added at last.
    """

    terms: Mapping[str, Distribution | float]
    peak: Distribution | float | None = parameter(quantity=None, optional=True)
    offset: Distribution | float = parameter(0.0, quantity=None)

    def __post_init__(self) -> None:
        if not self.terms:
            raise ConfigError("terms", self.terms, "at least one monomial, such as x or xyy")
        checked = {}
        for term, value in self.terms.items():
            if not term or set(term) - set("xyz"):
                raise ConfigError(f"terms.{term}", value, "a product of x, y and z, such as xyy")
            key = f"terms.{term}"
            checked[term] = as_parameters({key: value}, {key: ANY})[key]
        keep(self, terms=checked)
        check_each(self)

    def evaluated(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B ..."]:
        terms: Mapping[str, Any] = self.terms
        columns = [x.draw(draws.key(term), (), draws.progress) for term, x in terms.items()]
        basis = kept(_monomials(tuple(terms), grid), xp)
        coefficients = np.stack(columns, axis=1).astype(np.float32)
        offset = draws.float32(self, "offset")
        peak = [] if self.peak is None else [draws.float32(self, "peak")]
        coefficients, offset, *peak = moved(xp, coefficients, offset, *peak)
        # A product per sample: the order of the sums of a single one would follow the batch's size.
        out = (coefficients[:, None] @ basis)[:, 0]
        if peak:
            most = xp.max(xp.abs(out), axis=1)
            out = _peaked(out, peak[0][:, None], most[:, None], offset[:, None])
        else:
            out = out + offset[:, None]
        return out.reshape(-1, *grid.shape)


@dataclass(frozen=True, kw_only=True)
class BumpField(SmoothField):
    """Gaussian bumps: sum_n a_n exp(-|r - c_n|^2 / (2 w_n^2)).

    Attributes:
        amplitude: a, in the field's unit.
        width: w, a length, or without a unit a share of the shortest field of view.
        position: of the centre along each axis; -1 and 1 are the edges of the field of view.
        number: of bumps.
    """

    amplitude: Distribution | float = parameter(quantity=None)
    width: Distribution | float = ruled(as_length, WIDTH)
    position: Distribution | float = parameter(POSITION, quantity=None)
    number: Distribution | float = parameter(1, within=(0, 4096), integer=True)

    def evaluated(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B ..."]:
        most = int(self.number.support[1])  # type: ignore[union-attr]
        is_there = np.arange(most) < draws.of(self, "number")[:, None]
        amplitude = draws.of(self, "amplitude", most) * is_there
        width = draws.length(self, "width", grid, most)
        centre = draws.of(self, "position", most, grid.num_axes)
        centre = centre * (0.5 * np.asarray(grid.field_of_view))
        factors = []
        for axis, at in enumerate(grid.coordinates(np)):
            away = (at.reshape(-1) - centre[:, :, axis, None]) / width[..., None]
            factors.append(np.exp(-0.5 * away * away).astype(np.float32))
        factors[0] *= amplitude[..., None].astype(np.float32)
        first, *others = moved(xp, *factors)
        for factor in others[:-1]:
            first = (first[..., None] * factor[:, :, None]).reshape(*first.shape[:2], -1)
        return _product(first, others[-1], grid)


@dataclass(frozen=True, kw_only=True)
class NoiseField(SmoothField):
    """Gaussian noise of a correlation length: sum_m sqrt(2 / M) cos(k_m.r + phase_m) amplitude.

    The wave vectors k are normal of standard deviation 1 / width, so that the mean over samples of
    the product of two values r apart is amplitude^2 exp(-r^2 / (2 width^2)).

    Attributes:
        amplitude: standard deviation over samples, in the field's unit.
        width: a length, or without a unit a share of the shortest field of view.

    Source: random Fourier features, Rahimi and Recht, NIPS 2007.
    """

    amplitude: Distribution | float = parameter(1.0, quantity=None)
    width: Distribution | float = ruled(as_length, 0.1)

    def evaluated(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B ..."]:
        width = draws.length(self, "width", grid)
        amplitude = draws.of(self, "amplitude")
        waves = random.normal(draws.key("waves"), (WAVES, grid.num_axes))
        waves = waves / width.astype(np.float32)[:, None, None]
        phase = random.uniform(draws.key("phase"), (WAVES,)).astype(np.float32)
        pairs = []
        for axis, at in enumerate(grid.coordinates(np)):
            angle = waves[:, :, axis, None] * at.reshape(-1)
            if axis == 0:
                angle += (2 * math.pi) * phase[..., None]
            pairs.append((np.cos(angle), np.sin(angle)))
        height = (amplitude * math.sqrt(2 / WAVES)).astype(np.float32)[:, None, None]
        height, *flat = moved(xp, height, *(part for pair in pairs for part in pair))
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        real, imaginary = pairs[0][0] * height, pairs[0][1] * height
        for c, s in pairs[1:-1]:
            c, s = c[:, :, None], s[:, :, None]
            real, imaginary = _turned(real[..., None], imaginary[..., None], c, s)
        left = xp.concatenate([real, -imaginary], axis=1)
        right = xp.concatenate(pairs[-1], axis=1)
        return _product(left.reshape(*left.shape[:2], -1), right, grid)


@dataclass(frozen=True, kw_only=True)
class SumOfFields(SmoothField):
    """The sum of other fields.

    Attributes:
        fields: each draws from streams of its own.
    """

    fields: Sequence[SmoothField]

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError("fields", self.fields, "at least one field")

    def evaluated(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B ..."]:
        total: Any = 0.0
        for n, part in enumerate(self.fields):
            total = total + part.draw(draws.keys, grid, xp=xp, **draws.part(n))
        return total


def moled_b1() -> PolynomialField:
    """Relative transmit field of the overlapping-echo templates, about 1.

    Source: qinqinyang/MOST-DL and wjgxw/MRiLab_angus, WJG_B1_rand.m: a cubic in x and y (m) with
    X, Y ~ N(0, 0.5), the others ~ U(-0.5, 0.5), all but Y3 times 1.5, scaled to a largest value of
    U(0, 0.5) and moved by 1 + U(-0.1, 0.1).
    """
    slope, curve = Normal(mean=0.0, std=0.75), Uniform(low=-0.75, high=0.75)
    terms = {"x": slope, "y": slope, "xy": curve, "xx": curve, "yy": curve, "xxx": curve}
    terms["yyy"] = Uniform(low=-0.5, high=0.5)
    peak, offset = Uniform(low=0.0, high=0.5), Uniform(low=0.9, high=1.1)
    return PolynomialField(terms=terms, peak=peak, offset=offset)


def moled_b0() -> SumOfFields:
    """Off-resonance of the overlapping-echo templates, Hz.

    Source: wjgxw/MRiLab_angus, Mag_WW_LSM.m and WJGshapeB0.m: X, Y, XY, X2, Y2, XY2, X2Y ~
    U(-0.5, 0.5) 1500 Hz on metres, and a bump of +-2.5 uT whose centre lies in the middle 80 % and
    whose standard deviation is 50 to 100 voxels of 0.44 mm.
    """
    slope, width = Uniform(low=-750.0, high=750.0), Uniform(low=22.0, high=44.0, unit="mm")
    slopes = PolynomialField(terms=dict.fromkeys(("x", "y", "xy", "xx", "yy", "xyy", "xxy"), slope))
    bump = BumpField(amplitude=Uniform(low=-106.44, high=106.44), width=width)
    return SumOfFields(fields=(slopes, bump))


def normalised(field: Float[Any, "B ..."], low: Any, high: Any) -> Float[Any, "B ..."]:
    """Fields of samples, each scaled and moved so that its least and largest are as stated.

    low + (high - low) (f - min f) / (max f - min f); a field that is constant becomes ``low``.

    Args:
        field: (B, *grid).
        low, high: numbers or (B,).
    """
    xp = namespace(field)
    flat = xp.reshape(field, (field.shape[0], -1))
    ends = xp.min(flat, axis=1), xp.max(flat, axis=1), *(as_float(x, field) for x in (low, high))
    by_sample = (-1,) + (1,) * (field.ndim - 1)
    return _stretched(field, *(xp.reshape(x, by_sample) for x in ends))


@fused
def _stretched(xp: Any, field: Any, least: Any, most: Any, low: Any, high: Any) -> Any:
    span = xp.where(most > least, most - least, 1)
    low = low + 0 * least
    return low + (field - least) * ((high + 0 * least - low) / span)


@fused
def _peaked(xp: Any, field: Any, peak: Any, most: Any, offset: Any) -> Any:
    return field * (peak / xp.maximum(most, 1e-30)) + offset


@fused
def _turned(xp: Any, real: Any, imaginary: Any, c: Any, s: Any) -> tuple[Any, Any]:
    return real * c - imaginary * s, real * s + imaginary * c


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


def _product(first: Any, last: Any, grid: Grid) -> Any:
    """sum_m first[b, m, i] last[b, m, j], (B, *grid), of (B, M, I) and (B, M, J)."""
    xp = namespace(first, last)
    out = xp.matmul(xp.permute_dims(first, (0, 2, 1)), last)
    return xp.reshape(out, (-1, *grid.shape))
