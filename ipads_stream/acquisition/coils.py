"""Sensitivities of receiving coils: of loops by Biot and Savart, or estimated from k-space.

Axes: C coil, K kernel point. By reciprocity a coil receives with the transverse field that a unit
current in it would make; detected is M+ = Mx + i My, so the sensitivity is Bx - i By.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from threadpoolctl import threadpool_limits

from ipads_stream.core.backend import device_of, namespace

SEGMENTS = 64  # of a loop
MU0_OVER_4PI = 1e-7  # T m / A


def loop_sensitivities(
    position: Float[Any, "*places 3"],
    centre: Float[np.ndarray, "C 3"],
    normal: Float[np.ndarray, "C 3"],
    radius: Any,
    *,
    segments: int = SEGMENTS,
) -> Complex[Any, "C ..."]:
    """Transverse field of a current of 1 A in round loops, Bx - i By, T/A.

    B(r) = mu0 / (4 pi) sum over segments dl x d / |d|^3, d from the middle of dl to r; a polygon of
    N sides about the circle, so moved outwards that its area is the circle's.

    Args:
        position: m.
        centre: of the loops, m.
        normal: the direction of the field in the middle of each; of any length.
        radius: m, one or one per coil.
        segments: N.

    Raises:
        ValueError: a radius or number of segments that makes no loop, a normal of length 0.
    """
    field = loop_field(position, centre, normal, radius, segments=segments)
    xp = namespace(field)
    x, y = field[..., 0], field[..., 1]
    kind = xp.complex64 if field.dtype == xp.float32 else xp.complex128
    return xp.astype(x, kind) - 1j * xp.astype(y, kind)


def loop_field(
    position: Float[Any, "*places 3"],
    centre: Float[np.ndarray, "C 3"],
    normal: Float[np.ndarray, "C 3"],
    radius: Any,
    *,
    segments: int = SEGMENTS,
) -> Float[Any, "C *places 3"]:
    """Field of a current of 1 A in round loops, T/A, (C, *places, 3).

    Args:
        position, centre, normal, radius, segments: as of loop_sensitivities.

    Raises:
        ValueError: as there.
    """
    centre, normal = np.asarray(centre, float), np.asarray(normal, float)
    radius = np.broadcast_to(np.asarray(radius, float), centre.shape[:1])
    if segments < 3:
        raise ValueError(f"segments={segments}: at least 3 is allowed")
    if not np.all((radius > 0) & (radius < math.inf)):
        raise ValueError(f"radius={radius}: positive lengths in m are allowed")
    lengths = np.linalg.norm(normal, axis=-1)
    if not np.all(lengths > 0):
        raise ValueError(f"normal={normal}: vectors of a length above 0 are allowed")
    corners = _corners(centre, normal / lengths[:, None], radius, segments)
    middles = 0.5 * (corners[:, :-1] + corners[:, 1:])
    steps = np.diff(corners, axis=1)
    xp = namespace(position)
    flat = xp.reshape(position, (-1, 3))
    coils = []
    for middle, step in zip(middles, steps, strict=True):
        total: Any = 0.0
        for n in range(segments):
            at = xp.asarray(middle[n], dtype=flat.dtype, device=device_of(flat))
            dx, dy, dz = ((flat - at)[:, k] for k in range(3))
            lx, ly, lz = (float(v) for v in step[n])
            square = dx * dx + dy * dy + dz * dz
            weight = MU0_OVER_4PI / (square * xp.sqrt(square))
            cross = (ly * dz - lz * dy, lz * dx - lx * dz, lx * dy - ly * dx)
            total = total + xp.stack([c * weight for c in cross], axis=-1)
        coils.append(xp.reshape(total, position.shape))
    return xp.stack(coils, axis=0)


def ring(
    coils: int,
    distance: float,
    *,
    height: float = 0.0,
    start: float = 0.0,
) -> tuple[Float[np.ndarray, "C 3"], Float[np.ndarray, "C 3"]]:
    """Centres and normals of loops on a circle about the z axis that look at it.

    Args:
        coils: how many.
        distance: from the axis, m.
        height: z of all, m.
        start: angle of the first from x, rad.

    Raises:
        ValueError: fewer than one coil.
    """
    if coils < 1:
        raise ValueError(f"coils={coils}: at least 1 is allowed")
    angle = start + 2 * math.pi * np.arange(coils) / coils
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(coils)], axis=-1)
    return distance * outward + np.array([0.0, 0.0, height]), -outward


def espirit(
    kspace: Complex[np.ndarray, "C X Y"],
    *,
    calibration: int = 24,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.9,
) -> Complex[np.ndarray, "C X Y"]:
    """Sensitivities that leave the middle of k-space as it is (one map, by ESPIRiT).

    Every kernel-sized piece of the middle of k-space lies in the space of the main right singular
    vectors of all such pieces. In image space this space is a C x C matrix of each voxel, of
    eigenvalue 1 with the sensitivities as its eigenvector where there is signal.

    Args:
        kspace: fully sampled in its middle, centre at n // 2.
        calibration: samples of the middle that are used along each axis.
        kernel: samples along each axis of a piece.
        threshold: singular vectors above this share of the largest count as signal.
        crop: voxels whose eigenvalue is below this are 0.

    Returns:
        (C, X, Y), sum_c |s_c|^2 = 1 or 0; the first coil is real.

    Raises:
        ValueError: pieces as large as the middle, a middle beyond k-space or that is not sampled.

    Source: Uecker et al., ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI, MRM 71,
    990 (2014).
    """
    coils, *shape = kspace.shape
    if not 1 <= kernel < calibration <= min(shape) or calibration < 2 * kernel:
        raise ValueError(
            f"kernel={kernel}, calibration={calibration}: 2 kernel <= calibration <= {min(shape)} "
            "is allowed"
        )
    at = tuple(slice(n // 2 - calibration // 2, n // 2 + (calibration + 1) // 2) for n in shape)
    middle = np.asarray(kspace[(slice(None), *at)], np.complex128)
    if np.any(np.abs(middle).sum(axis=0) == 0):
        raise ValueError(f"calibration={calibration}: a middle of k-space without gaps is allowed")
    pieces = np.lib.stride_tricks.sliding_window_view(middle, (kernel, kernel), axis=(1, 2))
    rows = pieces.transpose(1, 2, 0, 3, 4).reshape(-1, coils * kernel * kernel)
    # Many small matrices: threads of BLAS would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        values, vectors = np.linalg.eigh(rows.conj().T @ rows)
        kept = vectors[:, values > (threshold**2) * values[-1]].conj()  # pieces lie in their span
        by_voxel = _projections(kept.reshape(coils, kernel, kernel, -1), tuple(shape))
        eigenvalues, eigenvectors = np.linalg.eigh(by_voxel)
    maps = np.moveaxis(eigenvectors[..., -1], -1, 0)
    maps = maps * np.exp(-1j * np.angle(maps[:1])) * (eigenvalues[..., -1] > crop)
    return maps.astype(np.complex64)


def _projections(basis: Any, shape: tuple[int, ...]) -> Any:
    """Matrices (X, Y, C, C) of voxels that project the pieces of k-space on a basis (C, k, k, J).

    A signal s at voxel x makes the piece s_c exp(-2 pi i q.x / N), q in the kernel. Hence
    G_cd(x) = k^-2 sum_q,p exp(2 pi i (q - p).x / N) P_cq,dp with P = sum_j w_j w_j^H, whose entries
    are first added up by q - p: one Fourier transform of each pair of coils.
    """
    coils, kernel, _, _ = basis.shape
    reach = 2 * kernel - 1
    by_shift = np.zeros((coils, coils, reach, reach), np.complex128)
    for p in range(kernel):
        for q in range(kernel):
            pairs = np.einsum("cxyj,dj->cdxy", basis, basis[:, p, q].conj(), optimize=True)
            by_shift[:, :, kernel - 1 - p : reach - p, kernel - 1 - q : reach - q] += pairs
    padded = np.zeros((coils, coils, *shape), np.complex128)
    places = tuple(slice(n // 2 - kernel + 1, n // 2 + kernel) for n in shape)
    padded[(slice(None), slice(None), *places)] = by_shift
    shifted = np.fft.ifftshift(padded, axes=(2, 3))
    images = np.fft.fftshift(np.fft.ifftn(shifted, axes=(2, 3), norm="ortho"), axes=(2, 3))
    images = images * math.sqrt(math.prod(shape)) / kernel**2
    return images.transpose(2, 3, 0, 1)


def _corners(centre: Any, normal: Any, radius: Any, segments: int) -> Any:
    """Corners (C, segments + 1, 3) of polygons, the current right-handed about the normal."""
    other = np.where(np.abs(normal[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    a = np.cross(normal, other)
    a /= np.linalg.norm(a, axis=-1, keepdims=True)
    b = np.cross(normal, a)
    angle = 2 * math.pi * np.arange(segments + 1) / segments
    step = 2 * math.pi / segments
    radius = radius * math.sqrt(step / math.sin(step))
    turned = np.cos(angle)[:, None] * a[:, None] + np.sin(angle)[:, None] * b[:, None]
    return centre[:, None] + radius[:, None, None] * turned
