"""Textures, crops of natural images and noise, all in [0, 1]; and how they become parameters.

Networks trained on textures of natural images transfer better to tissue than those trained on
random shapes alone: Yang et al., IEEE Signal Processing Magazine 40(2), 2023, Fig. 6, who do not
state how a texture becomes a parameter. Axes: B sample, K texture, then the grid's.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.backend import fused, kept, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import whole
from ipads_stream.core.files import check_declared
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Uniform
from ipads_stream.distributions.parameters import check_each, parameter
from ipads_stream.phantoms.draws import Draws, Step
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.pyramid import Pyramid, folder_of_sources, pyramid
from ipads_stream.phantoms.smooth_fields import normalised

WIDTH, EXPONENT = Uniform(low=0.2, high=0.8), Uniform(low=1.0, high=3.0)
PERSISTENCE = Uniform(low=0.3, high=0.8)
Maps = Float[Any, "B ..."]
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class Texture(ABC):
    """What draws grey pictures in [0, 1]; a dataclass, checked when made."""

    def __post_init__(self) -> None:
        check_each(self)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        count: int = 1,
        progress: Step = None,
        name: str = "texture",
        xp: Any = np,
    ) -> Float32[Any, "B K ..."]:
        """Textures of some samples, (B, count, *grid.shape), each from 0 to 1.

        The arguments are those of every template (draws.py), and how many textures a sample has.

        Raises:
            ConfigError: a grid that such textures do not fit, images that are not there.
        """
        grey = self.evaluated(Draws(keys, progress, name), grid, count, xp)
        stretched = normalised(grey.reshape(-1, *grid.shape), 0.0, 1.0)
        return stretched.reshape(-1, count, *grid.shape)

    @abstractmethod
    def evaluated(self, draws: Draws, grid: Grid, count: int, xp: Any) -> Any:
        """What is drawn, of any range, (B, count, *grid.shape) or flat."""


@dataclass(frozen=True, kw_only=True)
class ImageTexture(Texture):
    """Crops of grey images, turned, mirrored and scaled at random; in the plane only.

    Attributes:
        folder: of PNG, JPEG or TIFF files; None: the folder ``texture`` of IPADS_DATA.
        width: of a crop, as a share of the image's shorter side. Beyond the image's edge it is
            mirrored.
    """

    folder: str | None = None
    width: Distribution | float = parameter(WIDTH, within=(1e-3, 10.0))

    def evaluated(self, draws: Draws, grid: Grid, count: int, xp: Any) -> Any:
        if grid.num_axes != 2:
            raise ConfigError("shape", grid.shape, "two axes, for textures of images")
        images = _read_images(folder_of_sources(self.folder, "texture", "images"))
        which = random.integers(draws.key("image"), 0, len(images) - 1, (count,))
        width = draws.of(self, "width", count)
        u = random.uniform(draws.key("place"), (count, 4))
        sides = images.shapes[which, 1:].astype(float)
        step = width * sides.min(axis=-1) / max(grid.shape)
        turn = 2 * math.pi * u[..., 2]
        mirror = np.where(u[..., 3] < 0.5, -1.0, 1.0)
        c, s = step * np.cos(turn), step * np.sin(turn)
        matrix = np.stack([np.stack([c, -s * mirror], -1), np.stack([s, c * mirror], -1)], -2)
        centre = u[..., :2] * (sides - 1)
        places = _places(matrix, centre, grid, xp)
        return images.sampled(which.reshape(-1), step.reshape(-1), places, mirrored=True, xp=xp)


@dataclass(frozen=True, kw_only=True)
class FractalTexture(Texture):
    """Noise whose power falls as |k|^-exponent, in the plane or in space.

    Attributes:
        exponent: 0 white; natural images have about 2.

    Source: Field, Journal of the Optical Society of America A 4, 2379 (1987).
    """

    exponent: Distribution | float = parameter(EXPONENT, within=(0.0, 10.0))

    def evaluated(self, draws: Draws, grid: Grid, count: int, xp: Any) -> Any:
        exponent = draws.of(self, "exponent", count)
        white = random.normal(draws.key("white"), (count, *grid.shape), xp)
        axes = tuple(range(2, 2 + grid.num_axes))
        log = kept(_log_square(grid), xp)
        power = xp.asarray((-0.25 * exponent).astype(np.float32))
        power = power.reshape(*power.shape, *(1,) * grid.num_axes)
        spectrum = _coloured(_fft(xp).rfftn(white, axes=axes), power, log)
        if log.size > 1:
            spectrum.reshape(*spectrum.shape[:2], -1)[..., 0] = 0
        return _fft(xp).irfftn(spectrum, grid.shape, axes=axes).astype(xp.float32, copy=False)


@fused
def _coloured(xp: Any, spectrum: Any, power: Any, log: Any) -> Any:
    return spectrum * xp.exp(power * xp.maximum(log, -80.0))


@dataclass(frozen=True, kw_only=True)
class LatticeTexture(Texture):
    """Sums of octaves of random numbers on lattices, smoothly interpolated, as Perlin's noise is.

    Octave n has a lattice of cells 2^n times as many along each axis, of weight persistence^n; in
    between values are joined by 3 t^2 - 2 t^3.

    Attributes:
        cells: of the first octave along the shortest field of view.
        octaves: how many.
        persistence: weight of an octave over that of the one before.

    Source: value noise, a relative of Perlin, SIGGRAPH 1985.
    """

    cells: int = whole(3, low=1, high=1024)
    octaves: int = whole(4, low=1, high=10)
    persistence: Distribution | float = parameter(PERSISTENCE, within=(0.0, 10.0))

    def evaluated(self, draws: Draws, grid: Grid, count: int, xp: Any) -> Any:
        weight = draws.float32(self, "persistence", count)
        total: Any = 0.0
        for octave in range(self.octaves):
            joins = [xp.asarray(join) for join in _joins(grid, self.cells * 2**octave)]
            shape = (count, *(join.shape[1] for join in joins))
            noise = random.uniform(draws.key(f"{octave}"), shape, xp).astype(xp.float32)
            for axis, join in enumerate(joins):
                joined = xp.matmul(xp.moveaxis(noise, 2 + axis, -1), join.T)
                noise = xp.moveaxis(joined, -1, 2 + axis)
            factor = xp.asarray(weight**octave).reshape(-1, count, *(1,) * grid.num_axes)
            total = total + factor * noise
        return total


def by_rank(texture: Maps, distribution: Distribution) -> Float32[Any, "B ..."]:
    """A parameter whose values over the voxels of each map are spread as a distribution is.

    The voxel of rank r of n gets F^-1((r + 1/2) / n); equal voxels keep their order.

    Args:
        texture: (B, *grid).
        distribution: of the parameter, one that depends on nothing.
    """
    xp = namespace(texture)
    flat = xp.reshape(texture, (texture.shape[0], -1))
    n = flat.shape[1]
    quantiles = distribution.quantile((np.arange(n) + 0.5) / n).astype(np.float32)
    order = xp.argsort(flat, axis=1, stable=True)
    rank = xp.argsort(order, axis=1, stable=True)
    values = xp.take(xp.asarray(quantiles), xp.reshape(rank, (-1,)), axis=0)
    return xp.reshape(values, texture.shape)


affine = normalised  # from low at the darkest voxel of each map to high at the brightest


def modulated(
    maps: Maps, texture: Maps, contrast: Any, *, low: float | None = None, high: float | None = None
) -> Maps:
    """A map with a texture on it: m (1 + contrast (2 t - 1)), held between low and high.

    Args:
        maps: m, (B, ...).
        texture: t from 0 to 1, of a shape that broadcasts to it.
        contrast: 0 none, 1 from 0 to twice the value; a number or (B,).
        low, high: SI; voxels where m is 0 stay so.
    """
    xp = namespace(maps)
    contrast = xp.asarray(contrast, dtype=maps.dtype)
    if contrast.ndim:
        contrast = xp.reshape(contrast, (-1,) + (1,) * (maps.ndim - 1))
    out = maps * (1 + contrast * (2 * texture - 1))
    if low is not None or high is not None:
        out = xp.where(maps == 0, maps, xp.clip(out, low, high))
    return out


def mixed(shares: Float[Any, "B K ..."], textures: Float[Any, "B K ..."]) -> Maps:
    """Several textures in one map, each where its share is: sum_k s_k t_k / sum_k s_k, 0 outside.

    Shares are maps of shapes whose values are 1 for their own texture and 0 for the others.

    Args:
        shares: (B, K, *grid).
        textures: (B, K, *grid).
    """
    xp = namespace(shares, textures)
    total = xp.sum(shares, axis=1)
    safe = xp.where(total > 1e-6, total, xp.ones_like(total))
    return xp.sum(shares * textures, axis=1) / safe


@lru_cache(maxsize=4)
def _read_images(folder: str) -> Pyramid:
    """The grey images of a folder with their reductions, read once per process."""
    import PIL.Image
    from matplotlib.image import imread

    paths = [p for p in sorted(Path(folder).glob("*")) if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise ConfigError("folder", folder, f"a folder of images ({', '.join(SUFFIXES)})")
    images = []
    for path in paths:
        try:
            with PIL.Image.open(path) as header:
                num_bytes = math.prod(header.size) * len(header.getbands())
            check_declared("folder", path, num_bytes, is_packed=True)
            image = np.asarray(imread(path))
        except ConfigError:
            raise
        except Exception as error:  # foreign bytes make these parsers fail in many ways
            raise ConfigError("folder", str(path), f"a whole image ({error})") from error
        image = image * (255.0 if image.dtype.kind == "f" else 255.0 / np.iinfo(image.dtype).max)
        if image.ndim == 3:  # luminance of ITU-R BT.601
            image = image[..., :3] @ [0.299, 0.587, 0.114] if image.shape[2] >= 3 else image[..., 0]
        images.append(np.clip(np.rint(image), 0, 255).astype(np.uint8)[None, None])
    return pyramid(images)


@lru_cache(maxsize=16)
def _joins(grid: Grid, cells: int) -> list[np.ndarray]:
    """Of each axis the matrix (voxels, lattice points) that interpolates."""
    shortest, joins = min(grid.field_of_view), []
    for n, view in zip(grid.shape, grid.field_of_view, strict=True):
        count = max(1, math.ceil(cells * view / shortest - 1e-9))
        place = (np.arange(n) + 0.5) / n * count
        cell = np.minimum(place.astype(int), count - 1)
        t = place - cell
        t = t * t * (3 - 2 * t)
        join = np.zeros((n, count + 1), np.float32)
        join[np.arange(n), cell] = 1 - t
        join[np.arange(n), cell + 1] = t
        joins.append(join)
    return joins


def _places(matrix: Any, centre: Any, grid: Grid, xp: Any) -> Any:
    """Image coordinates (n, 3, voxels) of the grid's voxels; the first axis is that of planes."""
    matrix = xp.asarray(matrix.reshape(-1, 2, 2).astype(np.float32))
    centre = xp.asarray(centre.reshape(-1, 2).astype(np.float32))
    X, Y = grid.shape
    x = (xp.arange(X, dtype=xp.float32) - (X - 1) / 2)[:, None]
    y = (xp.arange(Y, dtype=xp.float32) - (Y - 1) / 2)[None, :]
    out = xp.zeros((len(matrix), 3, X, Y), dtype=xp.float32)
    for axis in range(2):
        a, b = matrix[:, axis, 0, None, None], matrix[:, axis, 1, None, None]
        out[:, 1 + axis] = a * x + (b * y + centre[:, axis, None, None])
    return out.reshape(len(matrix), 3, -1)


@lru_cache(maxsize=16)
def _log_square(grid: Grid) -> Float32[np.ndarray, "..."]:
    """ln |k|^2 of the wave numbers of a real transform, in turns over the shortest field of view;
    inf where k is 0: the mean is removed."""
    square: Any = 0.0
    for axis, (n, d) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        last = axis == grid.num_axes - 1
        k = (np.fft.rfftfreq if last else np.fft.fftfreq)(n, d) * min(grid.field_of_view)
        square = square + k.reshape([-1 if i == axis else 1 for i in range(grid.num_axes)]) ** 2
    square.reshape(-1)[0] = np.inf
    return np.log(square).astype(np.float32)


def _fft(xp: Any) -> Any:
    import scipy.fft

    return scipy.fft if xp is np else xp.fft
