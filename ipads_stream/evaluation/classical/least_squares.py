"""Non-linear least squares within bounds, for many voxels at once, from several starts.

Levenberg-Marquardt: (J^T J + lambda diag(J^T J)) step = J^T (y - f(x)); a step that lowers the
misfit is taken and lambda falls, else lambda rises. A parameter at a bound that the step would
cross is held there.

Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, SIAM Journal
11(2), 1963; Bertsekas, Projected Newton methods for optimization problems with simple constraints,
SIAM Journal on Control and Optimization 20(2), 1982 (the parameters that are held).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# x (B, P) -> signals (B, E)
Model = Callable[[np.ndarray], np.ndarray]
# x (B, P), signals there (B, E) -> (B, E, P)
Jacobian = Callable[[np.ndarray, np.ndarray], np.ndarray]

FALL, RISE, FIRST, HIGHEST = 0.3, 4.0, 1e-2, 1e8
CONVERGED = 1e-6  # relative fall of the misfit, and step over the width of the bounds


def least_squares(
    model: Model,
    signals: Float[np.ndarray, "B E"],
    starts: Float[np.ndarray, "S B P"],
    low: Float[np.ndarray, " P"],
    high: Float[np.ndarray, " P"],
    *,
    jacobian: Jacobian | None = None,
    iterations: int = 60,
) -> tuple[Float[np.ndarray, "B P"], Float[np.ndarray, " B"]]:
    """The parameters with the least misfit |f(x) - y|^2 that any start leads to, and that misfit.

    Args:
        model: f, of parameters (B, P).
        signals: y.
        starts: of each voxel, in any number.
        low, high: bounds.
        jacobian: its derivative; None: by differences.
        iterations: from every start, at most.
    """
    best, least = np.array(starts[0]), np.full(len(signals), np.inf)
    slopes = differences(model, low, high) if jacobian is None else jacobian
    for start in starts:
        x, misfit = _descend(model, slopes, signals, np.clip(start, low, high), low, high,
                             iterations)  # fmt: skip
        better = misfit < least
        best[better], least[better] = x[better], misfit[better]
    return best, least


def differences(
    model: Model, low: Float[np.ndarray, " P"], high: Float[np.ndarray, " P"], step: float = 1e-6
) -> Jacobian:
    """The derivative of a model by differences towards the middle of the bounds.

    Args:
        model: of parameters (B, P).
        low, high: bounds.
        step: over their width.
    """

    def jacobian(x: np.ndarray, signals: np.ndarray) -> np.ndarray:
        steps = step * np.where(x < 0.5 * (low + high), high - low, low - high)
        shifted = x[:, None] + steps[:, :, None] * np.eye(x.shape[1])  # (B, P, P)
        values = model(shifted.reshape(-1, x.shape[1])).reshape(len(x), x.shape[1], -1)
        return np.swapaxes((values - signals[:, None]) / steps[:, :, None], 1, 2)

    return jacobian


def _descend(
    model: Model,
    jacobian: Jacobian,
    signals: np.ndarray,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    iterations: int,
) -> tuple[np.ndarray, np.ndarray]:
    width = high - low
    values = model(x)
    misfit = np.sum((values - signals) ** 2, axis=1)
    damping = np.full(len(x), FIRST)
    active = np.arange(len(x))
    for _ in range(iterations):
        here = x[active]
        J = jacobian(here, values[active]) * width  # of parameters of width 1
        rest = signals[active] - values[active]
        gradient = (rest[:, None] @ J)[:, 0]
        held = ((here <= low) & (gradient < 0)) | ((here >= high) & (gradient > 0))
        J = np.where(held[:, None], 0.0, J)
        gradient = np.where(held, 0.0, gradient)
        products = np.swapaxes(J, 1, 2) @ J
        diagonal = np.einsum("bpp->bp", products)
        floor = np.max(diagonal, axis=1, keepdims=True) * 1e-9 + 1e-300
        added = damping[active, None] * (diagonal + floor) + np.where(held, 1.0, floor)
        step = np.linalg.solve(
            products + added[:, :, None] * np.eye(len(low)), gradient[..., None]
        )[..., 0]
        new = np.clip(here + step * width, low, high)
        found = model(new)
        lower = np.sum((found - signals[active]) ** 2, axis=1)
        taken = lower < misfit[active]
        fall = misfit[active] - lower
        moved = np.max(np.abs(new - here) / width, axis=1)
        still = taken & (fall <= CONVERGED * lower) & (moved <= 1e3 * CONVERGED)
        rows = active[taken]
        x[rows], values[rows], misfit[rows] = new[taken], found[taken], lower[taken]
        damping[active] *= np.where(taken, FALL, RISE)
        damping[active] = np.clip(damping[active], 1e-9, None)
        active = active[~still & (moved > CONVERGED * 1e-3) & (damping[active] < HIGHEST)]
        if active.size == 0:
            break
    return x, misfit
