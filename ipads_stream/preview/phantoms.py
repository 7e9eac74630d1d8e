"""Galleries of what templates are made of: of the phantoms of a system, and of all there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import phantoms
from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.units import factor
from ipads_stream.distributions import LogUniform, Uniform
from ipads_stream.phantoms import Grid, RandomShapes, Sources, rasterized
from ipads_stream.preview.parameters import members
from ipads_stream.report.galleries import Column, image_rows, orthogonal
from ipads_stream.systems import System
from ipads_stream.systems.base import Gridded

DEFAULT = Grid((96, 96), (2e-3, 2e-3))  # of systems that do not say where their voxels are
ROWS = 4
MOST = 8  # columns
UNITS = {"T1": "ms", "T2": "ms", "df": "Hz", "B0": "Hz", "chi_ppm": "ppm"}  # of maps by name
SAMPLES = 4
FIELD = 0.22  # m, of the pictures
T2 = LogUniform(low=20, high=700, unit="ms")

Maps = Mapping[str, Any]


def template_gallery(system: System, keys: Keys, progress: float, path: Path) -> list[Path]:
    """Each phantom among the fields of a system by itself, sample by sample."""
    drawers = phantoms_of(system)
    if not drawers:
        return []
    keys = Keys(keys.seed, keys.split, keys.indices[:ROWS])
    grid = grid_of(system)
    at = np.full(len(keys.indices), progress)
    columns: list[Column] = []
    for name, phantom in drawers.items():
        short = name.rpartition(".")[2]
        for what, maps in _maps(phantom, keys, grid, at, short).items():
            title = "\n".join(part for part in (*name.split("."), what) if part)
            columns.append(map_column(title, what or short, maps, grid.field_of_view[-2:]))
    titles = [f"{keys.split} sample {index}" for index in keys.indices]
    return [image_rows(columns[:MOST], path, titles)]


def map_column(title: str, name: str, values: np.ndarray, extent: tuple[float, ...]) -> Column:
    """A column of maps, in the unit in which maps of that name are shown."""
    unit = UNITS.get(name, "")
    return Column(title, values / factor(unit), unit, "map", extent=extent)


def phantoms_of(system: System) -> dict[str, Any]:
    """The phantoms among the fields of a system that draw, outermost ones, by dotted name."""

    def draws_maps(value: Any) -> bool:
        is_phantom = type(value).__module__.startswith(phantoms.__name__)
        return is_phantom and callable(getattr(value, "draw", None))

    return members(system, draws_maps)


def grid_of(system: System) -> Grid:
    """Where the voxels of a system are: its grid, or one of its fields, or one of a head's size."""
    if isinstance(system, Gridded):
        return system.grid
    return next(iter(members(system, lambda value: isinstance(value, Grid)).values()), DEFAULT)


def _maps(
    phantom: Any, keys: Keys, grid: Grid, progress: np.ndarray, name: str
) -> dict[str, np.ndarray]:
    """What a phantom draws, the first texture or middle slice of each sample, by name.

    Of a system that draws it under the name of its field, it is that of the sample.
    """
    maps: Mapping[str, Any]
    if isinstance(phantom, RandomShapes):
        shapes = phantom.draw(keys, grid, progress=progress, name=name)
        grey = random.uniform(keys["preview.value"], (shapes.kind.shape[1], 1))
        maps = {"": rasterized(shapes, 0.2 + 0.8 * grey, grid)[:, 0]}
    elif isinstance(phantom, Sources):
        maps = {"": phantom.maps(keys, grid, progress=progress, name=name)}
    else:
        drawn = phantom.draw(keys, grid, progress=progress, name=name)
        maps = drawn if isinstance(drawn, Mapping) else {"": drawn}
    planes = {}
    for what, values in maps.items():
        values = np.asarray(values)
        values = values[:, 0] if values.ndim > 1 + grid.num_axes else values
        planes[what] = values if grid.num_axes == 2 else values[:, grid.shape[0] // 2]
    return planes


def preview_phantoms(output: Path, *, seed: int = 0, size: int = 128) -> list[Path]:
    """Galleries of everything that templates are made of; brains and images where available.

    Args:
        output: folder of the PNG files that are returned; made where it is missing.
        seed: of the samples.
        size: voxels along each axis of pictures; of volumes half of it.
    """
    output.mkdir(parents=True, exist_ok=True)
    half = max(size // 2, 8)
    plane = Grid((size, size), (FIELD / size,) * 2)
    space = Grid((half,) * 3, (FIELD / half,) * 3)
    galleries: dict[str, tuple[Callable[[Keys, Grid], Maps], Grid]] = {
        "shapes": (_shapes, plane),
        "shapes_3d": (_shapes, space),
        "fields": (_fields, plane),
        "textures": (_textures, plane),
        "images": (_images, plane),
        "brain": (_brain, plane),
        "brain_3d": (_brain, space),
        "susceptibility": (_sources, space),
    }
    keys = Keys(seed, "preview", np.arange(SAMPLES))
    titles = [f"sample {index}" for index in keys.indices]
    paths = []
    for name, (make, grid) in galleries.items():
        try:
            maps = make(keys, grid)
        except ConfigError as error:
            if error.key != "folder":
                raise
            continue  # no images or probability maps are installed
        columns = []
        for title, values in maps.items():
            whole = map_column(title, title.partition(" ")[0], np.asarray(values), (FIELD, FIELD))
            for column in [whole] if whole.values.ndim == 3 else orthogonal(whole, (FIELD,) * 3):
                upright = np.flip(column.values.swapaxes(1, 2), axis=1)  # the second axis upwards
                columns.append(replace(column, values=upright))
        paths.append(image_rows(columns, output / f"{name}.png", titles))
    return paths


def _shapes(keys: Keys, grid: Grid) -> Maps:
    shapes = RandomShapes().draw(keys, grid)
    quantities = {"T2": T2, "PD": Uniform(low=0, high=1)}
    maps = rasterized(shapes, phantoms.draw_values(keys, quantities, shapes), grid)
    texture = phantoms.LatticeTexture().draw(keys, grid)[:, 0]
    return {
        "T2": maps[:, 0],
        "T2 textured": phantoms.modulated(maps[:, 0], texture, 0.6),
        "PD": maps[:, 1],
    }


def _fields(keys: Keys, grid: Grid) -> Maps:
    drawers: Maps = {
        "B1": phantoms.moled_b1(),
        "df": phantoms.moled_b0(),
        "noise": phantoms.NoiseField(),
    }
    return {name: drawer.draw(keys, grid) for name, drawer in drawers.items()}


def _textures(keys: Keys, grid: Grid) -> Maps:
    drawers: Maps = {"fractal": phantoms.FractalTexture(), "lattice": phantoms.LatticeTexture()}
    return {name: drawer.draw(keys, grid)[:, 0] for name, drawer in drawers.items()}


def _images(keys: Keys, grid: Grid) -> Maps:
    texture = phantoms.ImageTexture().draw(keys, grid)[:, 0]
    return {"image": texture, "T2": phantoms.by_rank(texture, T2)}


def _brain(keys: Keys, grid: Grid) -> Maps:
    maps = phantoms.TissueBrain().draw(keys, grid)
    return {name: maps[name] for name in ("T1", "PD", "gm")}


def _sources(keys: Keys, grid: Grid) -> Maps:
    makers = {
        "lesions": phantoms.lesions,
        "vessels": phantoms.vessels,
        "spots": phantoms.spio_spots,
    }
    maps = {name: make().maps(keys, grid, name=name) for name, make in makers.items()}
    return {f"chi_ppm {name}": each.max(axis=3) + each.min(axis=3) for name, each in maps.items()}
