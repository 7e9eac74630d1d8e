"""Concentration of iron oxide without a network: the field of the phase, and a dipole inversion.

All take the field for what turns the phase, exp(-2 pi i df TE): bent slices, signal that cancels
within voxels and the shorter T2 near particles are not modelled. The field of everything else, and
the receiver's phase, are a plane that is fitted to the phase, weighted by the magnitude.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.acquisition.phase_unwrapping import unwrapped
from ipads_stream.baselines import dipole_inversion as inversion
from ipads_stream.baselines.dipole_inversion import AXES, DipoleGrid, Maps, Masks, Tuned
from ipads_stream.baselines.passes import Passes
from ipads_stream.core.random import Keys
from ipads_stream.systems.deepspio import DeepSPIO

Images = Complex[np.ndarray, "B X Y Z"]
HELD_OUT = Keys(0, "tuning of iron maps", np.arange(6, dtype=np.uint64))
ITERATIONS, STEPS = 30, 100  # of conjugate gradients; of the proximal gradient
ROUNDS = 8  # of the fit of the background
LARGEST = 2 / 3  # |D|
START = 1e-2  # weight of Tikhonov's solution that the non-linear fit starts from


@dataclass(frozen=True)
class Echo:
    """One volume, batch axis kept.

    flat: image without the plane of its phase; weight: of the data, 0 to 1; mask: where sources may
    lie; turns: of the phase per unit of D x.
    """

    flat: Images
    weight: Maps
    mask: Masks
    grid: DipoleGrid
    turns: float


Solver = Callable[[Echo, float], Maps]


def tuned_division(system: DeepSPIO) -> Tuned:
    """Truncated division of the unwrapped phase, with the best threshold."""

    def solve(echo: Echo, threshold: float) -> Maps:
        return inversion.truncated_division(_field(echo), echo.mask, echo.grid, threshold)

    return _tuned(system, solve, (0.1, 0.2, 0.3))


def tuned_tikhonov(system: DeepSPIO) -> Tuned:
    """Tikhonov's solution for the unwrapped phase, with the best weight."""
    return _tuned(system, regularised, (1e-4, 1e-3, 1e-2, 1e-1))


def tuned_nonlinear(system: DeepSPIO) -> Tuned:
    """The non-linear fit, with the best weight."""

    def solve(echo: Echo, weight: float) -> Maps:
        return nonlinear(echo, weight, np.maximum(regularised(echo, START), 0))

    return _tuned(system, solve, (1e-3, 1e-2, 3e-2, 1e-1, 3e-1))


def _tuned(system: DeepSPIO, solve: Solver, settings: tuple[float, ...]) -> Tuned:
    turns = float(system.hertz * system.TE)

    def invert(image: Images, mask: Masks, grid: DipoleGrid, setting: float) -> Maps:
        flat = image * np.exp(-1j * background(image[0], mask[0]))
        weight = (np.minimum(abs(flat), 1.0) * mask).astype(np.float32)
        return solve(Echo(flat, weight, mask, grid, turns), setting)

    return Tuned(system, ("image", "concentration"), invert, settings, HELD_OUT)


def background(
    image: Complex[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"]
) -> Float[np.ndarray, "X Y Z"]:
    """A plane of the phase, rad: what the receiver and the field of everything else add.

    The peak of sum S |S| exp(-i (a + b.r)), refined by weighted least squares on the phase that is
    left, with the weights of Tukey's biweight, so that the surroundings of particles do not count.
    """
    shape = image.shape
    axes = [(np.arange(n) - n // 2) / n for n in shape]
    basis = np.stack([np.ones(shape), *np.meshgrid(*axes, indexing="ij")], axis=-1)
    columns, values, size = basis[mask], image[mask], abs(image[mask])
    padded = [4 * n for n in shape]
    spectrum = abs(np.fft.fftn(image * abs(image), padded, axes=AXES))
    peak = np.unravel_index(int(spectrum.argmax()), padded)
    sides = zip(peak, padded, shape, strict=True)
    slope = [2 * math.pi * np.fft.fftfreq(m)[p] * n for p, m, n in sides]
    plane = np.array([0.0, *slope])
    plane[0] = np.angle(np.sum(values * size * np.exp(-1j * columns @ plane)))
    for _ in Passes(ROUNDS):
        residual = np.angle(values * np.exp(-1j * columns @ plane))
        spread = max(1.4826 * float(np.median(abs(residual))), 0.01)
        w = size**2 * np.maximum(1 - (residual / (4.7 * spread)) ** 2, 0) ** 2
        normal = (columns * w[:, None]).T @ columns + 1e-9 * np.eye(4)
        plane = plane + np.linalg.solve(normal, (columns * w[:, None]).T @ residual)
    return np.asarray(basis @ plane)


def regularised(echo: Echo, weight: float) -> Maps:
    """Tikhonov's solution for the unwrapped phase, mol/m^3: sources lie where it is noise, too."""
    given = _field(echo), echo.mask, echo.grid, weight
    return inversion.tikhonov(*given, confidence=echo.weight, iterations=ITERATIONS)


def _field(echo: Echo) -> Maps:
    """D x by the unwrapped phase."""
    phase = np.stack([unwrapped(np.angle(image).astype(float)) for image in echo.flat])
    # The constant of an unwrapped phase is a whole number of turns.
    middle = np.array([[[[np.median(p[m])]]] for p, m in zip(phase, echo.mask, strict=True)])
    phase = phase - 2 * math.pi * np.round(middle / (2 * math.pi))
    return np.asarray((-phase / (2 * math.pi * echo.turns)).astype(np.float32) * echo.mask)


def nonlinear(echo: Echo, weight_of_size: float, start: Maps) -> Maps:
    """argmin |W (exp(i phase) - exp(-2 pi i turns D x))|^2 / (2 pi turns)^2 + lambda sum x, x >= 0.

    Nothing is unwrapped; iron is not negative, and there is none where no phase requires it. By
    proximal gradients with momentum that restarts.

    Args:
        echo: the volume, with W its weight.
        weight_of_size: lambda over the root mean square of the weighted phase in the unit of x.
        start: x to begin with.

    Source: non-linear data: Liu et al., MRM 69:467 (2013); proximal gradients: Beck and Teboulle,
    SIAM Journal on Imaging Sciences 2:183 (2009), here with the l1 norm of what is not negative.
    """
    grid, scale = echo.grid, 2 * math.pi * echo.turns
    phase, squared = np.angle(echo.flat).astype(np.float32), echo.weight**2
    power = (squared * (phase / scale) ** 2).sum(AXES, keepdims=True)
    power = power / np.maximum(squared.sum(AXES, keepdims=True), 1e-6)
    price = (weight_of_size * np.sqrt(power)).astype(np.float32)
    step = np.float32(1 / LARGEST**2)
    x, y, t = start, start, 1.0
    for _ in Passes(STEPS):
        implied = grid.convolved(y, grid.kernel)
        slope = grid.convolved(squared * np.sin(phase + scale * implied), grid.kernel) / scale
        ahead = np.maximum(y - step * (slope + price), 0) * echo.mask
        if float(np.sum((y - ahead) * (ahead - x))) > 0:
            t = 1.0
        following = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y, x, t = ahead + np.float32((t - 1) / following) * (ahead - x), ahead, following
    return np.asarray(x, dtype=np.float32)


def total_iron(maps: Maps, mask: Masks, spacing: tuple[float, ...]) -> Float[np.ndarray, " B"]:
    """Amount of iron in the body, mol: the sum of the concentration times the volume of a voxel."""
    return np.asarray((maps * mask).sum(AXES, dtype=np.float64) * math.prod(spacing))
