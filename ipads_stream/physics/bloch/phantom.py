"""An object to be imaged: spins, each of which stands for a piece of tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import namespace
from ipads_stream.core.notebook import Shown
from ipads_stream.physics import arguments as checks
from ipads_stream.physics.arrays import as_float, is_array

TISSUE = ("M0", "T1", "T2", "df", "B1", "T2p", "D")


@dataclass(frozen=True)
class Phantom(Shown):
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
        drive: what each of P pulses is multiplied by at a spin, complex, (*batch, P, N); None: 1.

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
    drive: Complex[Any, "*places P N"] | None = None

    def __post_init__(self) -> None:
        names = ("position", "sensitivity", "drive", *TISSUE)
        fields = {name: getattr(self, name) for name in names}
        checks.check_arrays(fields, numbers=TISSUE)
        checks.check_one_library(fields)
        _ = self.batch  # raises where shapes do not fit
        checks.check_values({**fields, "voxel": self.voxel})

    def driven(
        self, fields: Complex[Any, "*places channels N"], shim: Complex[Any, "*P channels"]
    ) -> Phantom:
        """The phantom as several transmit channels drive it, by one RF shim or one of each pulse.

        With d_n = sum_c s_c b_cn pulses act at spin n as B1_n |d_n|, in a frame turned by arg d_n.
        From equilibrium on, which no turn changes, that frame shows only in what coils receive:
        sensitivity_n d_n / |d_n|, of one coil where there was none. With a shim of each pulse
        spins are turned there and back at each; bloch.signal and bloch.magnetisation do so.

        Args:
            fields: b, of each channel relative to nominal, complex, (*batch, channels, N).
            shim: s, of each channel, or of each pulse and channel. Both are in the phases of the
                pulses: conjugated with a Pulseq file whose phases are.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.

        Source: Grissom et al., Magn Reson Med 56, 620 (2006), parallel excitation.
        """
        size = tuple(np.shape(shim))
        if fields.ndim < 2 or len(size) not in (1, 2) or fields.shape[-2] != size[-1]:
            given = f"fields {tuple(fields.shape)}, shim {size}"
            raise ValueError(f"{given}: (*batch, channels, N) and ([pulses,] channels) are allowed")
        xp = namespace(fields)
        if len(size) == 2:
            return replace(self, drive=xp.matmul(xp.asarray(shim, dtype=fields.dtype), fields))
        total = xp.sum(xp.asarray(shim)[:, None] * fields, axis=-2)
        size, turn = polar(total)
        coils = 1.0 if self.sensitivity is None else self.sensitivity
        return replace(self, B1=self.B1 * size, sensitivity=coils * turn[..., None, :])

    @property
    def num_spins(self) -> int:
        """N."""
        return int(self.position.shape[-2])

    @property
    def headline(self) -> str:
        return f"Phantom: {self.num_spins} spins" + (f", batch {self.batch}" if self.batch else "")

    @property
    def entries(self) -> dict[str, Any]:
        tissue = {name: getattr(self, name) for name in TISSUE}
        return {name: f"array {tuple(x.shape)}" if is_array(x) else x for name, x in tissue.items()}

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch axes."""
        shape = tuple(getattr(self.position, "shape", ()))
        if len(shape) < 2 or shape[-1] != 3:
            raise ValueError(f"position: shape {shape}; (*batch, N, 3) is allowed")
        N, batch = shape[-2], shape[:-2]
        for name, least in (*((x, 1) for x in TISSUE), ("sensitivity", 2), ("drive", 2)):
            x = getattr(self, name)
            size = tuple(getattr(x, "shape", ()))
            if x is None or (name in TISSUE and not size):
                continue
            if len(size) < least or size[-1] not in (N, 1 if least == 1 else N):
                rows = {"sensitivity": "coils, ", "drive": "pulses, "}.get(name, "")
                axes = f"*batch, {rows}N"
                raise ValueError(f"{name}: shape {size}; ({axes}) with N = {N} is allowed")
            outer = size[:-least]
            try:
                batch = np.broadcast_shapes(batch, outer)
            except ValueError as error:
                raise ValueError(f"{name}: batch axes {outer}; {batch} is allowed") from error
        if self.voxel is not None:
            checks.check_shape("voxel", self.voxel, (3,))
        return batch


def polar(x: Complex[Any, "..."]) -> tuple[Any, Any]:
    """Magnitude, and the number of that phase and length 1, which is 1 where x is 0."""
    xp = namespace(x)
    size = xp.abs(x)
    some = size > 0
    return size, xp.where(some, x / xp.where(some, size, 1.0), xp.ones_like(x))


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
    checks.check_arrays(given, numbers=tissue)
    checks.check_one_library(given)
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

    return Phantom(
        position=xp.reshape(xp.take(places(M0, grid, spacing, counts), index, axis=0), (-1, 3)),
        M0=spins("M0", M0) / parts,
        **{name: spins(name, x) for name, x in tissue.items()},
        sensitivity=spins("sensitivity", sensitivity),
    )


def places(
    like: Any, grid: tuple[int, ...], spacing: tuple[float, ...], counts: tuple[int, ...]
) -> Any:
    """Positions of the isochromats of all voxels, m, (voxels, parts, 3): see :func:`from_maps`."""
    axes = [np.zeros(1)] * 3
    for i, (n, d, count) in enumerate(zip(grid, spacing, counts, strict=True)):
        within = (np.arange(count) + 0.5) / count - 0.5
        axes[i] = (d * ((np.arange(n) - n // 2)[:, None] + within)).ravel()
    a, b, c = (*counts, 1)[:3]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    nx, ny, nz = (n // count for n, count in zip(mesh.shape, (a, b, c), strict=False))
    split = mesh.reshape(nx, a, ny, b, nz, c, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    voxels = split.reshape(nx * ny * nz, a * b * c, 3)
    return as_float(np.ascontiguousarray(voxels), like)
