"""Brains of tissue classes: maps of relaxation times and the like on any grid.

Shares of grey and white matter come from probability maps, that of cerebrospinal fluid is the rest
inside the head. Source of the maps: MNI ICBM152 2009a nonlinear symmetric, Fonov et al.,
NeuroImage 54, 313 (2011), as distributed with nilearn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Normal, Uniform, as_distribution
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.pyramid import Pyramid, pyramid
from ipads_stream.phantoms.smooth_fields import ANY, NoiseField, SmoothField, own_kind

TISSUES = ("gm", "wm", "csf")
PLANES = ("sagittal", "coronal", "axial")  # normal to the first, second, third axis of the atlas
LENGTH = 0.184  # m, of the atlas's brain from front to back
VARIATION = NoiseField(width=Uniform(low=8.0, high=20.0, unit="mm"))
EXTENT, STRETCH = Uniform(low=0.75, high=0.95), Uniform(low=0.92, high=1.08)
POSITION, SHIFT = Uniform(low=-0.5, high=0.5), Uniform(low=-0.05, high=0.05)
TURN = Uniform(low=-15.0, high=15.0, unit="deg")
DEFORMATION = NoiseField(
    amplitude=Uniform(low=0.0, high=3.0, unit="mm"), width=Uniform(low=25.0, high=50.0, unit="mm")
)
LEAST = 0.02  # share of tissue in a voxel below which it is outside the head


def relaxation_at_3t() -> dict[str, dict[str, Distribution]]:
    """T1, T2 and proton density of the three tissues at 3 T, with their spread between people.

    Round numbers of this project, such as are found at 3 T, not those of one publication.
    """
    means = {
        "gm": {"T1": 1350.0, "T2": 100.0, "PD": 0.82},
        "wm": {"T1": 850.0, "T2": 75.0, "PD": 0.70},
        "csf": {"T1": 4000.0, "T2": 1500.0, "PD": 1.0},
    }
    return {
        tissue: {
            name: Normal(
                mean=mean,
                std=0.1 * mean if name != "PD" else 0.03,
                low=0.7 * mean,
                high=1.3 * mean if name != "PD" else 1.1 * mean,
                unit="" if name == "PD" else "ms",
            )
            for name, mean in of.items()
        }
        for tissue, of in means.items()
    }


@dataclass(frozen=True, kw_only=True)
class TissueBrain:
    """Slices and volumes of a deformed atlas, each tissue with its own values.

    map = sum_t share_t value_t (1 + within n(r)) / sum_t share_t, 0 outside the head, n a smooth
    noise of standard deviation 1, own of each quantity.

    Attributes:
        values: tissue (gm, wm, csf) -> quantity -> distribution over samples.
        within: relative standard deviation within a tissue.
        variation: n.
        extent: length of the brain as a share of the shortest field of view; None: its true size.
        position: centre along each axis of the atlas; -1 and 1 are the ends of the brain. In the
            plane only that along the normal is drawn from it.
        shift: centre within the plane, or in space, as a share of half the field of view.
        turn: about each axis.
        stretch: of each axis.
        deformation: displacement along each axis, m.
        planes: frequency of axial, coronal and sagittal slices.
        folder: of the maps; None: the folder ``brain`` of IPADS_DATA.
    """

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=relaxation_at_3t)
    within: Distribution | float = 0.03
    variation: SmoothField = VARIATION
    extent: Distribution | float | None = EXTENT
    position: Distribution | float = POSITION
    shift: Distribution | float = SHIFT
    turn: Distribution | float = TURN
    stretch: Distribution | float = STRETCH
    deformation: SmoothField | None = DEFORMATION
    planes: Mapping[str, float] = field(
        default_factory=lambda: {"axial": 3.0, "coronal": 1.0, "sagittal": 1.0}
    )
    folder: str | None = None

    def __post_init__(self) -> None:
        values = {t: dict(of) for t, of in self.values.items()}
        if set(values) != set(TISSUES) or len({frozenset(of) for of in values.values()}) != 1:
            raise ConfigError(
                "values", values, f"the same quantities for each of {', '.join(TISSUES)}"
            )
        for tissue, of in values.items():
            for name, value in of.items():
                of[name] = as_distribution(
                    f"values.{tissue}.{name}", value, within=ANY, quantity=own_kind(value)
                )
        object.__setattr__(self, "values", values)
        limits = {"within": (0.0, 1.0), "position": (-1.0, 1.0), "shift": ANY, "stretch": (0.1, 10)}
        for name, within in limits.items():
            found = as_distribution(name, getattr(self, name), within=within)
            object.__setattr__(self, name, found)
        turn = as_distribution("turn", self.turn, within=ANY, quantity="angle")
        object.__setattr__(self, "turn", turn)
        if self.extent is not None:
            extent = as_distribution("extent", self.extent, within=(1e-2, 1e2))
            object.__setattr__(self, "extent", extent)
        if set(self.planes) - set(PLANES) or not sum(self.planes.values()) > 0:
            raise ConfigError("planes", dict(self.planes), f"frequencies of {', '.join(PLANES)}")

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "brain",
        xp: Any = np,
    ) -> dict[str, Float32[Any, "B ..."]]:
        """Maps of every quantity and shares of every tissue, each (B, *grid.shape).

        Args:
            keys: of B samples.
            grid: of the maps: two axes give slices, three volumes.
            progress: global sample indices, for distributions that change over training.
            name: before the names of the random streams.
            xp: array library that computes: numpy or cupy.

        Raises:
            ConfigError: the probability maps are not there.
        """
        shares = self.shares(keys, grid, progress=progress, name=name, xp=xp)
        total = shares[:, 0] + shares[:, 1] + shares[:, 2]
        inside = total > LEAST
        safe = xp.where(inside, total, xp.ones_like(total))
        found = {tissue: shares[:, k] for k, tissue in enumerate(TISSUES)}
        within = self._drawn("within", (), keys, progress, name).astype(np.float32)
        of = (-1,) + (1,) * grid.num_axes
        for quantity in self.values["gm"]:
            mixture: Any = 0.0
            for tissue in TISSUES:
                value = self.values[tissue][quantity].draw(
                    keys[f"{name}.{tissue}.{quantity}"], (), progress
                )
                value = xp.asarray(value.astype(np.float32)).reshape(of)
                mixture = mixture + value * found[tissue]
            if np.any(within > 0):
                noise = self.variation.draw(
                    keys, grid, progress=progress, name=f"{name}.variation.{quantity}", xp=xp
                )
                noise = 1 + xp.asarray(within).reshape(of) * noise
                mixture = mixture * xp.maximum(noise, 0.05)
            found[quantity] = xp.where(inside, mixture / safe, 0 * safe)
        return found

    def shares(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "brain",
        xp: Any = np,
    ) -> Float32[Any, "B 3 ..."]:
        """Shares of grey matter, white matter and fluid, (B, 3, *grid.shape).

        Args:
            keys, grid, progress, name, xp: as of draw.
        """
        atlas = atlas_of(self.folder)
        matrix, centre = self._pose(keys, grid, progress, name)
        places = self._places(matrix, centre, keys, grid, progress, name, xp)
        step = np.sqrt((matrix**2).sum(axis=1)).max(axis=1)
        out = atlas.sampled(np.zeros(len(step), np.int64), step, places, xp=xp)
        return out.reshape(-1, 3, *grid.shape)

    def _drawn(
        self, what: str, shape: tuple[int, ...], keys: Keys, progress: Any, name: str
    ) -> Any:
        return getattr(self, what).draw(keys[f"{name}.{what}"], shape, progress)

    def _pose(self, keys: Keys, grid: Grid, progress: Any, name: str) -> tuple[Any, Any]:
        """Matrices (B, 3, D) from grid voxels to atlas voxels, and centres (B, 3) in the atlas."""
        D = grid.num_axes
        size = atlas_of(self.folder).shapes[0].astype(float)
        B = len(keys["?"].indices)
        scale = np.full(B, 1.0)
        if self.extent is not None:
            extent = self._drawn("extent", (), keys, progress, name)
            scale = LENGTH / (extent * min(grid.field_of_view))
        stretch = self._drawn("stretch", (3,), keys, progress, name)
        turned = _turns(self._drawn("turn", (3,), keys, progress, name))
        # atlas = turned (stretch scale r): r in the frame of the atlas, m; its voxels are 1 mm.
        whole = 1e3 * turned * (scale[:, None] / stretch)[:, None, :]
        place = self._drawn("position", (3,), keys, progress, name)
        axes = np.broadcast_to(np.arange(3), (B, 3))
        if D == 2:
            weights = np.array([self.planes.get(plane, 0.0) for plane in PLANES])
            edges = np.cumsum(weights) / weights.sum()
            u = random.uniform(keys[f"{name}.plane"], ())
            normal = np.searchsorted(edges[:-1], u, side="right")
            axes = np.array([[1, 2], [0, 2], [0, 1]])[normal]
            place = np.where(np.arange(3) == normal[:, None], place, 0.0)
        matrix = np.take_along_axis(whole, axes[:, None, :].repeat(3, 1), axis=2)
        flip = np.where(random.uniform(keys[f"{name}.mirror"], ()) < 0.5, -1.0, 1.0)
        shift = self._drawn("shift", (3,), keys, progress, name)[:, :D]
        centre = (size - 1) / 2 * (1 + place)
        half = 0.5 * np.asarray(grid.field_of_view)
        centre = centre - np.einsum("bij,bj->bi", matrix, shift * half)
        matrix = matrix * np.asarray(grid.spacing)
        matrix[:, 0] *= flip[:, None]  # left and right of the atlas
        centre[:, 0] = np.where(flip < 0, size[0] - 1 - centre[:, 0], centre[:, 0])
        return matrix, centre

    def _places(
        self, matrix: Any, centre: Any, keys: Keys, grid: Grid, progress: Any, name: str, xp: Any
    ) -> Any:
        """Atlas coordinates (B, 3, voxels) of the grid's voxels."""
        of = (-1, 3) + (1,) * grid.num_axes
        matrix = xp.asarray(matrix.astype(np.float32))
        places: Any = xp.asarray(centre.astype(np.float32)).reshape(of)
        for axis, n in enumerate(grid.shape):
            along = xp.arange(n, dtype=xp.float32) - n // 2
            along = along.reshape([-1 if k == axis else 1 for k in range(grid.num_axes)])
            places = places + matrix[:, :, axis].reshape(of) * along
        if self.deformation is not None:
            moved = [
                self.deformation.draw(
                    keys, grid, progress=progress, name=f"{name}.deformation.{axis}", xp=xp
                )
                for axis in range(3)
            ]
            places = places + 1e3 * xp.stack(moved, axis=1)
        return places.reshape(len(matrix), 3, -1)


def atlas_of(folder: str | None) -> Pyramid:
    """The shares of the three tissues with their reductions, read once per process (17 MB).

    Args:
        folder: of the maps; None: ``brain`` of the folder that IPADS_DATA names.

    Raises:
        ConfigError: they are not there.
    """
    if folder is None:
        data = os.environ.get("IPADS_DATA")
        if not data:
            allowed = "a folder of probability maps, or IPADS_DATA set to one that holds brain/"
            raise ConfigError("folder", folder, allowed)
        folder = str(Path(data) / "brain")
    return _read_atlas(folder)


@lru_cache(maxsize=2)
def _read_atlas(folder: str) -> Pyramid:
    import nibabel
    from scipy.ndimage import binary_closing, binary_fill_holes

    volumes = []
    for tissue in ("gm", "wm", "t1"):
        path = Path(folder) / f"mni_icbm152_{tissue}_tal_nlin_sym_09a.nii.gz"
        if not path.is_file():
            raise ConfigError("folder", folder, f"a folder that holds {path.name} (of nilearn)")
        volumes.append(np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj))
    gm, wm, t1 = volumes
    head = binary_closing((t1 > 0) | (gm + wm.astype(np.uint16) > 127), iterations=3)
    head = binary_fill_holes(head)
    within = np.argwhere(head)
    low, high = within.min(axis=0) - 1, within.max(axis=0) + 2
    box = tuple(
        slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, gm.shape, strict=True)
    )
    gm, wm, head = gm[box], wm[box], head[box]
    both = gm.astype(np.int16) + wm
    csf = np.where(head, np.clip(255 - both, 0, 255), 0).astype(np.uint8)
    # Rounding of the maps may exceed 1 together.
    wm = np.where(both > 255, 255 - gm.astype(np.int16), wm).astype(np.uint8)
    return pyramid([np.stack([gm, wm, csf])])


def _turns(angles: Float[np.ndarray, "B 3"]) -> Float[np.ndarray, "B 3 3"]:
    """Rotations about the first, then the second, then the third axis."""
    total: Any = np.eye(3)
    for axis in range(3):
        c, s = np.cos(angles[:, axis]), np.sin(angles[:, axis])
        turn = np.zeros((len(angles), 3, 3))
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[:, axis, axis] = 1
        turn[:, a, a], turn[:, b, b], turn[:, a, b], turn[:, b, a] = c, c, -s, s
        total = turn @ total
    return total
