"""Matching fingerprints with a compressed dictionary, and fitting them from the best match on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ipads_stream.baselines.passes import Passes
from ipads_stream.core.backend import namespace
from ipads_stream.physics.epg.fingerprint import logarithmic_jacobian, tissue_grid

ATOMS = 80_000  # at least; the order of DRONE's 79,900
RANK = 16
BLOCK = (512, 4096)  # fingerprints and atoms whose products are held at once, on the host
STEPS = 4  # of the fit

Tissue = dict[str, np.ndarray]
# T1, T2, B1 (atoms,) to what the network sees of their noise-free fingerprints, (atoms, frames).
Signals = Callable[..., np.ndarray]
Supports = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Dictionary:
    """Fingerprints of a grid of tissue in the space of their first singular vectors.

    tissue: T1, T2 (s) and B1 of every atom; vectors: (frames, rank), float32; atoms: coefficients
    of norm 1, (atoms, rank), float32.
    """

    tissue: Tissue
    vectors: Any
    atoms: Any

    @classmethod
    def of(
        cls, signals: Signals, supports: Supports, *, atoms: int = ATOMS, rank: int = RANK
    ) -> "Dictionary":
        """The dictionary of a grid over the supports, relaxation times in logarithmic steps.

        atoms: the least number of them, T2 above T1 left out; rank: singular vectors that are kept.
        """
        ends = [supports[name] for name in ("T1", "T2", "B1")]
        varies = [low < high for low, high in ends]
        points = np.array([math.ceil(atoms ** (1 / sum(varies)))] * 3)
        while True:
            counts = tuple(int(n) if free else 1 for n, free in zip(points, varies, strict=True))
            grid = tissue_grid(ends[0], ends[1], ends[2], counts)
            if len(grid[0]) >= atoms:
                break
            points = points + np.maximum(points // 50, 1)
        tissue = dict(zip(("T1", "T2", "B1"), grid, strict=True))
        unit = normalized(signals(**{name: x.astype(np.float32) for name, x in tissue.items()}))
        vectors = np.linalg.eigh(unit.T @ unit)[1][:, ::-1][:, :rank].astype(np.float32)
        return cls(tissue, vectors, normalized(unit @ vectors))

    def __len__(self) -> int:
        return len(self.atoms)

    def match(self, signals: Float[Any, "B frames"]) -> Int[Any, " B"]:
        """Number of the atom with the largest inner product with each fingerprint, of any norm.

        Signals are real, of NumPy, or of CuPy where the dictionary is (:meth:`on`).
        """
        xp = namespace(signals)
        coefficients = signals @ self.vectors
        best = xp.zeros(len(signals), dtype=xp.int64)
        rows, columns = BLOCK
        for first in range(0, len(signals), rows):
            here = slice(first, first + rows)
            top: Any = -xp.inf
            for start in range(0, len(self), columns):
                products = coefficients[here] @ self.atoms[start : start + columns].T
                value = xp.max(products, axis=1)
                best[here] = xp.where(value > top, start + xp.argmax(products, axis=1), best[here])
                top = xp.maximum(top, value)
        return best

    def on(self, xp: Any) -> "Dictionary":
        """The same with its arrays in another library, e.g. CuPy."""
        return Dictionary(self.tissue, xp.asarray(self.vectors), xp.asarray(self.atoms))

    def estimate(self, signals: Float[np.ndarray, "B frames"]) -> Tissue:
        """T1, T2 (s) and B1 of the best atom of each fingerprint, (B,)."""
        best = np.asarray(self.match(signals))
        return {name: values[best] for name, values in self.tissue.items()}


def normalized(signals: Float[np.ndarray, "... N"]) -> Float[np.ndarray, "... N"]:
    """Signals of norm 1; those that are zero stay zero."""
    size = np.linalg.norm(signals, axis=-1, keepdims=True)
    return signals / np.where(size > 0, size, 1)


def fitted(
    signals: Float[np.ndarray, "B frames"],
    start: Tissue,
    frames: tuple[Any, ...],
    unknown: tuple[str, ...],
    supports: Supports,
    *,
    magnitude: bool = False,
    orders: Any = "auto",
) -> Tissue:
    """Least squares in the logarithms of the unknown and of the amplitude, by Gauss-Newton steps.

    A step that does not lower the residual is not taken. Of Gaussian noise this is the likeliest
    tissue; that of magnitudes is nearly Gaussian but where the signal is below it. start: T1, T2
    (s) and B1, (B,), from matching; frames: of the schedule.
    """
    y = normalized(np.asarray(signals, dtype=np.float64))
    best = {name: values.astype(np.float64) for name, values in start.items()}
    residual, step = _step(y, best, frames, unknown, magnitude, orders)
    for _ in Passes(STEPS):
        trial = dict(best)
        for i, name in enumerate(unknown):
            moved = best[name] * np.exp(np.clip(step[:, i], -0.5, 0.5))
            trial[name] = np.clip(moved, *supports[name])
        trial["T2"] = np.minimum(trial["T2"], trial["T1"])
        trial_residual, trial_step = _step(y, trial, frames, unknown, magnitude, orders)
        better = trial_residual < residual
        best = {name: np.where(better, trial[name], best[name]) for name in best}
        residual = np.where(better, trial_residual, residual)
        step = np.where(better[:, None], trial_step, 0.5 * step)
    return best


def _step(
    y: np.ndarray, tissue: Tissue, frames: Any, unknown: Any, magnitude: bool, orders: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Squared residual of each fingerprint, and the step that linear least squares takes."""
    jacobian = logarithmic_jacobian(frames, unknown, orders, **tissue)
    if magnitude:
        jacobian = jacobian * np.sign(jacobian[:, :, -1:])
    model = jacobian[:, :, -1]
    amplitude = np.sum(model * y, axis=1) / np.sum(model**2, axis=1)
    residual = y - amplitude[:, None] * model
    # One part in 1e9 of the diagonal bounds the step along what is hardly encoded.
    normal = jacobian.transpose(0, 2, 1) @ jacobian
    normal += 1e-9 * np.einsum("bii->bi", normal)[:, :, None] * np.eye(normal.shape[-1])
    size = np.where(amplitude > 0, amplitude, np.inf)  # of no use on the wrong side: no step
    right = jacobian.transpose(0, 2, 1) @ (residual / size[:, None])[:, :, None]
    return np.sum(residual**2, axis=1), np.linalg.solve(normal, right)[:, :, 0]
