"""Measured raw data in plain files: free induction decays, and k-space of several coils.

Source of .cfl beside .hdr, BART's documentation: complex float32, the first dimension fastest.
"""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Complex64

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import check_declared, check_size, load_npy
from ipads_stream.core.images import IN_RANGE, in_range

FIDS = "complex signals in a file .npy, (points,) or (rows, points), or .txt of two columns"
KSPACE = "complex k-space (C, X, Y[, Z]) in a file .npy or .cfl"
ARRAYS = ("shot", "reference", "calibration")
SHOT = "complex arrays shot (C, L, S), reference (C, 3, S) and calibration (C, U, V) in a file .npz"
COIL = 3  # of BART's dimensions: read, phase 1, phase 2, coil, ...


def read_fids(path: Path) -> Complex64[np.ndarray, "rows points"]:
    """Signals of a file, one a row, any unit.

    Args:
        path: ``.npy``: complex, (points,) or (rows, points); ``.txt``: one signal, a point a line,
            real and imaginary part apart by spaces or a comma, lines after # left out.

    Raises:
        ConfigError: under the key ``data``: not such a file, or numbers that are not finite.
    """
    if path.suffix not in (".npy", ".txt") or not path.is_file():
        raise ConfigError("data", str(path), f"{FIDS}, that exists")
    if path.suffix == ".npy":
        values = read_npy(path)
    else:
        check_size("data", path)
        try:
            lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
            numbers = [line.partition("#")[0].split() for line in lines]
            real, imaginary = np.array([pair for pair in numbers if pair], float).T
        except (ValueError, OSError) as error:
            raise ConfigError("data", str(path), f"{FIDS} ({error})") from error
        values = real + 1j * imaginary
    values = np.atleast_2d(values)
    if not np.iscomplexobj(values) or values.ndim != 2:
        raise ConfigError("data", f"{values.dtype} of shape {values.shape}", FIDS)
    if not in_range(values):
        raise ConfigError("data", str(path), IN_RANGE)
    return values.astype(np.complex64)


def read_kspace(path: Path) -> Complex64[np.ndarray, "C X Y ..."]:
    """k-space, coils first, its centre at n // 2 of every axis and 0 where it was not sampled.

    Args:
        path: ``.npy``: (C, X, Y) or (C, X, Y, Z); ``.cfl`` beside its ``.hdr``: read, phase 1 and
            phase 2 become X, Y and Z; axes of length 1 are left out.

    Raises:
        ConfigError: under the key ``data``: not such a file, or numbers that are not finite.
    """
    if path.suffix not in (".cfl", ".npy") or not path.is_file():
        raise ConfigError("data", str(path), f"{KSPACE} that exists")
    kspace = _read_cfl(path) if path.suffix == ".cfl" else read_npy(path)
    if not np.iscomplexobj(kspace) or kspace.ndim not in (3, 4):
        raise ConfigError("data", f"{kspace.dtype} of shape {kspace.shape}", KSPACE)
    if not in_range(kspace) or not kspace.any():
        raise ConfigError("data", str(path), f"{IN_RANGE}, not all 0")
    return kspace.astype(np.complex64)


def read_shot(path: Path) -> dict[str, np.ndarray]:
    """The raw lines of one shot, by name: ``shot``, ``reference`` and ``calibration``, coils first.

    Args:
        path: ``.npz`` with these three complex arrays of three axes each.

    Raises:
        ConfigError: under the key ``data``: not such a file, or numbers that are not finite.
    """
    if path.suffix != ".npz" or not path.is_file():
        raise ConfigError("data", str(path), f"{SHOT}, that exists")
    try:
        with np.load(path, allow_pickle=False) as archive:
            sizes = sum(entry.file_size for entry in archive.zip.infolist())
            check_declared("data", path, sizes, is_packed=True)
            arrays = {name: archive[name] for name in ARRAYS if name in archive.files}
    except ConfigError:
        raise
    except Exception as error:  # foreign bytes make this parser fail in many ways
        raise ConfigError("data", str(path), f"{SHOT} ({error})") from error
    for name in ARRAYS:
        values = arrays.get(name)
        if values is None or not np.iscomplexobj(values) or values.ndim != 3:
            given = "none" if values is None else f"{values.dtype} of shape {values.shape}"
            raise ConfigError("data", f"{path.name}, {name}: {given}", SHOT)
        if not in_range(values) or not values.any():
            raise ConfigError("data", f"{path.name}, {name}", f"{IN_RANGE}, not all 0")
    return {name: values.astype(np.complex64) for name, values in arrays.items()}


def read_npy(path: Path) -> np.ndarray:
    """The array of a NumPy file; refused where it is not whole, or holds objects."""
    try:
        return load_npy(path)
    except ValueError as error:
        raise ConfigError("data", str(path), f"a whole NumPy file ({error})") from error


def _read_cfl(path: Path) -> np.ndarray:
    header = path.with_suffix(".hdr")
    try:
        lines = [line for line in header.read_text().splitlines() if not line.startswith("#")]
        sides = [int(word) for word in lines[0].split()]
        check_size("data", path)
        values = np.fromfile(path, np.complex64)
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError("data", str(header), f"the dimensions of the .cfl ({error})") from error
    sides += [1] * (COIL + 1 - len(sides))
    if min(sides) < 1 or values.size != math.prod(sides) or math.prod(sides[COIL + 1 :]) != 1:
        given = f"{values.size} numbers, dimensions {sides}"
        raise ConfigError("data", given, "as many numbers, and one set of coils alone")
    space = [side for side in sides[:COIL] if side > 1]
    return np.moveaxis(values.reshape(*space, sides[COIL], order="F"), -1, 0)
