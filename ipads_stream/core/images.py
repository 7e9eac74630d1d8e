"""Convert user images to a system's samples, each a "voxel", "slice" or "volume", and maps back."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ipads_stream.core.errors import ConfigError

LEAST = 1e-15
IN_RANGE = f"finite numbers, the largest between {LEAST:g} and {1 / LEAST:g}"

_SPACE = {"voxel": (0, 1, 2, 3), "slice": (2, 3), "volume": (3,)}


def measured_samples(
    images: np.ndarray,
    kind: str,
    *,
    counts: Sequence[int],
    content: str,
    numbers: Literal["complex", "real", "any"] = "any",
) -> np.ndarray:
    """Measured images (*space, N) as samples, batch first, after the checks every system makes.

    Args:
        kind: as of :func:`as_samples`.
        counts: the numbers of images N that are allowed.
        content: what the images are, for the error.
        numbers: what they consist of.

    Raises:
        ConfigError: other numbers of images or of space axes, complex images for real ones or the
            reverse, values that are not finite.
    """
    images = np.asarray(images)
    if images.ndim < 2 or images.shape[-1] not in counts:
        given = f"{images.shape[-1]} images" if images.ndim > 1 else f"images of {images.shape}"
        raise ConfigError("data", given, f"{content}, along the last axis")
    if numbers != "any" and np.iscomplexobj(images) != (numbers == "complex"):
        given = "real" if numbers == "complex" else "complex"
        raise ConfigError("data", f"{given} images", f"{numbers} images: {content}")
    if not np.isfinite(images).all():
        raise ConfigError("data", "values that are not finite", "finite values")
    if not in_range(images):
        raise ConfigError("data", "values of this size", IN_RANGE)
    return as_samples(images, kind)


def in_range(values: np.ndarray) -> bool:
    """Whether measured numbers are finite, and squares of the largest neither overflow in single
    precision nor vanish; zeros are."""
    largest = max(float(np.max(np.abs(part), initial=0.0)) for part in (values.real, values.imag))
    return bool(np.isfinite(values).all()) and (largest == 0 or LEAST <= largest <= 1 / LEAST)


def check_axis(
    axis: np.ndarray | None, expected: Any, what: str, *, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Refuses images that were not measured where the system's are; an unknown axis passes.

    Args:
        axis: one number for each image, SI or ppm; None: unknown.
        expected: those of the system.
        what: the axis, with its unit, for the error, e.g. "echo times (s)".
        rtol, atol: tolerances of ``np.allclose``.

    Raises:
        ConfigError: another number of values, or values outside the tolerance.
    """
    if axis is None:
        return
    given, asked = np.atleast_1d(axis), np.atleast_1d(expected)
    if given.shape != asked.shape or not np.allclose(given, asked, rtol=rtol, atol=atol):
        text = [np.array2string(x, precision=5, threshold=6, edgeitems=2) for x in (given, asked)]
        raise ConfigError("data", f"{what} {text[0]}", f"those of the system, {text[1]}")


def as_samples(images: np.ndarray, kind: str) -> np.ndarray:
    """Images (*space, N), space axes first, as samples, batch first.

    A "voxel" gives (voxels, N), in C order; a "slice" (slices, X, Y, N) of (X, Y[, Z], N); a
    "volume" (1, X, Y, Z, N). ConfigError: another number of space axes.
    """
    space = images.shape[:-1]
    if kind not in _SPACE:
        raise ConfigError("kind", kind, f"one of {', '.join(_SPACE)}")
    if len(space) not in _SPACE[kind]:
        allowed = " or ".join(str(number) for number in _SPACE[kind])
        raise ConfigError("data", f"images of {len(space)} space axes", f"{allowed} space axes")
    if kind == "voxel":
        return images.reshape(-1, images.shape[-1])
    if kind == "volume" or len(space) == 2:
        return images[None]
    return np.moveaxis(images, 2, 0)


def as_maps(values: np.ndarray, kind: str, space: tuple[int, ...]) -> np.ndarray:
    """Maps (voxels,), (slices, X, Y) or (1, X, Y, Z) in the place of images, (*space).

    Raises:
        ConfigError: another number of space axes.
        ValueError: maps that do not fit the images.
    """
    expected = as_samples(np.broadcast_to(0, (*space, 1)), kind).shape[:-1]
    if values.shape != expected:
        raise ValueError(f"maps have shape {values.shape}, images {space}: {expected} is needed")
    if kind == "slice" and len(space) == 3:
        return np.moveaxis(values, 0, 2)
    return values.reshape(space)
