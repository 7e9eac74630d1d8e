"""An object to be imaged: spins, each of which stands for a piece of tissue."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.arrays import check_arrays, check_one_library, is_array

TISSUE = ("M0", "T1", "T2", "df", "B1", "T2p", "D")
_ALLOWED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "position": (np.isfinite, "a finite number of m"),
    "M0": (lambda x: (x >= 0) & np.isfinite(x), "a finite number from 0"),
    "T1": (lambda x: x > 0, "a positive time in s"),
    "T2": (lambda x: x > 0, "a positive time in s"),
    "df": (np.isfinite, "a finite number of Hz"),
    "B1": (np.isfinite, "a finite number"),
    "T2p": (lambda x: x > 0, "a positive time in s"),
    "D": (lambda x: (x >= 0) & np.isfinite(x), "a finite number of m^2/s from 0"),
    "sensitivity": (np.isfinite, "a finite complex number"),
    "voxel": (lambda x: (x >= 0) & np.isfinite(x), "a finite length in m from 0"),
}


@dataclass(frozen=True)
class Phantom:
    """Spins at positions, with their tissue and what the scanner does to them there.

    Any field but position, sensitivity and voxel is a number or an array that broadcasts to
    (*batch, N); batch is what the batch axes of all fields broadcast to.

    Attributes:
        position: m, (*batch, N, 3).
        M0: magnetisation in equilibrium: proton density times the volume that the spin stands for.
        T1, T2: relaxation times, s; inf where there is none.
        df: off-resonance, by the field and by chemical shift, Hz.
        B1: RF relative to nominal.
        T2p: T2', of the Lorentzian line of frequencies within the piece of tissue, s.
        D: diffusion coefficient, m^2/s.
        sensitivity: of the receiving coils, complex, (*batch, coils, N); None: one coil of 1.
        voxel: edges of the box that every spin stands for, m, three numbers; None: points.

    Raises:
        TypeError: a field is a list, or arrays are of several libraries.
        ValueError: a field has a wrong shape or makes no sense. Values of arrays are checked on the
            host only: on a GPU it would stop the stream.
    """

    position: Float[Any, "*places N 3"]
    M0: Any = 1.0
    T1: Any = math.inf
    T2: Any = math.inf
    df: Any = 0.0
    B1: Any = 1.0
    T2p: Any = math.inf
    D: Any = 0.0
    sensitivity: Complex[Any, "*coil_batch coils N"] | None = None
    voxel: Any = None

    def __post_init__(self) -> None:
        fields = {name: getattr(self, name) for name in ("position", "sensitivity", *TISSUE)}
        check_arrays(fields, numbers=TISSUE)
        check_one_library(fields)
        _ = self.batch  # raises where shapes do not fit
        for name, (rule, allowed) in _ALLOWED.items():
            x = getattr(self, name)
            if x is None or (is_array(x) and not is_numpy(x)):
                continue
            good = rule(np.asarray(x))
            if not np.all(good):
                raise ValueError(f"{name}={np.asarray(x)[~good].flat[0]}: {allowed} is allowed")
        if all(is_numpy(x) or not is_array(x) for x in (self.T1, self.T2)):
            T1, T2 = np.broadcast_arrays(self.T1, self.T2)
            wrong = (T2 > 2 * T1) & np.isfinite(T2)  # infinite: transverse relaxation is left out
            if np.any(wrong):
                raise ValueError(
                    f"T2={T2[wrong][0]}: at most 2 T1 = {2 * T1[wrong][0]} s is allowed"
                )

    @property
    def num_spins(self) -> int:
        """N."""
        return int(self.position.shape[-2])

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch axes."""
        shape = tuple(getattr(self.position, "shape", ()))
        if len(shape) < 2 or shape[-1] != 3:
            raise ValueError(f"position: shape {shape}; (*batch, N, 3) is allowed")
        spins, batch = shape[:-1], shape[:-2]
        for name in TISSUE:
            of = tuple(getattr(getattr(self, name), "shape", ()))
            if of and of[-1] not in (1, spins[-1]):
                raise ValueError(f"{name}: shape {of}; (*batch, N) with N = {spins[-1]} is allowed")
            batch = _joined(name, batch, of[:-1])
        if self.sensitivity is not None:
            of = tuple(self.sensitivity.shape)
            if len(of) < 2 or of[-1] != spins[-1]:
                raise ValueError(
                    f"sensitivity: shape {of}; (*batch, coils, N) with N = {spins[-1]} is allowed"
                )
            batch = _joined("sensitivity", batch, of[:-2])
        if self.voxel is not None and np.shape(self.voxel) != (3,):
            raise ValueError(f"voxel: shape {np.shape(self.voxel)}; (3,) is allowed")
        return batch


def from_maps(
    M0: Float[Any, "*batch_grid"],
    spacing: tuple[float, ...],
    *,
    T1: Any = math.inf,
    T2: Any = math.inf,
    df: Any = 0.0,
    B1: Any = 1.0,
    T2p: Any = math.inf,
    D: Any = 0.0,
    sensitivity: Complex[Any, "*batch_coils_grid"] | None = None,
    isochromats: tuple[int, ...] = (1, 1, 1),
) -> Phantom:
    """The spins of maps on a grid; voxels that are empty in the whole batch are left out.

    Voxel i of n along an axis is centred at (i - n // 2) spacing, as the centred Fourier transform
    has it. It holds isochromats at regular positions, which share M0; so many per voxel resolve
    dephasing by gradients up to as many half turns across it.

    Args:
        M0: map, (*batch, X, Y) in the plane z = 0, or (*batch, X, Y, Z).
        spacing: of the voxels, m, as many numbers as the grid has axes.
        T1, T2, df, B1, T2p, D: numbers or maps that broadcast to M0, as of a phantom.
        sensitivity: (*batch, coils, X, Y) or with Z.
        isochromats: per voxel along the axes; of more than the grid has, the last are 1.

    Raises:
        TypeError: a map is a list, or maps are of several libraries.
        ValueError: spacing, isochromats or maps do not fit.
    """
    tissue = {"T1": T1, "T2": T2, "df": df, "B1": B1, "T2p": T2p, "D": D}
    given = {"M0": M0, **tissue, "sensitivity": sensitivity}
    check_arrays(given, numbers=tissue)
    check_one_library(given)
    axes = len(spacing)
    if axes not in (2, 3) or not all(math.isfinite(d) and d > 0 for d in spacing):
        raise ValueError(f"spacing={spacing}: two or three positive lengths in m are allowed")
    if M0.ndim < axes:
        raise ValueError(f"M0: shape {tuple(M0.shape)}; the last {axes} axes are the grid")
    counts = (*isochromats, 1, 1, 1)[:axes]
    if any(n != 1 for n in isochromats[axes:]) or not all(n == int(n) >= 1 for n in counts):
        raise ValueError(f"isochromats={isochromats}: {axes} whole numbers from 1 are allowed")
    xp, grid = namespace(M0), tuple(M0.shape[-axes:])
    present = xp.any(xp.reshape(M0 != 0, (-1, math.prod(grid))), axis=0)
    index = xp.nonzero(present)[0]
    parts = math.prod(counts)

    def spins(name: str, x: Any) -> Any:
        if not is_array(x):
            return x
        shape = (*tuple(x.shape)[:-axes], *grid)
        try:
            full = xp.broadcast_to(x, shape)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{name}: shape {tuple(x.shape)}; {shape} is allowed") from error
        kept = xp.take(xp.reshape(full, (*shape[:-axes], -1)), index, axis=-1)
        kept = xp.broadcast_to(kept[..., None], (*kept.shape, parts))
        return xp.reshape(kept, (*shape[:-axes], -1))

    places = _places(xp, M0, grid, spacing, counts)
    return Phantom(
        position=xp.reshape(xp.take(places, index, axis=0), (-1, 3)),
        M0=spins("M0", M0) / parts,
        **{name: spins(name, x) for name, x in tissue.items()},
        sensitivity=spins("sensitivity", sensitivity),
    )


def _places(
    xp: Any, like: Any, grid: tuple[int, ...], spacing: tuple[float, ...], counts: tuple[int, ...]
) -> Any:
    """Positions of the isochromats of all voxels, m, (voxels, parts, 3)."""

    def along(n: int, d: float, parts: int) -> Any:
        i = xp.arange(n, dtype=xp.float64, device=device_of(like)) - n // 2
        j = (xp.arange(parts, dtype=xp.float64, device=device_of(like)) + 0.5) / parts - 0.5
        return d * (i[:, None] + j)

    axes = [along(*of) for of in itertools.zip_longest(grid, spacing, counts)]
    axes += [along(1, 1.0, 1)] * (3 - len(axes))
    shape = [x for a in axes for x in a.shape]
    placed = []
    for i, a in enumerate(axes):
        of = [1] * 6
        of[2 * i : 2 * i + 2] = a.shape
        placed.append(xp.broadcast_to(xp.reshape(a, tuple(of)), tuple(shape)))
    out = xp.permute_dims(xp.stack(placed, axis=-1), (0, 2, 4, 1, 3, 5, 6))
    return xp.astype(xp.reshape(out, (math.prod(grid), math.prod(counts), 3)), like.dtype)


def _joined(name: str, batch: tuple[int, ...], of: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(batch, of)
    except ValueError as error:
        raise ValueError(f"{name}: batch axes {of}; {batch} is allowed") from error
