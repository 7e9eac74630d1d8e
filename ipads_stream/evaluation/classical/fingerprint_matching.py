"""Matching fingerprints with a compressed dictionary, and fitting them from the best match on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ipads_stream.core.backend import namespace
from ipads_stream.physics.fingerprint import logarithmic_jacobian, tissue_grid

ATOMS = 80_000  # at least; the order of DRONE's 79,900
RANK = 16
BLOCK = (512, 4096)  # fingerprints and atoms whose products are held at once, on the host
STEPS = 4  # of the fit

Tissue = dict[str, np.ndarray]
# T1, T2, B1 (atoms,) to what the network sees of their noise-free fingerprints, (atoms, frames).
Signals = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Dictionary:
    """Fingerprints of a grid of tissue in the space of their first singular vectors.

    Attributes:
        tissue: T1, T2 (s) and B1 of every atom, (atoms,).
        vectors: (frames, rank), float32.
        atoms: coefficients, of norm 1, (atoms, rank), float32.
    """

    tissue: Tissue
    vectors: Any
    atoms: Any

    @classmethod
    def of(
        cls,
        signals: Signals,
        supports: Mapping[str, tuple[float, float]],
        *,
        atoms: int = ATOMS,
        rank: int = RANK,
    ) -> Dictionary:
        """The dictionary of a grid over the supports, relaxation times in logarithmic steps.

        Args:
            signals: fingerprints of tissue.
            supports: lowest and highest T1, T2 (s) and B1.
            atoms: number of them at least; those with T2 above T1 are left out.
            rank: singular vectors that are kept.
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
        """Number of the atom with the largest inner product with each fingerprint.

        Args:
            signals: real, any norm; NumPy, or CuPy where the dictionary is (:meth:`on`).
        """
        xp = namespace(signals)
        coefficients = signals @ self.vectors
        best = xp.zeros(len(signals), dtype=xp.int64)
        rows, columns = BLOCK
        for first in range(0, len(signals), rows):
            here = slice(first, first + rows)
            found = best[here]
            top = xp.full(found.shape, -xp.inf, dtype=coefficients.dtype)
            for start in range(0, len(self), columns):
                products = coefficients[here] @ self.atoms[start : start + columns].T
                at = xp.argmax(products, axis=1)
                value = xp.max(products, axis=1)
                found = xp.where(value > top, at + start, found)
                top = xp.maximum(top, value)
            best[here] = found
        return best

    def on(self, xp: Any) -> Dictionary:
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
    supports: Mapping[str, tuple[float, float]],
    *,
    magnitude: bool = False,
    orders: Any = "auto",
) -> Tissue:
    """Least squares in the logarithms of the unknown and of the amplitude, by Gauss-Newton steps.

    A step that does not lower the residual is not taken. Of Gaussian noise this is the likeliest
    tissue; that of magnitudes is nearly Gaussian but where the signal is below it.

    Args:
        signals: real fingerprints, (B, frames), or their magnitudes.
        start: T1, T2 (s) and B1, (B,), from matching.
        frames: of the schedule.
        unknown: names of what is fitted.
        supports: lowest and highest value of each.
        magnitude: whether the signals are magnitudes.
        orders: of the phase graph.
    """
    y = normalized(np.asarray(signals, dtype=np.float64))
    best = {name: values.astype(np.float64) for name, values in start.items()}
    residual, step = _step(y, best, frames, unknown, magnitude, orders)
    for _ in range(STEPS):
        tried = dict(best)
        for i, name in enumerate(unknown):
            moved = best[name] * np.exp(np.clip(step[:, i], -0.5, 0.5))
            tried[name] = np.clip(moved, *supports[name])
        tried["T2"] = np.minimum(tried["T2"], tried["T1"])
        found, onward = _step(y, tried, frames, unknown, magnitude, orders)
        better = found < residual
        best = {name: np.where(better, tried[name], best[name]) for name in best}
        residual = np.where(better, found, residual)
        step = np.where(better[:, None], onward, 0.5 * step)
    return best


def _step(
    y: np.ndarray,
    tissue: Tissue,
    frames: tuple[Any, ...],
    unknown: tuple[str, ...],
    magnitude: bool,
    orders: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared residual of each fingerprint, and the step that linear least squares takes."""
    jacobian = logarithmic_jacobian(frames, unknown, orders, **tissue)
    if magnitude:
        jacobian = jacobian * np.sign(jacobian[:, :, -1:])
    model = jacobian[:, :, -1]
    amplitude = np.sum(model * y, axis=1) / np.sum(model**2, axis=1)
    rest = y - amplitude[:, None] * model
    # One part in 1e9 of the diagonal keeps what is hardly encoded from an endless step.
    normal = jacobian.transpose(0, 2, 1) @ jacobian
    normal += 1e-9 * np.einsum("bii->bi", normal)[:, :, None] * np.eye(normal.shape[-1])
    size = np.where(amplitude > 0, amplitude, np.inf)  # of no use on the wrong side: no step
    right = jacobian.transpose(0, 2, 1) @ (rest / size[:, None])[:, :, None]
    return np.sum(rest**2, axis=1), np.linalg.solve(normal, right)[:, :, 0]
