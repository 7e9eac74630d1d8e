"""Susceptibility of a field map without a network: truncated division, Tikhonov, total variation.

All use the field inside a mask alone and the dipole in free space (physics/fields/dipole.py); the
field is taken to be that of sources inside the volume. Arrays are NumPy, batch first, in ppm.
Methods use the spacing, direction and held-out volumes of systems such as systems/qsmnet.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float

from ipads_stream.baselines.passes import Passes
from ipads_stream.core.random import Keys
from ipads_stream.physics.fields import dipole
from ipads_stream.systems.deepspio import DeepSPIO
from ipads_stream.systems.qsmnet import QSMNet

Maps = Float[np.ndarray, "B X Y Z"]
Masks = Bool[np.ndarray, "B X Y Z"]
Operator = Callable[[np.ndarray], np.ndarray]
AXES = (-3, -2, -1)
FLOOR = 1e-3  # of the preconditioner: bounds it where neither field nor smoothness does
START = 1e-3  # weight of Tikhonov's solution that total variation starts from
PENALTY = 0.1  # of what takes the place of the field in total variation; the data have 1
RELAXATION = 1.7  # of its steps
NAMES = "field_ppm", "chi_ppm"
HELD_OUT = Keys(0, "tuning of dipole inversions", np.arange(3, dtype=np.uint64))


class DipoleGrid:
    """The padded grid on which the field of a volume does not wrap around.

    Attributes:
        kernel: D, half of it along Z, float32.
        differences: transforms of periodic forward differences along X, Y and Z, over
            ``spacing[0]``, which broadcast.
    """

    def __init__(
        self, shape: tuple[int, ...], spacing: tuple[float, ...], B0_direction: tuple[float, ...]
    ) -> None:
        self.shape, self.padded, self.spacing = shape, dipole.padded(shape), spacing
        self.kernel = dipole.free_space_kernel(shape, spacing, B0_direction).astype(np.float32)
        X, Y, Z = self.padded
        parts = (np.fft.fftfreq(X), np.fft.fftfreq(Y), np.fft.rfftfreq(Z))
        turns = np.meshgrid(*parts, indexing="ij", sparse=True)
        self.differences = [
            (np.expm1(2j * np.pi * k) * spacing[0] / d).astype(np.complex64)
            for k, d in zip(turns, spacing, strict=True)
        ]

    def spectrum(self, maps: np.ndarray) -> np.ndarray:
        """Transform of maps on the volume or on the padded grid, (..., X, Y, half)."""
        return np.asarray(scipy.fft.rfftn(maps, self.padded, axes=AXES))

    def space(self, spectrum: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`spectrum`, on the padded grid."""
        return np.asarray(scipy.fft.irfftn(spectrum, self.padded, axes=AXES))

    def cut(self, maps: np.ndarray) -> np.ndarray:
        """The volume out of the padded grid."""
        X, Y, Z = self.shape
        return maps[..., :X, :Y, :Z]

    def convolved(self, maps: np.ndarray, transfer: np.ndarray) -> np.ndarray:
        """Maps on the volume, transformed, times a transfer function, on the volume again."""
        return self.cut(self.space(self.spectrum(maps) * transfer))

    def mean(self, transfer: np.ndarray) -> float:
        """Mean over all wave numbers of a real, even transfer function of which half is given."""
        point = np.zeros(self.padded, dtype=transfer.dtype)
        point[0, 0, 0] = 1
        return float(self.space(self.spectrum(point) * transfer)[0, 0, 0])


@dataclass(frozen=True)
class Tuned:
    """A method with the setting that serves a system best, which is found when it first runs.

    Attributes:
        system: makes the samples on which the setting is chosen, widened where the system is.
        names: of the input that is inverted inside the input ``mask``, and of the target.
        solve: input, mask, grid and setting to the target; one volume at a time, since total
            variation holds some twenty padded ones of each.
        settings: that are tried.
        held_out: keys of the samples.
    """

    system: QSMNet | DeepSPIO
    names: tuple[str, str]
    solve: Callable[..., Maps]
    settings: tuple[float, ...]
    held_out: Keys

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The target, batch first."""
        return {self.names[1]: self.invert(inputs, self.setting)}

    def invert(self, inputs: Mapping[str, np.ndarray], setting: float) -> Maps:
        """The target with a setting, batch first."""
        data, mask, system = inputs[self.names[0]], inputs["mask"], self.system
        grid = DipoleGrid(data.shape[-3:], tuple(system.spacing), tuple(system.B0_direction))
        volumes = [slice(n, n + 1) for n in range(len(data))]
        rows = [self.solve(data[n], mask[n], grid, setting) for n in volumes]
        return np.concatenate(rows) if rows else np.zeros(data.shape, np.float32)

    @cached_property
    def setting(self) -> float:
        """That of least squared error, relative per sample."""
        params = self.system.draw(self.held_out, np.zeros(len(self.held_out.indices)))
        sample = self.system.render(params, self.held_out, np)
        truth, mask = sample.targets[self.names[1]], sample.inputs["mask"]
        power = np.maximum((truth**2).sum(AXES), 1e-12)

        def error(setting: float) -> float:
            wrong = (self.invert(sample.inputs, setting) - truth) * mask
            return float(np.mean((wrong**2).sum(AXES) / power))

        return min(self.settings, key=error)


def tuned_division(system: QSMNet) -> Tuned:
    """Truncated division for a system's voxels and field, with the best threshold."""
    return Tuned(system, NAMES, truncated_division, (0.05, 0.1, 0.15, 0.2, 0.3), HELD_OUT)


def tuned_tikhonov(system: QSMNet) -> Tuned:
    """Tikhonov's solution for a system's voxels and field, with the best weight."""
    return Tuned(system, NAMES, tikhonov, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), HELD_OUT)


def tuned_total_variation(system: QSMNet) -> Tuned:
    """Total variation for a system's voxels and field, with the best weight."""
    return Tuned(system, NAMES, total_variation, (1e-5, 3e-5, 1e-4, 3e-4, 1e-3), HELD_OUT)


def truncated_division(
    field_ppm: Maps, mask: Masks, grid: DipoleGrid, threshold: float, *, corrected: bool = True
) -> Maps:
    """TKD: F^-1 E F f, E = 1 / D where |D| > t and sign(D) / t elsewhere.

    Corrected, divided by the height of its point spread function, the mean of D E: else it
    underestimates all susceptibilities by that factor.

    Args:
        field_ppm: measured inside the mask.
        mask: where it was.
        grid: of the volume.
        threshold: t, above 0.
        corrected: divide by the height of the point spread function.

    Source: Shmueli et al., MRM 62:1510 (2009); correction: Schweser et al., MRM 69:1582 (2013).
    """
    D = grid.kernel
    E = np.where(D < 0, -1, 1) / np.maximum(abs(D), threshold)
    height = grid.mean(D * E) if corrected else 1.0
    chi = grid.cut(grid.space(grid.spectrum(field_ppm * mask) * E)) / height
    return np.asarray(chi * mask, dtype=np.float32)


def tikhonov(
    field_ppm: Maps,
    mask: Masks,
    grid: DipoleGrid,
    weight: float,
    *,
    confidence: Maps | None = None,
    iterations: int = 20,
) -> Maps:
    """argmin |W (f - D x)|^2 + weight |grad x|^2, x = 0 outside the mask, by conjugate gradients.

    They are preconditioned with the closed form 1 / (D^2 + weight |k|^2) that needs no mask.

    Args:
        field_ppm: measured inside the mask; x comes in its unit.
        mask: where sources may lie.
        grid: of the volume.
        weight: of the squared gradient (ppm per voxel along X).
        confidence: W, 0 to 1; None: 1 inside the mask.
        iterations: of conjugate gradients, from 0.

    Source: de Rochefort et al., MRM 63:194 (2010), without the weights of edges.
    """
    inside = mask.astype(np.float32)
    squared = inside if confidence is None else confidence**2
    smooth = np.float32(weight) * sum(abs(d) ** 2 for d in grid.differences)
    closed = 1 / (grid.kernel**2 + smooth + np.float32(FLOOR))

    def normal(x: np.ndarray) -> np.ndarray:
        implied = grid.convolved(squared * grid.convolved(x, grid.kernel), grid.kernel)
        return (implied + grid.convolved(x, smooth)) * inside

    right = grid.convolved(squared * field_ppm, grid.kernel) * inside
    return conjugate_gradients(
        normal, right, iterations, lambda r: grid.convolved(r, closed) * inside
    )


def conjugate_gradients(
    operator: Operator, right: Maps, iterations: int, preconditioner: Operator
) -> Maps:
    """Solve ``operator(x) = right`` per sample, from 0; both maps are symmetric and positive."""
    x, r, p = np.zeros_like(right), right.copy(), np.zeros_like(right)
    before = np.ones((len(right), 1, 1, 1), right.dtype)
    for _ in Passes(iterations):
        z = preconditioner(r)
        now = _dot(r, z)
        p = z + np.divide(now, before, out=np.zeros_like(now), where=before > 0) * p
        q = operator(p)
        curvature = _dot(p, q)
        step = np.divide(now, curvature, out=np.zeros_like(now), where=curvature > 0)
        x, r, before = x + step * p, r - step * q, now
    return np.asarray(x, dtype=right.dtype)


def total_variation(
    field_ppm: Maps,
    mask: Masks,
    grid: DipoleGrid,
    weight: float,
    *,
    iterations: int = 40,
    coupling: float = 0.3,
) -> Maps:
    """argmin 1/2 |W (f - D x)|^2 + weight sum |grad x|_1, by alternating directions (ADMM).

    With v = grad x and u = D x, each step has a closed form: x in k-space, v by shrinkage, u point
    by point, in which the mask is exact. It starts from Tikhonov's solution. The penalty of v is
    ``weight`` over the shrinkage, which follows the field of each sample. The minimum depends on
    neither penalty, the number of iterations does. With that of u at 1 and without over-relaxation
    40 iterations ended at an NRMSE of 0.171 against 0.162, and at ten times the susceptibility, so
    with a tenth of the relative noise, at 0.166 against 0.042 (three random volumes).

    Args:
        field_ppm: measured inside the mask.
        mask: W.
        grid: of the volume.
        weight: of total variation, ppm.
        iterations: of the three steps.
        coupling: shrinkage of gradients, as a share of the field's root mean square in the mask.

    Source: Milovic et al., MRM 80:814 (2018); Bilgic et al., MRM 72:1444 (2014); over-relaxed:
    Boyd et al., Foundations and Trends in Machine Learning 3:1 (2011), 3.4.3.
    """
    D, size = grid.kernel, mask.sum(AXES, keepdims=True)
    power = ((field_ppm * mask) ** 2).sum(AXES, keepdims=True) / np.maximum(size, 1)
    shrinkage = (coupling * np.sqrt(np.where(power > 0, power, 1.0))).astype(np.float32)
    mu = np.float32(weight) / shrinkage
    W = np.zeros((len(mask), *grid.padded), np.float32)
    grid.cut(W)[...] = mask
    f = np.zeros_like(W)
    grid.cut(f)[...] = field_ppm * mask
    differences = grid.differences
    inverse = 1 / (PENALTY * D**2 + mu * sum(abs(d) ** 2 for d in differences) + 1e-9)
    x = grid.spectrum(tikhonov(field_ppm, mask, grid, weight=START))
    u: np.ndarray = np.where(W > 0, f, grid.space(D * x))
    v = [grid.space(d * x) for d in differences]
    u_dual, *v_dual = np.zeros((4, *f.shape), f.dtype)
    for _ in Passes(iterations):
        right = PENALTY * D * grid.spectrum(u - u_dual)
        for d, a, b in zip(differences, v, v_dual, strict=True):
            right = right + mu * np.conj(d) * grid.spectrum(a - b)
        x = right * inverse
        for axis, d in enumerate(differences):
            slope = RELAXATION * grid.space(d * x) + (1 - RELAXATION) * v[axis]
            moved = slope + v_dual[axis]
            v[axis] = np.sign(moved) * np.maximum(abs(moved) - shrinkage, 0)
            v_dual[axis] = moved - v[axis]
        implied = RELAXATION * grid.space(D * x) + (1 - RELAXATION) * u
        u = (W * f + PENALTY * (implied + u_dual)) / (W + PENALTY)
        u_dual = u_dual + implied - u
    return np.asarray(grid.cut(grid.space(x)) * mask, dtype=np.float32)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sum(a * b, axis=AXES, keepdims=True)
