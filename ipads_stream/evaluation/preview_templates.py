"""What the templates of an image system are made of: shapes, textures, fields, sources, brains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import phantoms
from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.preview_images import image_rows
from ipads_stream.evaluation.preview_views import Column
from ipads_stream.phantoms import Grid, RandomShapes, Sources, rasterized

DEFAULT = Grid((96, 96), (2e-3, 2e-3))  # of systems that do not say where their voxels are
ROWS = 4
MOST = 8  # columns


def template_gallery(system: Any, keys: Keys, progress: float, path: Path) -> Path | None:
    """Each phantom among the fields of a system by itself, sample by sample.

    Args:
        system: a dataclass.
        keys: of the samples.
        progress: global sample index at which they are drawn.
        path: of the PNG; nothing is drawn where the system has no phantoms.
    """
    found = phantoms_of(system)
    if not found:
        return None
    keys = Keys(keys.seed, keys.split, keys.indices[:ROWS])
    grid = grid_of(system)
    at = np.full(len(keys.indices), progress)
    columns: list[Column] = []
    for name, phantom in found.items():
        for what, maps in _maps(phantom, keys, grid, at, name.rpartition(".")[2]).items():
            title = "\n".join(part for part in (*name.split("."), what) if part)
            columns.append(Column(title, maps, kind="map"))
    titles = [f"{keys.split} sample {index}" for index in keys.indices]
    return image_rows(columns[:MOST], path, titles)


def phantoms_of(system: Any) -> dict[str, Any]:
    """The phantoms among the fields of a system, outermost ones, by dotted name."""
    found: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if _draws_maps(value):
            found[name] = value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                part = getattr(value, field.name)
                visit(f"{name}.{field.name}" if name else field.name, part)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                visit(f"{name}.{key}", part)
        elif isinstance(value, (list, tuple)):
            for k, part in enumerate(value):
                visit(f"{name}.{k}", part)

    visit("", system)
    return found


def _draws_maps(value: Any) -> bool:
    """Whether it is a phantom: a class of that package that draws."""
    is_phantom = type(value).__module__.startswith(phantoms.__name__)
    return is_phantom and callable(getattr(value, "draw", None))


def grid_of(system: Any) -> Grid:
    """Where the voxels of a system are: its grid, or one of its fields, or one of a head's size."""
    values = [getattr(system, "grid", None)]
    if dataclasses.is_dataclass(system):
        values += [getattr(system, field.name) for field in dataclasses.fields(system)]
    return next((value for value in values if isinstance(value, Grid)), DEFAULT)


def _maps(
    phantom: Any, keys: Keys, grid: Grid, progress: np.ndarray, name: str
) -> dict[str, np.ndarray]:
    """What a phantom draws, one picture per sample: name, where there are several -> maps.

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
    return {what: _plane(np.asarray(values), grid) for what, values in maps.items()}


def _plane(values: np.ndarray, grid: Grid) -> np.ndarray:
    """One plane of each sample: the first texture, the middle slice of a volume."""
    axes = grid.num_axes
    if values.ndim > 1 + axes:
        values = values[:, 0]
    return values if axes == 2 else values[:, grid.shape[0] // 2]
