"""Templates of many random shapes.

Source: templates "randomly filled with hundreds of basic geometric shapes": Yang et al., IEEE
Signal Processing Magazine 40(2), 2023; which, how many and how large are choices of this project.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import ruled
from ipads_stream.core.random import Keys
from ipads_stream.distributions import DiscreteUniform, Distribution, LogUniform, Uniform
from ipads_stream.distributions.parameters import check_each, parameter
from ipads_stream.phantoms import shapes as codes
from ipads_stream.phantoms.draws import Draws, Step, as_length
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.shapes import Shapes, rotation_in_the_plane

IN_THE_PLANE = ("ellipse", "box", "polygon", "star", "tube", "vessel", "blob", "gaussian")
IN_SPACE = ("ellipse", "box", "cylinder", "polygon", "tube", "vessel", "blob", "gaussian")
CORNERS = (3, 8)  # fewest and most, of a polygon
POINTS = (3, 12)  # of a star
BENDS = 6  # points of a vessel
CUTS = 8  # planes that cut a polytope out of a cuboid
DETAIL = 24  # random words of a shape's detail, as many as a polytope takes
NUMBER, SIZE = DiscreteUniform(low=100, high=300), LogUniform(low=0.03, high=0.2)
ASPECT, ROUGHNESS = Uniform(low=0.25, high=1.0), Uniform(low=0.1, high=0.6)
POSITION = Uniform(low=-1.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class RandomShapes:
    """Random shapes, each with its own place, size, direction and kind.

    Attributes:
        number: of shapes in a template.
        size: first semi-axis; without a unit a share of the shortest field of view, else a length.
            Of tubes it is half the length.
        aspect: each further semi-axis over the first; of tubes the radius over half the length.
        position: of the centre along each axis; -1 and 1 are the edges of the field of view.
        roughness: relative height of the waves of a blob's surface and of a star's rays.
        kinds: name -> relative frequency. In the plane ellipse, box, polygon (convex), star, tube,
            vessel (a curved, tapering tube), blob, gaussian; in space ellipse (ellipsoid), box,
            cylinder, polygon (convex polytope), tube, vessel, blob, gaussian. None: all but
            gaussian, equally often.
    """

    number: Distribution | float = parameter(NUMBER, within=(0.0, 65536.0), integer=True)
    size: Distribution | float = ruled(as_length, SIZE)
    aspect: Distribution | float = parameter(ASPECT, within=(1e-3, 1e3))
    position: Distribution | float = parameter(POSITION)
    roughness: Distribution | float = parameter(ROUGHNESS, within=(0.0, 0.95))
    kinds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_each(self)
        if self.kinds is not None:
            for name, weight in self.kinds.items():
                if name not in _KINDS:
                    raise ConfigError(f"kinds.{name}", weight, f"one of {', '.join(_KINDS)}")
                if not (isinstance(weight, (int, float)) and 0 <= weight < math.inf):
                    raise ConfigError(f"kinds.{name}", weight, "a number, at least 0")
            if not sum(self.kinds.values()) > 0:
                raise ConfigError("kinds", dict(self.kinds), "at least one above 0")

    @property
    def most(self) -> int:
        """S, the most shapes of a template."""
        return int(self.number.support[1])  # type: ignore[union-attr]

    def draw(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "shapes"
    ) -> Shapes:
        """The shapes of some templates; shape s of a sample is the same however many there are.

        They fill the field of view of the grid, whose resolution does not matter; the arguments
        are those of every template (draws.py).

        Raises:
            ConfigError: a kind that does not exist with the grid's number of axes.
        """
        D, S = grid.num_axes, self.most
        names, edges = self._shares(D)
        draws = Draws(keys, progress, name)
        which = np.searchsorted(edges[:-1], random.uniform(draws.key("kind"), (S,)), "right")
        half = 0.5 * np.asarray(grid.field_of_view)
        size = draws.length(self, "size", grid, S)
        others = draws.of(self, "aspect", S, D - 1)
        aspects = np.concatenate([np.ones((*size.shape, 1)), others], axis=-1)
        roughness = draws.of(self, "roughness", S)
        kind, detail = _details(names, which, aspects, roughness, draws.key("detail"), D)
        aspects = np.where((kind == codes.TUBE)[..., None], 1.0, aspects)
        present = np.arange(S) < draws.of(self, "number")[:, None]
        return Shapes(
            kind=np.where(present, kind, codes.ABSENT).astype(np.int32),
            centre=(draws.of(self, "position", S, D) * half).astype(np.float32),
            size=(size[..., None] * aspects).astype(np.float32),
            rotation=random_rotations(draws.key("rotation"), S, D),
            detail=detail,
        )

    def _shares(self, num_axes: int) -> tuple[list[str], Any]:
        allowed = IN_THE_PLANE if num_axes == 2 else IN_SPACE
        kinds = self.kinds or {name: 1.0 for name in allowed if name != "gaussian"}
        for name, weight in kinds.items():
            if name not in allowed and weight > 0:
                words = f"with {num_axes} axes one of {', '.join(allowed)}"
                raise ConfigError(f"kinds.{name}", weight, words)
        names = [name for name in allowed if kinds.get(name, 0) > 0]
        weights = np.asarray([kinds[name] for name in names], float)
        return names, np.cumsum(weights) / weights.sum()


def random_rotations(key: random.Key, count: int, num_axes: int) -> Float[np.ndarray, "B S D D"]:
    """Rotations, each equally likely: by an angle, or by a quaternion uniform on the sphere.

    Source: Shoemake, Uniform random rotations, Graphics Gems III (1992).
    """
    u = random.uniform(key, (count, 3))
    if num_axes == 2:
        return rotation_in_the_plane(2 * math.pi * u[..., 0])
    a, b = np.sqrt(1 - u[..., 0]), np.sqrt(u[..., 0])
    p, q = 2 * math.pi * u[..., 1], 2 * math.pi * u[..., 2]
    x, y, z, w = a * np.sin(p), a * np.cos(p), b * np.sin(q), b * np.cos(q)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2).astype(np.float32)


def _details(
    names: list[str], which: Any, aspects: Any, roughness: Any, key: random.Key, D: int
) -> tuple[Any, Any]:
    """Codes (B, S) and details (B, S, P) of shapes of the named kinds."""
    B, S = which.shape
    words = random.words(key, S * DETAIL).reshape(B * S, DETAIL)
    which = which.reshape(-1)
    aspect, roughness = (x.astype(np.float32).reshape(-1) for x in (aspects[..., -1], roughness))
    kind = np.zeros(B * S, np.int32)
    parts = {}
    for n, name in enumerate(names):
        rows = np.flatnonzero(which == n)
        code, make = _KINDS[name]
        kind[rows] = codes.POLYTOPE if (name, D) == ("polygon", 3) else code
        if make is not None and rows.size:
            parts[n] = rows, make(_uniform(words[rows]), aspect[rows], roughness[rows], D)
    detail = np.zeros((B * S, max((p.shape[1] for _, p in parts.values()), default=0)), np.float32)
    for rows, part in parts.values():
        detail[rows, : part.shape[1]] = part
    return kind.reshape(B, S), detail.reshape(B, S, -1)


def _uniform(words: Any) -> Any:
    """Of the upper 23 bits, float32 in the open interval (0, 1), exact."""
    return ((words >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def _polygon(u: Any, aspect: Any, roughness: Any, D: int) -> Any:
    """Corners on the unit circle at random angles; in space a cuboid that planes cut."""
    if D == 3:
        return _polytope(u)
    count = CORNERS[0] + np.floor(u[:, 0] * (CORNERS[1] - CORNERS[0] + 1))
    # Gaps between 1 and 3 parts of a turn: no corner so far from the next that the centre is out.
    gaps = (1 + 2 * u[:, 1 : 1 + CORNERS[1]]) * (np.arange(CORNERS[1]) < count[:, None])
    angle = 2 * math.pi * np.cumsum(gaps, axis=1) / gaps.sum(axis=1, keepdims=True)
    corners = np.stack([np.cos(angle), aspect[:, None] * np.sin(angle)], -1)
    return np.concatenate([count[:, None], corners.reshape(len(u), -1)], axis=1)


def _star(u: Any, aspect: Any, roughness: Any, D: int) -> Any:
    """Corners at equal angles, at random radii from 1 - roughness to 1."""
    count = POINTS[0] + np.floor(u[:, 0] * (POINTS[1] - POINTS[0] + 1))
    angle = np.float32(2 * math.pi) * np.arange(POINTS[1], dtype=np.float32) / count[:, None]
    radius = 1 - roughness[:, None] * u[:, 1 : 1 + POINTS[1]]
    corners = np.stack([radius * np.cos(angle), aspect[:, None] * radius * np.sin(angle)], -1)
    return np.concatenate([count[:, None], corners.reshape(len(u), -1)], axis=1)


def _polytope(u: Any) -> Any:
    """The six faces of the cube |u_k| <= 1 and planes at distances 0.5 to 1 in any direction."""
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    rows = np.broadcast_to(np.concatenate([faces, np.ones((6, 1))], 1), (len(u), 6, 4))
    distance = 0.5 + 0.5 * u[:, 2 * CUTS : 3 * CUTS]
    cuts = np.concatenate([_directions(u, CUTS, 3), distance[..., None]], axis=-1)
    table = np.concatenate([rows, cuts], axis=1)
    count = np.full((len(u), 1), 6.0 + CUTS)
    return np.concatenate([count, table.reshape(len(u), -1)], axis=1)


def _tube(u: Any, aspect: Any, roughness: Any, D: int) -> Any:
    """A straight tube of half length 1, ends included."""
    radius = np.minimum(0.5 * aspect, 0.98)
    table = np.zeros((len(u), 2, D + 1))
    table[:, 0, 0], table[:, 1, 0] = radius - 1, 1 - radius
    table[:, :, D] = radius[:, None]
    return np.concatenate([np.full((len(u), 1), 2.0), table.reshape(len(u), -1)], axis=1)


def _vessel(u: Any, aspect: Any, roughness: Any, D: int) -> Any:
    """Steps of equal length, each turned from the one before; the radius falls by up to half."""
    step = 2.0 / (BENDS - 1)
    turns = np.cumsum((u[:, :BENDS] - 0.5) * (0.5 * math.pi), axis=1)
    tilt = np.cumsum((u[:, BENDS : 2 * BENDS] - 0.5) * (0.5 * math.pi), axis=1)
    way = [np.cos(turns), np.sin(turns)]
    if D == 3:
        way = [way[0] * np.cos(tilt), way[1] * np.cos(tilt), np.sin(tilt)]
    places = np.cumsum(step * np.stack(way, -1), axis=1)
    places -= places.mean(axis=1, keepdims=True)
    thinner = 1 - 0.5 * u[:, 2 * BENDS, None] * np.linspace(0, 1, BENDS, dtype=np.float32)
    radius = 0.2 * aspect[:, None] * thinner
    table = np.concatenate([places, radius[..., None]], axis=-1)
    return np.concatenate([np.full((len(u), 1), BENDS), table.reshape(len(u), -1)], axis=1)


def _blob(u: Any, aspect: Any, roughness: Any, D: int) -> Any:
    """Waves of random direction, whose heights add up to the roughness and halve with each."""
    lobes = codes.LOBES
    heights = 0.5 ** np.arange(lobes) / (2 - 0.5 ** (lobes - 1))
    height = roughness[:, None] * heights * (2 * u[:, 3 * lobes : 4 * lobes] - 1)
    waves = np.concatenate([height[..., None], _directions(u, lobes, D)], axis=-1)
    return np.concatenate([u[:, 4 * lobes, None], waves.reshape(len(u), -1)], axis=1)


def _directions(u: Any, count: int, D: int) -> Any:
    """Unit vectors (n, count, D) from 2 count uniform numbers of each."""
    angle = 2 * math.pi * u[:, :count]
    c, s = np.cos(angle), np.sin(angle)
    if D == 2:
        return np.stack([c, s], -1)
    z = 2 * u[:, count : 2 * count] - 1
    across = np.sqrt(1 - z * z)
    return np.stack([across * c, across * s, z], -1)


# Code of each kind, and what makes its unit body where that is random.
_KINDS: dict[str, tuple[int, Any]] = {
    "ellipse": (codes.ELLIPSE, None),
    "box": (codes.BOX, None),
    "cylinder": (codes.CYLINDER, None),
    "polygon": (codes.POLYGON, _polygon),
    "star": (codes.POLYGON, _star),
    "tube": (codes.TUBE, _tube),
    "vessel": (codes.TUBE, _vessel),
    "blob": (codes.BLOB, _blob),
    "gaussian": (codes.GAUSSIAN, None),
}
