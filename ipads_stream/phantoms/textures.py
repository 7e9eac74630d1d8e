"""Textures: crops of natural images, and noise that needs no data; all in [0, 1].

Context: networks trained on textures of natural images transfer better to tissue than those trained
on random shapes alone. Source: Yang et al., IEEE Signal Processing Magazine 40(2), 2023, Fig. 6.
Axes: B sample, K texture, then the grid's.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Uniform, as_distribution
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.pyramid import Pyramid, pyramid
from ipads_stream.phantoms.smooth_fields import normalised

WIDTH, EXPONENT = Uniform(low=0.2, high=0.8), Uniform(low=1.0, high=3.0)
PERSISTENCE = Uniform(low=0.3, high=0.8)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class Texture(Protocol):
    """What draws grey pictures in [0, 1]."""

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        count: int = 1,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "texture",
        xp: Any = np,
    ) -> Float32[Any, "B K ..."]:
        """Textures of some samples, (B, count, *grid.shape), each from 0 to 1.

        Args:
            keys: of B samples.
            grid: of the maps.
            count: of textures per sample.
            progress: global sample indices, for distributions that change over training.
            name: before the names of the random streams.
            xp: array library that computes: numpy or cupy.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ImageTexture:
    """Crops of grey images, turned, mirrored and scaled at random; in the plane only.

    Attributes:
        folder: of PNG, JPEG or TIFF files; None: the folder ``texture`` of IPADS_DATA.
        width: of a crop, as a share of the image's shorter side. Beyond the image's edge it is
            mirrored.
    """

    folder: str | None = None
    width: Distribution | float = WIDTH

    def __post_init__(self) -> None:
        width = as_distribution("width", self.width, within=(1e-3, 10.0))
        object.__setattr__(self, "width", width)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        count: int = 1,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "texture",
        xp: Any = np,
    ) -> Float32[Any, "B K ..."]:
        """As of Texture.

        Raises:
            ConfigError: a grid of three axes, or no images.
        """
        if grid.num_axes != 2:
            raise ConfigError("shape", grid.shape, "two axes, for textures of images")
        images = images_of(self.folder)
        which = random.integers(keys[f"{name}.image"], 0, len(images) - 1, (count,))
        width = self.width.draw(  # type: ignore[union-attr]
            keys[f"{name}.width"], (count,), progress
        )
        u = random.uniform(keys[f"{name}.place"], (count, 4))
        sides = images.shapes[which, 1:].astype(float)
        step = width * sides.min(axis=-1) / max(grid.shape)
        turn = 2 * math.pi * u[..., 2]
        mirror = np.where(u[..., 3] < 0.5, -1.0, 1.0)
        c, s = step * np.cos(turn), step * np.sin(turn)
        matrix = np.stack([np.stack([c, -s * mirror], -1), np.stack([s, c * mirror], -1)], -2)
        centre = u[..., :2] * (sides - 1)
        places = _places(matrix, centre, grid, xp)
        found = images.sampled(which.reshape(-1), step.reshape(-1), places, mirrored=True, xp=xp)
        stretched = normalised(found.reshape(-1, *grid.shape), 0.0, 1.0)
        return stretched.reshape(-1, count, *grid.shape)


@dataclass(frozen=True, kw_only=True)
class FractalTexture:
    """Noise whose power falls as |k|^-exponent, in the plane or in space.

    Attributes:
        exponent: 0 white; natural images have about 2.

    Source: Field, Journal of the Optical Society of America A 4, 2379 (1987).
    """

    exponent: Distribution | float = EXPONENT

    def __post_init__(self) -> None:
        exponent = as_distribution("exponent", self.exponent, within=(0.0, 10.0))
        object.__setattr__(self, "exponent", exponent)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        count: int = 1,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "texture",
        xp: Any = np,
    ) -> Float32[Any, "B K ..."]:
        """As of Texture."""
        exponent = self.exponent.draw(  # type: ignore[union-attr]
            keys[f"{name}.exponent"], (count,), progress
        )
        white = random.normal(keys[f"{name}.white"], (count, *grid.shape), xp)
        axes = tuple(range(2, 2 + grid.num_axes))
        square: Any = 0.0
        for axis, (n, d) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
            last = axis == grid.num_axes - 1
            k = (np.fft.rfftfreq if last else np.fft.fftfreq)(n, d) * min(grid.field_of_view)
            square = square + k.reshape([-1 if i == axis else 1 for i in range(grid.num_axes)]) ** 2
        square.reshape(-1)[0] = np.inf  # the mean is removed
        log = xp.asarray(np.log(square).astype(np.float32))
        power = xp.asarray((-0.25 * exponent).astype(np.float32))
        power = power.reshape(*power.shape, *(1,) * grid.num_axes)
        spectrum = _fft(xp).rfftn(white, axes=axes) * xp.exp(power * xp.maximum(log, -80.0))
        if square.size > 1:
            spectrum.reshape(*spectrum.shape[:2], -1)[..., 0] = 0
        out = _fft(xp).irfftn(spectrum, grid.shape, axes=axes).astype(xp.float32)
        out = normalised(out.reshape(-1, *grid.shape), 0.0, 1.0)
        return out.reshape(-1, count, *grid.shape)


@dataclass(frozen=True, kw_only=True)
class LatticeTexture:
    """Sums of octaves of random numbers on lattices, smoothly interpolated, as Perlin's noise is.

    Octave n has a lattice of cells 2^n times as many along each axis and weighs persistence^n; in
    between values are joined by 3 t^2 - 2 t^3.

    Attributes:
        cells: of the first octave along the shortest field of view.
        octaves: how many.
        persistence: weight of an octave over that of the one before.

    Source: value noise, a relative of Perlin, SIGGRAPH 1985.
    """

    cells: int = 3
    octaves: int = 4
    persistence: Distribution | float = PERSISTENCE

    def __post_init__(self) -> None:
        for key, most in (("cells", 1024), ("octaves", 10)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigError(key, value, f"a whole number, 1 to {most}")
        persistence = as_distribution("persistence", self.persistence, within=(0.0, 10.0))
        object.__setattr__(self, "persistence", persistence)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        count: int = 1,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "texture",
        xp: Any = np,
    ) -> Float32[Any, "B K ..."]:
        """As of Texture."""
        weight = self.persistence.draw(  # type: ignore[union-attr]
            keys[f"{name}.persistence"], (count,), progress
        ).astype(np.float32)
        total: Any = 0.0
        for octave in range(self.octaves):
            joins = [xp.asarray(join) for join in _joins(grid, self.cells * 2**octave)]
            shape = (count, *(join.shape[1] for join in joins))
            noise = random.uniform(keys[f"{name}.{octave}"], shape, xp).astype(xp.float32)
            for axis, join in enumerate(joins):
                noise = xp.moveaxis(
                    xp.matmul(xp.moveaxis(noise, 2 + axis, -1), join.T), -1, 2 + axis
                )
            factor = xp.asarray(weight**octave).reshape(-1, count, *(1,) * grid.num_axes)
            total = total + factor * noise
        out = normalised(total.reshape(-1, *grid.shape), 0.0, 1.0)
        return out.reshape(-1, count, *grid.shape)


def images_of(folder: str | None) -> Pyramid:
    """The grey images of a folder with their reductions, read once per process.

    Args:
        folder: None: ``texture`` of the folder that IPADS_DATA names.

    Raises:
        ConfigError: no such folder, or no image in it.
    """
    if folder is None:
        data = os.environ.get("IPADS_DATA")
        if not data:
            allowed = "a folder of images, or IPADS_DATA set to a folder that holds texture/"
            raise ConfigError("folder", folder, allowed)
        folder = str(Path(data) / "texture")
    return _read_images(folder)


@lru_cache(maxsize=4)
def _read_images(folder: str) -> Pyramid:
    from matplotlib.image import imread

    paths = [p for p in sorted(Path(folder).glob("*")) if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise ConfigError("folder", folder, f"a folder of images ({', '.join(SUFFIXES)})")
    images = []
    for path in paths:
        image = np.asarray(imread(path))
        scale = 1.0 if image.dtype.kind == "f" else 255.0 / np.iinfo(image.dtype).max
        image = image * (255.0 if image.dtype.kind == "f" else scale)
        if image.ndim == 3:  # luminance of ITU-R BT.601
            image = image[..., :3] @ [0.299, 0.587, 0.114] if image.shape[2] >= 3 else image[..., 0]
        images.append(np.clip(np.rint(image), 0, 255).astype(np.uint8)[None, None])
    return pyramid(images)


@lru_cache(maxsize=16)
def _joins(grid: Grid, cells: int) -> list[np.ndarray]:
    """Of each axis the matrix (voxels, lattice points) that interpolates."""
    shortest, found = min(grid.field_of_view), []
    for n, view in zip(grid.shape, grid.field_of_view, strict=True):
        own = max(1, math.ceil(cells * view / shortest - 1e-9))
        place = (np.arange(n) + 0.5) / n * own
        cell = np.minimum(place.astype(int), own - 1)
        t = place - cell
        t = t * t * (3 - 2 * t)
        join = np.zeros((n, own + 1), np.float32)
        join[np.arange(n), cell] = 1 - t
        join[np.arange(n), cell + 1] = t
        found.append(join)
    return found


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


def _fft(xp: Any) -> Any:
    if xp is np:
        import scipy.fft

        return scipy.fft
    return xp.fft
