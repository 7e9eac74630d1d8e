"""Brains of tissue classes: maps of relaxation times and the like on any grid.

Shares of grey and white matter come from probability maps, that of cerebrospinal fluid is the rest
inside the head. Source of the maps: MNI ICBM152 2009a nonlinear symmetric, Fonov et al.,
NeuroImage 54, 313 (2011), as distributed with nilearn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import keep
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Normal, Uniform
from ipads_stream.distributions.parameters import as_parameters, check_each, parameter
from ipads_stream.phantoms.draws import Draws, Step
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.pyramid import Pyramid, folder_of_sources, pyramid
from ipads_stream.phantoms.smooth_fields import ANY, NoiseField, SmoothField

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

    Round numbers chosen here, typical of 3 T, not those of one publication.
    """

    def time(mean: float) -> Normal:
        return Normal(mean=mean, std=0.1 * mean, low=0.7 * mean, high=1.3 * mean, unit="ms")

    means = {"gm": (1350.0, 100.0, 0.82), "wm": (850.0, 75.0, 0.70), "csf": (4000.0, 1500.0, 1.0)}
    return {
        tissue: {
            "T1": time(T1),
            "T2": time(T2),
            "PD": Normal(mean=PD, std=0.03, low=0.7 * PD, high=1.1 * PD),
        }
        for tissue, (T1, T2, PD) in means.items()
    }


@dataclass(frozen=True, kw_only=True)
class TissueBrain:
    """Slices and volumes of a deformed atlas, each tissue with its own values.

    map = sum_t share_t value_t (1 + within n(r)) / sum_t share_t, 0 outside the head, n a smooth
    noise of standard deviation 1, another for each quantity.

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
    within: Distribution | float = parameter(0.03, within=(0.0, 1.0))
    variation: SmoothField = VARIATION
    extent: Distribution | float | None = parameter(EXTENT, within=(1e-2, 1e2), optional=True)
    position: Distribution | float = parameter(POSITION, within=(-1.0, 1.0))
    shift: Distribution | float = parameter(SHIFT)
    turn: Distribution | float = parameter(TURN, quantity="angle")
    stretch: Distribution | float = parameter(STRETCH, within=(0.1, 10))
    deformation: SmoothField | None = DEFORMATION
    planes: Mapping[str, float] = field(
        default_factory=lambda: {"axial": 3.0, "coronal": 1.0, "sagittal": 1.0}
    )
    folder: str | None = None

    def __post_init__(self) -> None:
        values = {tissue: dict(drawn) for tissue, drawn in self.values.items()}
        if set(values) != set(TISSUES) or len({frozenset(x) for x in values.values()}) != 1:
            allowed = f"the same quantities for each of {', '.join(TISSUES)}"
            raise ConfigError("values", values, allowed)
        for tissue, drawn in values.items():
            keyed = {f"values.{tissue}.{name}": value for name, value in drawn.items()}
            checked = as_parameters(keyed, dict.fromkeys(keyed, ANY))
            drawn |= dict(zip(drawn, checked.values(), strict=True))
        keep(self, values=values)
        check_each(self)
        if set(self.planes) - set(PLANES) or not sum(self.planes.values()) > 0:
            raise ConfigError("planes", dict(self.planes), f"frequencies of {', '.join(PLANES)}")

    def draw(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "brain", xp: Any = np
    ) -> dict[str, Float32[Any, "B ..."]]:
        """Maps of every quantity and shares of every tissue, each (B, *grid.shape).

        The arguments are those of every template (draws.py); two axes give slices, three volumes.

        Raises:
            ConfigError: the probability maps are not there.
        """
        draws = Draws(keys, progress, name)
        shares = self._shares(draws, grid, xp)
        total = shares[:, 0] + shares[:, 1] + shares[:, 2]
        inside = total > LEAST
        safe = xp.where(inside, total, xp.ones_like(total))
        maps = {tissue: shares[:, k] for k, tissue in enumerate(TISSUES)}
        within = draws.float32(self, "within")
        by_sample = (-1,) + (1,) * grid.num_axes
        for quantity in self.values["gm"]:
            mixture: Any = 0.0
            for tissue in TISSUES:
                key = draws.key(f"{tissue}.{quantity}")
                value = self.values[tissue][quantity].draw(key, (), progress).astype(np.float32)
                mixture = mixture + xp.asarray(value).reshape(by_sample) * maps[tissue]
            if np.any(within > 0):
                part = draws.part(f"variation.{quantity}")
                noise = self.variation.draw(keys, grid, xp=xp, **part)
                noise = 1 + xp.asarray(within).reshape(by_sample) * noise
                mixture = mixture * xp.maximum(noise, 0.05)
            maps[quantity] = xp.where(inside, mixture / safe, 0 * safe)
        return maps

    def _shares(self, draws: Draws, grid: Grid, xp: Any) -> Float32[Any, "B 3 ..."]:
        """Shares of grey matter, white matter and fluid, (B, 3, *grid.shape)."""
        atlas = atlas_of(self.folder)
        matrix, centre = self._pose(draws, grid)
        places = self._places(matrix, centre, draws, grid, xp)
        step = np.sqrt((matrix**2).sum(axis=1)).max(axis=1)
        out = atlas.sampled(np.zeros(len(step), np.int64), step, places, xp=xp)
        return out.reshape(-1, 3, *grid.shape)

    def _pose(self, draws: Draws, grid: Grid) -> tuple[Any, Any]:
        """Matrices (B, 3, D) from grid voxels to atlas voxels, and centres (B, 3) in the atlas."""
        D = grid.num_axes
        size = atlas_of(self.folder).shapes[0].astype(float)
        B = len(draws.keys.indices)
        scale = np.ones(B)
        if self.extent is not None:
            scale = LENGTH / (draws.of(self, "extent") * min(grid.field_of_view))
        stretch = draws.of(self, "stretch", 3)
        turned = _turns(draws.of(self, "turn", 3))
        # atlas = turned (stretch scale r): r in the frame of the atlas, m; its voxels are 1 mm.
        whole = 1e3 * turned * (scale[:, None] / stretch)[:, None, :]
        place = draws.of(self, "position", 3)
        axes = np.broadcast_to(np.arange(3), (B, 3))
        if D == 2:
            weights = np.array([self.planes.get(plane, 0.0) for plane in PLANES])
            edges = np.cumsum(weights) / weights.sum()
            u = random.uniform(draws.key("plane"), ())
            normal = np.searchsorted(edges[:-1], u, side="right")
            axes = np.array([[1, 2], [0, 2], [0, 1]])[normal]
            place = np.where(np.arange(3) == normal[:, None], place, 0.0)
        matrix = np.take_along_axis(whole, axes[:, None, :].repeat(3, 1), axis=2)
        flip = np.where(random.uniform(draws.key("mirror"), ()) < 0.5, -1.0, 1.0)
        shift = draws.of(self, "shift", 3)[:, :D]
        centre = (size - 1) / 2 * (1 + place)
        half = 0.5 * np.asarray(grid.field_of_view)
        centre = centre - np.einsum("bij,bj->bi", matrix, shift * half)
        matrix = matrix * np.asarray(grid.spacing)
        matrix[:, 0] *= flip[:, None]  # left and right of the atlas
        centre[:, 0] = np.where(flip < 0, size[0] - 1 - centre[:, 0], centre[:, 0])
        return matrix, centre

    def _places(self, matrix: Any, centre: Any, draws: Draws, grid: Grid, xp: Any) -> Any:
        """Atlas coordinates (B, 3, voxels) of the grid's voxels."""
        by_axis = (-1, 3) + (1,) * grid.num_axes
        matrix = xp.asarray(matrix.astype(np.float32))
        places: Any = xp.asarray(centre.astype(np.float32)).reshape(by_axis)
        for axis, n in enumerate(grid.shape):
            along = xp.arange(n, dtype=xp.float32) - n // 2
            along = along.reshape([-1 if k == axis else 1 for k in range(grid.num_axes)])
            places = places + matrix[:, :, axis].reshape(by_axis) * along
        if self.deformation is not None:
            moved = [
                self.deformation.draw(draws.keys, grid, xp=xp, **draws.part(f"deformation.{axis}"))
                for axis in range(3)
            ]
            places = places + 1e3 * xp.stack(moved, axis=1)
        return places.reshape(len(matrix), 3, -1)


def atlas_of(folder: str | None) -> Pyramid:
    """The shares of the three tissues with their reductions, read once per process (17 MB)."""
    return _read_atlas(folder_of_sources(folder, "brain", "probability maps"))


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
    ends = zip(np.maximum(low, 0), np.minimum(high, gm.shape), strict=True)
    box = tuple(slice(int(begin), int(end)) for begin, end in ends)
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
