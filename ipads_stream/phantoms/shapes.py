"""Shapes in space: ellipses, boxes, polygons, tubes, blobs, and the same in three dimensions.

A shape is a body of unit size, ``u``, that is stretched, turned and moved: x = c + R (size u).
Axes: B sample, S shape, D axis of space, P number that describes a unit body.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

# The codes of the kernel. ABSENT shapes are passed over.
ABSENT, ELLIPSE, BOX, CYLINDER, POLYGON, POLYTOPE, TUBE, GAUSSIAN, BLOB = range(-1, 8)
LOBES = 4  # of a blob's surface: Chebyshev polynomials of degree 2 to 5


Lengths = Float[np.ndarray, "B S D"]  # m


@dataclass(frozen=True)
class Shapes:
    """Shapes of B samples, in the order in which they are laid down; on the host.

    Attributes:
        kind: one of the codes above, (B, S).
        centre: m, (B, S, D).
        size: semi-axes, m, (B, S, D); of a Gaussian its standard deviations.
        rotation: R, (B, S, D, D).
        detail: what describes the unit body, (B, S, P), P of the longest:
            POLYGON (2D): number of corners V, then x, y of each.
            POLYTOPE (3D): number of planes F, then normal (3) and distance of each: n.u <= d;
                the body lies within |u_k| <= 1.
            TUBE: number of points K, then place (D) and radius of each, in units of ``size[0]``;
                it is the union of the round cones between neighbours.
            BLOB: squareness w of the norm (1 - w) |u|_2 + w |u|_4, then amplitude and direction (D)
                of each of LOBES waves: the surface lies where the norm is
                1 + sum_m a_m T_(m+2)(direction_m . u / |u|).

    Source of the waves: T_k(cos x) = cos k x, so that in the plane they are a Fourier series.
    """

    kind: Int[np.ndarray, "B S"]
    centre: Float[np.ndarray, "B S D"]
    size: Float[np.ndarray, "B S D"]
    rotation: Float[np.ndarray, "B S D D"]
    detail: Float[np.ndarray, "B S P"]

    def __post_init__(self) -> None:
        B, S, D = self.centre.shape
        expected = {"kind": (B, S), "size": (B, S, D), "rotation": (B, S, D, D)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                given = getattr(self, name).shape
                raise ValueError(f"{name}: shape {given}; {shape} is allowed, as of centre")
        if D not in (2, 3) or self.detail.ndim != 3 or self.detail.shape[:2] != (B, S):
            shapes = f"{self.centre.shape}, {self.detail.shape}"
            allowed = "(B, S, 2 or 3) and (B, S, P) are allowed"
            raise ValueError(f"centre, detail: shapes {shapes}; {allowed}")

    @property
    def num_axes(self) -> int:
        """D."""
        return int(self.centre.shape[-1])

    @property
    def num_shapes(self) -> int:
        """S, of which some may be absent."""
        return int(self.kind.shape[1])

    def joined(self, later: "Shapes") -> "Shapes":
        """These shapes, then the later ones."""
        width = max(self.detail.shape[-1], later.detail.shape[-1])
        padded = []
        for part in (self, later):
            short = (0, width - part.detail.shape[-1])
            padded.append(replace(part, detail=np.pad(part.detail, ((0, 0), (0, 0), short))))
        names = [each.name for each in fields(self)]
        return Shapes(*(np.concatenate([getattr(x, name) for x in padded], 1) for name in names))


def ellipses(centre: Lengths, size: Lengths, rotation: Any = None) -> Shapes:
    """Ellipses or ellipsoids.

    Args:
        centre: m.
        size: semi-axes, m.
        rotation: matrices (B, S, D, D), or in the plane angles (B, S), rad; None: not turned.
    """
    return _shapes(ELLIPSE, centre, size, rotation)


def boxes(centre: Lengths, size: Lengths, rotation: Any = None) -> Shapes:
    """Rectangles or cuboids; ``size`` is half the edges."""
    return _shapes(BOX, centre, size, rotation)


def cylinders(centre: Lengths, size: Lengths, rotation: Any = None) -> Shapes:
    """Elliptic cylinders about their third axis, with flat ends; ``size`` as of boxes."""
    return _shapes(CYLINDER, centre, size, rotation)


def gaussians(centre: Lengths, size: Lengths, rotation: Any = None) -> Shapes:
    """Bumps (exp(-|u|^2 / 2) - e^-8) / (1 - e^-8), 0 beyond four standard deviations ``size``."""
    return _shapes(GAUSSIAN, centre, size, rotation)


def polygons(corners: Float[np.ndarray, "B S V 2"]) -> Shapes:
    """Polygons that do not cross themselves.

    Args:
        corners: in order, m.
    """
    return _through(POLYGON, np.asarray(corners, np.float32), 1e-12)


def tubes(points: Float[np.ndarray, "B S K D"], radius: Float[np.ndarray, "B S K"]) -> Shapes:
    """Tubes with round ends along chains of points.

    Args:
        points: m, at least two.
        radius: at each, m.
    """
    points, radius = np.asarray(points, np.float32), np.asarray(radius, np.float32)
    return _through(TUBE, points, radius.max(axis=-1), radius[..., None])


def rotation_in_the_plane(angle: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... 2 2"]:
    """Matrices that turn by an angle, rad, from the first axis towards the second."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2).astype(np.float32)


def _through(kind: int, points: Any, least: Any, *columns: Any) -> Shapes:
    """Shapes of a table of points (B, S, K, D), further columns (m), and a least size."""
    B, S, K, _ = points.shape
    centre = points.mean(axis=2)
    away = points - centre[:, :, None]
    size = np.maximum(np.abs(away).max(axis=(2, 3)), least)[..., None]
    rows = np.concatenate([away, *columns], axis=-1) / size[..., None]
    detail = np.concatenate([np.full((B, S, 1), K, np.float32), rows.reshape(B, S, -1)], axis=-1)
    return _shapes(kind, centre, size, detail=detail)


def _shapes(kind: int, centre: Any, size: Any, rotation: Any = None, detail: Any = None) -> Shapes:
    centre, size = np.asarray(centre, np.float32), np.asarray(size, np.float32)
    B, S, D = centre.shape
    if rotation is None:
        rotation = np.broadcast_to(np.eye(D, dtype=np.float32), (B, S, D, D))
    elif np.ndim(rotation) == 2:
        rotation = rotation_in_the_plane(np.asarray(rotation))
    return Shapes(
        kind=np.full((B, S), kind, np.int32),
        centre=centre,
        size=np.broadcast_to(size, centre.shape),
        rotation=np.asarray(rotation, np.float32),
        detail=np.zeros((B, S, 0), np.float32) if detail is None else detail,
    )
