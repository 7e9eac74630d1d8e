"""Measured values of one quantity, out of a CSV, NPY or NIfTI file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError

SUFFIXES = (".csv", ".npy", ".nii", ".nii.gz")


def read_values(path: str, column: str | int | None) -> Float[np.ndarray, " n"]:
    """All values of a file, or of one column of it, in the unit of the file.

    Args:
        path: of a CSV file (with or without names in the first line), an array (.npy), or a map
            (.nii, .nii.gz).
        column: name or number (from 0) of a CSV column, number of the last axis of an array; None:
            the only column, or all values.

    Raises:
        ConfigError: ``path`` or ``column`` cannot be used, or a value is not a finite number.
    """
    if not isinstance(path, str) or not path.endswith(SUFFIXES):
        raise ConfigError("path", path, f"a file that ends in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
        raise ConfigError("path", path, "a file that exists")
    if Path(path).stat().st_size == 0:
        raise ConfigError("path", path, "a file that is not empty")
    if path.endswith(".csv"):
        values = _read_csv(path, column)
    elif path.endswith(".npy"):
        values = _one_column(_read_npy(path), path, column)
    else:
        values = _one_column(_read_nifti(path), path, column)
    if values.size == 0:
        raise ConfigError("path", path, "a file with values; it holds none")
    if not np.isfinite(values).all():
        where = int(np.flatnonzero(~np.isfinite(values))[0])
        found = f"value {where} of {values.size} is {values[where]}"
        raise ConfigError("path", path, f"a file of finite numbers; {found}")
    return values


def _read_csv(path: str, column: str | int | None) -> Float[np.ndarray, " n"]:
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("path", path, f"a CSV file in UTF-8 ({error})") from None
    if not rows:
        raise ConfigError("path", path, "a file with values; it holds none")
    names = None if all(_is_number(cell) for cell in rows[0]) else [c.strip() for c in rows[0]]
    width = len(rows[0])
    at = _column_number(column, width, names)
    body = rows if names is None else rows[1:]
    values = []
    for line, row in enumerate(body, start=1 if names is None else 2):
        if len(row) <= at or not _is_number(row[at]):
            cell = row[at] if len(row) > at else ""
            raise ConfigError("path", path, f"numbers only; row {line} holds {cell!r}")
        values.append(float(row[at]))
    return np.array(values)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column_number(column: str | int | None, width: int, names: list[str] | None) -> int:
    allowed = f"a number from 0 to {width - 1}" + (
        f" or one of {', '.join(names)}" if names else ""
    )
    if column is None and width == 1:
        return 0
    if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < width:
        return column
    if isinstance(column, str) and names is not None and column in names:
        return names.index(column)
    raise ConfigError("column", column, allowed)


def _one_column(
    values: Float[np.ndarray, "..."], path: str, column: str | int | None
) -> Float[np.ndarray, " n"]:
    if values.dtype.kind not in "iuf":
        raise ConfigError("path", path, f"real numbers, not {values.dtype}")
    if column is not None:
        if values.ndim < 2:
            raise ConfigError("column", column, f"null: the array has {values.ndim} axis")
        values = values[..., _column_number(column, values.shape[-1], None)]
    return values.reshape(-1).astype(np.float64)


def _read_npy(path: str) -> Float[np.ndarray, "..."]:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ConfigError("path", path, f"an array file of NumPy ({error})") from None


def _read_nifti(path: str) -> Float[np.ndarray, "..."]:
    try:
        import nibabel
    except ModuleNotFoundError:
        raise ConfigError("path", path, "a CSV or NPY file; NIfTI needs nibabel") from None
    try:
        return np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ConfigError("path", path, f"a NIfTI file ({text})") from None
