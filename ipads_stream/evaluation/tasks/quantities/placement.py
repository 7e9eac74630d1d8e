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
    TILT off, interpolated linearly on axes along it. Images are not: slices and readout have
    directions, too. NumPy files are taken as they are.

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
    if isinstance(system, FieldMapped):
        ways = list(product(permutations(range(3)), product((1, -1), repeat=3)))
    fits = [way for way in ways if np.allclose(size, spacing[list(way[0])][: len(size)], rtol=0.02)]
    if not fits:
        sizes = (" x ".join(f"{side:.4g}" for side in sides) for sides in (spacing, size))
        raise ConfigError("data", f"voxels of {next(sizes)} mm", f"voxels of {next(sizes)} mm")
    along = [np.asarray(signs) * B0[list(axes)] for axes, signs in fits]
    # A dipole has no preferred end. Rounded, so that of equals the first is taken.
    cosines = np.round([abs(direction @ simulated) for direction in along], 6)
    best = int(np.argmax(cosines))
    axes, signs = fits[best]
    turned, back = _exchanged(axes, signs)
    seen = f"B0 along {np.round(B0, 2).tolist()} of the voxel axes"
    if cosines[best] >= np.cos(np.deg2rad(TILT)):
        note = f"{seen}: axes exchanged for the system, and back"
        return Placement(turned, back, note if fits[best] != AS_THEY_ARE else "")
    if not isinstance(system, FieldMapped):
        raise ConfigError("data", seen, f"within {TILT:g} degrees of {simulated.tolist()}")
    shape = np.asarray(images.values.shape[:3])[list(axes)]
    direction = along[best] * np.sign(along[best] @ simulated)
    along_B0, as_before = _tilted(shape, size, direction, simulated)
    note = f"{seen}: interpolated on axes along it for the system, and back"
    return Placement(lambda x: along_B0(turned(x)), lambda x: back(as_before(x)), note)


def _exchanged(axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Callable, Callable]:
    """Exchanges and reverses the axes of (X, Y, Z, N), and undoes it for (X, Y, Z)."""
    steps = tuple(slice(None, None, sign) for sign in signs)
    back = tuple(np.argsort(axes).tolist())
    return lambda x: x.transpose(*axes, 3)[steps], lambda x: x[steps].transpose(back)


def _tilted(
    shape: np.ndarray, spacing: np.ndarray, direction: np.ndarray, wanted: np.ndarray
) -> tuple[Callable, Callable]:
    """Interpolates (X, Y, Z, N) on axes in which ``direction`` is ``wanted``, and maps back."""
    axis = np.cross(direction, wanted)
    angle = np.arccos(np.clip(direction @ wanted, -1, 1))
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    counts = np.ceil(np.abs(turn) @ ((shape - 1) * spacing) / spacing).astype(int) + 1
    there, middle, centre = turn.T * spacing / spacing[:, None], (shape - 1) / 2, (counts - 1) / 2
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
