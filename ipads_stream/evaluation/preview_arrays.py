"""Samples of any kind: curves of voxels, images and maps of slices, planes across volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.core.units import factor
from ipads_stream.evaluation.preview_images import image_rows
from ipads_stream.evaluation.preview_views import views
from ipads_stream.evaluation.preview_voxels import voxel_panels


def array_gallery(
    sample: Sample,
    path: Path,
    *,
    kind: str | None = None,
    quantities: Mapping[str, Quantity],
    count: int,
    titles: Sequence[str],
) -> Path:
    """Each sample in a row of images, or, of voxels, in a panel with its curves.

    Args:
        sample: a batch, on the host.
        path: of the PNG.
        kind: what one sample is: "voxel", "slice", "volume"; None: told from the arrays.
        quantities: what the targets are, for their units.
        count: samples drawn.
        titles: one per sample.
    """
    inputs = {name: np.asarray(array[:count]) for name, array in sample.inputs.items()}
    targets = {name: np.asarray(array[:count]) for name, array in sample.targets.items()}
    mask = targets.pop("mask", None)
    if mask is not None and "mask" in inputs and np.array_equal(inputs["mask"], mask):
        del inputs["mask"]  # it shows in the targets
    for name, array in targets.items():
        if mask is not None and mask.shape == array.shape and array.ndim > 1:
            targets[name] = np.where(mask, array, np.nan)
    columns = [
        replace(one, unit=one.unit or _unit(name, quantities))
        for name, array in inputs.items()
        for one in views(name, array, kind)
    ]
    given = {one.title for one in columns}
    for name, array in targets.items():
        unit = _unit(name, quantities)
        columns += [
            replace(one, unit=unit, kind="map" if one.kind == "image" else one.kind)
            for one in views(name, array / factor(unit) if unit else array, kind)
        ]
    if all(one.kind in ("curve", "number") for one in columns):
        return voxel_panels(columns, given, path, titles)
    return image_rows(columns, path, titles)


def _unit(name: str, quantities: Mapping[str, Quantity]) -> str:
    """Of a target as it is reported; ppm is said in names."""
    if name in quantities:
        return quantities[name].unit
    return "ppm" if name.endswith("_ppm") else ""
