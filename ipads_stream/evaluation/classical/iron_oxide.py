"""Concentration of iron oxide without a network: the field of the phase, and a dipole inversion.

All take the field for what turns the phase, exp(-2 pi i df TE): that slices bend, that signal
cancels within voxels and that particles shorten T2 is not in them. The field of everything else,
and the receiver's phase, are a plane that is fitted to the phase. Where signal is lost the phase is
noise; methods weight it by the magnitude. Arrays are NumPy, batch first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.acquisition.phase_unwrapping import unwrapped
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.classical.dipole_inversion import (
    AXES,
    Grid,
    tikhonov,
    truncated_division,
)

Maps = Float[np.ndarray, "B X Y Z"]
Masks = Bool[np.ndarray, "B X Y Z"]
Images = Complex[np.ndarray, "B X Y Z"]
TKD, TIKHONOV, NONLINEAR = "TKD", "Tikhonov", "non-linear fit"
SETTINGS: dict[str, tuple[float, ...]] = {
    TKD: (0.1, 0.2, 0.3),
    TIKHONOV: (1e-4, 1e-3, 1e-2, 1e-1),
    NONLINEAR: (1e-3, 1e-2, 3e-2, 1e-1, 3e-1),
}
HELD_OUT = Keys(0, "tuning of iron maps", np.arange(6, dtype=np.uint64))
ITERATIONS, STEPS = 30, 100  # of conjugate gradients; of the proximal gradient
LARGEST = 2 / 3  # |D|


def classical_methods(system: Any) -> dict[str, Callable[..., dict[str, np.ndarray]]]:
    """The three methods for a system's voxels and echo, each tuned when it is first used.

    Args:
        system: as systems/deepspio.py, whose spacing, echo time and held-out volumes count.
    """
    settings: dict[str, float] = {}

    def method(name: str) -> Callable[..., dict[str, np.ndarray]]:
        def estimate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if name not in settings:
                settings[name] = tuned(system, name)
            return {"concentration": concentration(name, inputs, system, settings[name])}

        return estimate

    return {name: method(name) for name in SETTINGS}


def tuned(system: Any, name: str) -> float:
    """The setting of least squared error, relative per volume, over volumes of a split of its own.

    Args:
        system: that makes them.
        name: a key of SETTINGS.
    """
    params = system.draw(HELD_OUT, np.zeros(len(HELD_OUT.indices)))
    sample = system.render(params, HELD_OUT, np)
    truth = sample.targets["concentration"]

    def error(setting: float) -> float:
        wrong = concentration(name, sample.inputs, system, setting) - truth
        return float(np.mean((wrong**2).sum(AXES) / np.maximum((truth**2).sum(AXES), 1e-12)))

    return min(SETTINGS[name], key=error)


def concentration(name: str, inputs: Mapping[str, np.ndarray], system: Any, setting: float) -> Maps:
    """One of the three methods by its name, mol/m^3.

    Args:
        name: a key of SETTINGS.
        inputs: ``image`` and ``mask`` of systems/deepspio.py.
        system: its spacing, directions, echo time and susceptibility.
        setting: threshold of TKD, weight of the others.
    """
    image, mask = inputs["image"], inputs["mask"]
    grid = Grid(image.shape[-3:], tuple(system.spacing), tuple(system.B0_direction))
    turns = float(system.hertz * system.TE)  # of the phase, per unit of D C
    rows = []
    for one, inside in zip(image, mask, strict=True):
        plane = background(one, inside)
        flat = (one * np.exp(-1j * plane))[None]
        weight = (np.minimum(abs(flat), 1.0) * inside).astype(np.float32)
        within = inside[None]
        if name == NONLINEAR:
            start = np.maximum(_linear(TIKHONOV, flat, weight, within, grid, turns, 1e-2), 0)
            rows.append(
                nonlinear(flat, weight, within, grid, turns, weight_of_size=setting, start=start)
            )
        else:
            rows.append(_linear(name, flat, weight, within, grid, turns, setting))
    return np.concatenate(rows) if rows else np.zeros(image.shape, np.float32)


def background(
    image: Complex[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"], rounds: int = 8
) -> Float[np.ndarray, "X Y Z"]:
    """A plane of the phase, rad: what the receiver and the field of everything else add.

    The peak of sum S |S| exp(-i (a + b.r)), refined by weighted least squares on the phase that is
    left, with the weights of Tukey's biweight, so that the surroundings of particles do not count.

    Args:
        image: 0 outside the mask.
        mask: the body.
        rounds: of the least squares.
    """
    shape = image.shape
    axes = [(np.arange(n) - n // 2) / n for n in shape]
    columns = np.stack([np.ones(shape), *np.meshgrid(*axes, indexing="ij")], axis=-1)[mask]
    values, size = image[mask], abs(image[mask])
    padded = [4 * n for n in shape]
    spectrum = abs(np.fft.fftn(image * abs(image), padded, axes=AXES))
    peak = np.unravel_index(int(spectrum.argmax()), padded)
    slope = [
        2 * math.pi * np.fft.fftfreq(m)[p] * n for p, m, n in zip(peak, padded, shape, strict=True)
    ]
    found = np.array([0.0, *slope])
    found[0] = np.angle(np.sum(values * size * np.exp(-1j * columns @ found)))
    for _ in range(rounds):
        rest = np.angle(values * np.exp(-1j * columns @ found))
        spread = max(1.4826 * float(np.median(abs(rest))), 0.01)
        w = size**2 * np.maximum(1 - (rest / (4.7 * spread)) ** 2, 0) ** 2
        normal = (columns * w[:, None]).T @ columns + 1e-9 * np.eye(4)
        found = found + np.linalg.solve(normal, (columns * w[:, None]).T @ rest)
    whole = np.stack([np.ones(shape), *np.meshgrid(*axes, indexing="ij")], axis=-1)
    return np.asarray(whole @ found)


def _linear(
    name: str, flat: Images, weight: Maps, mask: Masks, grid: Grid, turns: float, setting: float
) -> Maps:
    """TKD or Tikhonov of the unwrapped phase."""
    phase = np.stack([unwrapped(np.angle(one).astype(float)) for one in flat])
    # The constant of an unwrapped phase is a whole number of turns.
    middle = np.array([[[[np.median(p[m])]]] for p, m in zip(phase, mask, strict=True)])
    phase = phase - 2 * math.pi * np.round(middle / (2 * math.pi))
    field = (-phase / (2 * math.pi * turns)).astype(np.float32) * mask
    if name == TKD:
        return truncated_division(field, mask, grid, threshold=setting)
    # Sources lie where the phase is noise: weights, and not the mask alone.
    return tikhonov(field, mask, grid, weight=setting, confidence=weight, iterations=ITERATIONS)


def nonlinear(
    flat: Images,
    weight: Maps,
    mask: Masks,
    grid: Grid,
    turns: float,
    *,
    weight_of_size: float,
    start: Maps,
) -> Maps:
    """argmin |W (exp(i phase) - exp(-2 pi i turns D x))|^2 / (2 pi turns)^2 + lambda sum x, x >= 0.

    Nothing is unwrapped; iron is not negative, and where no phase asks for it there is none. By
    proximal gradients with momentum that restarts.

    Args:
        flat: images without the plane of their phase.
        weight: W, 0 to 1.
        mask: where sources may lie.
        grid: of the volume.
        turns: of the phase per unit of D x.
        weight_of_size: lambda over the root mean square of the weighted phase in the unit of x.
        start: x to begin with.

    Source: non-linear data: Liu et al., MRM 69:467 (2013); proximal gradients: Beck and Teboulle,
    SIAM Journal on Imaging Sciences 2:183 (2009), here with the l1 norm of what is not negative.
    """
    scale = 2 * math.pi * turns
    phase, squared = np.angle(flat).astype(np.float32), weight**2
    power = (squared * (phase / scale) ** 2).sum(AXES, keepdims=True)
    power = power / np.maximum(squared.sum(AXES, keepdims=True), 1e-6)
    price = (weight_of_size * np.sqrt(power)).astype(np.float32)
    step = np.float32(1 / LARGEST**2)
    x, y, t = start, start, 1.0
    for _ in range(STEPS):
        implied = grid.convolved(y, grid.kernel)
        slope = grid.convolved(squared * np.sin(phase + scale * implied), grid.kernel) / scale
        ahead = np.maximum(y - step * (slope + price), 0) * mask
        if float(np.sum((y - ahead) * (ahead - x))) > 0:
            t = 1.0
        following = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y, x, t = ahead + np.float32((t - 1) / following) * (ahead - x), ahead, following
    return np.asarray(x, dtype=np.float32)


def total_iron(maps: Maps, mask: Masks, spacing: tuple[float, ...]) -> Float[np.ndarray, " B"]:
    """Amount of iron in the body, mol: the sum of the concentration times the volume of a voxel.

    Args:
        maps: concentration, mol/m^3.
        mask: the body.
        spacing: of the voxels, m.
    """
    return np.asarray((maps * mask).sum(AXES, dtype=np.float64) * math.prod(spacing))
