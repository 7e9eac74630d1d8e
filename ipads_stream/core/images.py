"""Somebody's images as the samples of a system, and its maps back in their place.

``kind`` says what one sample of a system is: a "voxel", a "slice" or a "volume".
"""

from __future__ import annotations

import numpy as np

from ipads_stream.core.errors import ConfigError

KINDS = ("voxel", "slice", "volume")
_SPACE = {"voxel": (0, 1, 2, 3), "slice": (2, 3), "volume": (3,)}


def as_samples(images: np.ndarray, kind: str) -> np.ndarray:
    """Images as samples, batch first.

    Args:
        images: space axes first, then one axis of channels: (*space, N).
        kind: "voxel": (voxels, N), in C order; "slice": (slices, X, Y, N) of (X, Y[, Z], N);
            "volume": (1, X, Y, Z, N).

    Raises:
        ConfigError: another number of space axes.
    """
    space = images.shape[:-1]
    _check(space, kind)
    if kind == "voxel":
        return images.reshape(-1, images.shape[-1])
    if kind == "volume" or len(space) == 2:
        return images[None]
    return np.moveaxis(images, 2, 0)


def as_maps(values: np.ndarray, kind: str, space: tuple[int, ...]) -> np.ndarray:
    """Maps of samples in the place of :func:`as_samples`' images, (*space).

    Args:
        values: batch first: (voxels,), (slices, X, Y) or (1, X, Y, Z).
        kind: as of :func:`as_samples`.
        space: extents of the images.

    Raises:
        ConfigError: another number of space axes.
        ValueError: maps that do not fit the images.
    """
    _check(space, kind)
    if kind == "voxel":
        expected: tuple[int, ...] = (int(np.prod(space, dtype=int)),)
    elif kind == "volume" or len(space) == 2:
        expected = (1, *space)
    else:
        expected = (space[2], *space[:2])
    if values.shape != expected:
        raise ValueError(f"maps have shape {values.shape}, images {space}: {expected} is needed")
    if kind == "voxel":
        return values.reshape(space)
    return values[0] if len(expected) == len(space) + 1 else np.moveaxis(values, 0, 2)


def _check(space: tuple[int, ...], kind: str) -> None:
    if kind not in KINDS:
        raise ConfigError("kind", kind, f"one of {', '.join(KINDS)}")
    if len(space) not in _SPACE[kind]:
        allowed = " or ".join(str(number) for number in _SPACE[kind])
        raise ConfigError("data", f"images of {len(space)} space axes", f"{allowed} space axes")
