"""How the voxels of measured images lie in those of a system: turned about B0 of the scanner."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from ipads_stream.core.errors import ConfigError
from ipads_stream.data.images import Images
from ipads_stream.systems import System
from ipads_stream.systems.base import FieldMapped, Spatial

TILT = 5.0  # degrees, of B0 in the voxels against that of the system: a choice of this project
FACTOR = 2.0  # of the voxels of field maps that are resampled: finer or coarser ones say too little
AS_THEY_ARE = (0, 1, 2), (1, 1, 1)


@dataclass(frozen=True)
class Placement:
    """From the voxels of images to those of a system, and back.

    Attributes:
        turned: (X, Y, Z, N) of the images -> of the system.
        back: (X, Y, Z) of the system -> of the images.
        note: what was done; "" if nothing was.
    """

    turned: Callable[[np.ndarray], np.ndarray] = lambda values: values
    back: Callable[[np.ndarray], np.ndarray] = lambda values: values
    note: str = ""


def placement(system: System, images: Images) -> Placement:
    """Where images lie in the voxels of a system whose physics depends on it.

    Field maps are turned: their axes are exchanged and reversed, and where B0 still is more than
    TILT off, interpolated linearly on axes along it. So are they where their voxels are others, by
    FACTOR at most. Images are not: slices and readout have directions, too. NumPy files are taken
    as they are.

    Raises:
        ConfigError: under ``data``: voxels or a direction of B0 other than those of the system, or
            a file that does not say where B0 is.

    Source: Kiersnowski et al., Magnetic Resonance in Medicine 89:1791 (2023), tilt correction.
    """
    if images.header is None or not isinstance(system, Spatial):
        return Placement()
    if images.scanner is None:
        given = "an affine that is not the scanner's"
        allowed = "sform or qform with code 1 or 2 and the voxels of the header"
        raise ConfigError("data", given, allowed)
    spacing, size = np.linalg.norm(images.scanner, axis=0), 1e3 * np.asarray(system.voxel_size)
    simulated = np.asarray(system.B0_direction) / np.linalg.norm(system.B0_direction)
    B0 = images.scanner[2] / np.where(spacing > 0, spacing, 1)
    ways: list[tuple[tuple[int, ...], tuple[int, ...]]] = [AS_THEY_ARE]
    is_field = isinstance(system, FieldMapped)
    if is_field:
        ways = list(product(permutations(range(3)), product((1, -1), repeat=3)))
    sides = {way: spacing[list(way[0])][: len(size)] for way in ways}
    stretch = {way: _stretch(sides[way] / size) for way in ways}
    fits = [way for way in ways if stretch[way] <= (FACTOR if is_field else 1.0)]
    if not fits:
        sizes = (" x ".join(f"{side:.4g}" for side in sides) for sides in (spacing, size))
        others = f", or within a factor {FACTOR:g} of them" if is_field else ""
        given = f"voxels of {next(sizes)} mm"
        raise ConfigError("data", given, f"voxels of {next(sizes)} mm{others}")
    along = [np.asarray(signs) * B0[list(axes)] for axes, signs in fits]
    # A dipole has no preferred end. Rounded, so that of equals the first is taken, or the one whose
    # voxels are nearest.
    cosines = np.round([abs(direction @ simulated) for direction in along], 6)
    best = int(np.lexsort((np.round([stretch[way] for way in fits], 6), -cosines))[0])
    is_resampled = stretch[fits[best]] > 1
    axes, signs = fits[best]
    turned, back = _exchanged(axes, signs)
    seen = f"B0 along {np.round(B0, 2).tolist()} of the voxel axes"
    is_along = cosines[best] >= np.cos(np.deg2rad(TILT))
    if is_along and not is_resampled:
        note = f"{seen}: axes exchanged for the system, and back"
        return Placement(turned, back, note if fits[best] != AS_THEY_ARE else "")
    if not is_field:
        raise ConfigError("data", seen, f"within {TILT:g} degrees of {simulated.tolist()}")
    shape = np.asarray(images.values.shape[:3])[list(axes)]
    turn, notes = np.eye(3), []
    if is_resampled:
        given, wanted = (" x ".join(f"{side:.4g}" for side in x) for x in (sides[fits[best]], size))
        notes.append(f"voxels of {given} mm interpolated on {wanted} mm for the system, and back")
    if not is_along:
        turn = _turn(along[best] * (-1 if along[best] @ simulated < 0 else 1), simulated)
        notes.append(f"{seen}: interpolated on axes along it for the system, and back")
    to_system, as_before = _interpolated(shape, sides[fits[best]], size, turn)
    return Placement(lambda x: to_system(turned(x)), lambda x: back(as_before(x)), "; ".join(notes))


def _stretch(ratio: np.ndarray) -> float:
    """The largest factor between sides, 1 where they are the same to 2 %."""
    return 1.0 if np.allclose(ratio, 1, rtol=0.02) else float(np.maximum(ratio, 1 / ratio).max())


def _exchanged(axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Callable, Callable]:
    """Exchanges and reverses the axes of (X, Y, Z, N), and undoes it for (X, Y, Z)."""
    steps = tuple(slice(None, None, sign) for sign in signs)
    back = tuple(np.argsort(axes).tolist())
    return lambda x: x.transpose(*axes, 3)[steps], lambda x: x[steps].transpose(back)


def _turn(direction: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rotation that takes a direction to another, (3, 3)."""
    axis = np.cross(direction, wanted)
    angle = np.arccos(np.clip(direction @ wanted, -1, 1))
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()


def _interpolated(
    shape: np.ndarray, spacing: np.ndarray, size: np.ndarray, turn: np.ndarray
) -> tuple[Callable, Callable]:
    """Interpolates (X, Y, Z, N), voxels of ``spacing`` mm, on voxels of ``size`` mm whose axes are
    turned by ``turn``, and maps back."""
    counts = np.ceil(np.abs(turn) @ ((shape - 1) * spacing) / size).astype(int) + 1
    there, middle, centre = turn.T * size / spacing[:, None], (shape - 1) / 2, (counts - 1) / 2
    back = np.linalg.inv(there)

    def along(x: np.ndarray) -> np.ndarray:
        """Of what is inside, not 0; half a voxel outside it is 0 again."""
        how = {"offset": middle - there @ centre, "output_shape": tuple(counts), "order": 1}
        made = []
        for image in np.moveaxis(x, -1, 0):
            inside = affine_transform((image != 0).astype(np.float32), there, **how)
            whole = affine_transform(image, there, **how)
            made.append(np.where(inside > 0.5, whole / np.maximum(inside, 0.5), 0))
        return np.stack(made, -1).astype(x.dtype)

    def before(x: np.ndarray) -> np.ndarray:
        how = {"offset": centre - back @ middle, "output_shape": tuple(shape), "order": 1}
        return affine_transform(x, back, mode="nearest", **how)

    return along, before
