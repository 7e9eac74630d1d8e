"""How an array of samples is seen: as a number, a curve, images of its channels, three planes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CHANNELS = 4  # of an array, drawn at most
VOLUME = 8  # first axis of a three-dimensional array from which on it is space, not channels
FAINT = 0.02  # of the strongest, below which a phase says nothing
ORTHOGONAL = ("axial", "coronal", "sagittal")  # slices across the first, second and third axis


@dataclass(frozen=True)
class Column:
    """One column of a gallery: the same view of every sample.

    Attributes:
        title: above the column.
        values: of each sample: (rows,), (rows, points) or (rows, height, width).
        unit: of the values, for the colour bar.
        kind: "number", "curve", "image", "phase" or "map".
        whole: what the colours are scaled to, where that is more than the values.
    """

    title: str
    values: np.ndarray
    unit: str = ""
    kind: str = "image"
    whole: np.ndarray | None = None


def views(name: str, array: np.ndarray, kind: str | None) -> list[Column]:
    """The columns that show an array.

    Args:
        name: of the array.
        array: (rows, ...).
        kind: "voxel", "slice", "volume" or None, as in :func:`array_gallery`.
    """
    if array.dtype.kind == "b":
        array = array.astype(np.float32)
    if array[0].size == 1:
        values = array.reshape(len(array))
        return [Column(name, values, kind="number")]
    if array.ndim == 2:
        return [Column(name, array, kind="curve")]
    if kind == "voxel":
        channels = array.reshape(len(array), -1, array.shape[-1])
        return _channels(name, channels, "curve")
    is_volume = array.ndim >= 5 or (
        array.ndim == 4 and (kind == "volume" or (kind is None and array.shape[1] > VOLUME))
    )
    if is_volume:
        volumes = array.reshape(len(array), -1, *array.shape[-3:])
        found: list[Column] = []
        for one in _channels(name, volumes, "image"):
            found += _orthogonal(one)
        return found
    return _channels(name, array.reshape(len(array), -1, *array.shape[-2:]), "image")


def _channels(name: str, array: np.ndarray, kind: str) -> list[Column]:
    """Some channels of (rows, channels, ...), complex images as magnitude and phase."""
    count = array.shape[1]
    chosen = np.unique(np.rint(np.linspace(0, count - 1, min(count, CHANNELS))).astype(int))
    found = []
    for channel in chosen:
        values = array[:, channel]
        title = name if count == 1 else f"{name}, {channel + 1} of {count}"
        if np.iscomplexobj(values) and kind == "image":
            found.append(Column(f"|{title}|", np.abs(values)))
            if count == 1:
                strong = np.abs(values) > FAINT * np.abs(values).max()
                phase = np.where(strong, np.angle(values), np.nan)
                found.append(Column(f"phase of {title}", phase, "rad", "phase"))
        else:
            found.append(Column(title, values, kind=kind))
    return found


def _orthogonal(column: Column) -> list[Column]:
    """The three middle slices of (rows, depth, height, width)."""
    values = column.values
    middle = [size // 2 for size in values.shape[1:]]
    slices = (values[:, middle[0]], values[:, :, middle[1]], values[:, :, :, middle[2]])
    return [
        replace(column, title=f"{column.title}\n{name}", values=some, whole=values)
        for name, some in zip(ORTHOGONAL, slices, strict=True)
    ]
