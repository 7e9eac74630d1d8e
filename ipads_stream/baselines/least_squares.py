"""Non-linear least squares within bounds, for many voxels at once, from several starts.

Levenberg-Marquardt: (J^T J + lambda diag(J^T J)) step = J^T (y - f(x)); a step that lowers the
misfit is taken and lambda falls, else it rises. Parameters that would cross a bound are held there.

Source: Marquardt, SIAM Journal 11(2), 1963; Bertsekas, SIAM Journal on Control and Optimization
20(2), 1982 (the parameters that are held).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ipads_stream.baselines.passes import Passes
from ipads_stream.systems import ParametricSystem

Model = Callable[[np.ndarray], np.ndarray]  # x (B, P) -> signals (B, E)
Jacobian = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, signals there -> (B, E, P)
Bound = Float[np.ndarray, " P"]
Array = np.ndarray

FALL, RISE, FIRST, HIGHEST = 0.3, 4.0, 1e-2, 1e8  # of lambda
STEP = 1e-6  # of differences, over the width of the bounds
CONVERGED = 1e-6  # relative fall of the misfit, and step over the width of the bounds


@dataclass(frozen=True)
class Unknowns:
    """The parameters of a system that a fit looks for, and what it holds fixed.

    names: in the order of the columns; bounds: the ends of their ranges, logarithms where
    ``is_log``; fixed: values of the parameters that do not vary.
    """

    names: list[str]
    bounds: Float[np.ndarray, "2 P"]
    is_log: Bool[np.ndarray, " P"]
    fixed: dict[str, float]

    @classmethod
    def of(cls, system: ParametricSystem, *, logarithmic: bool = False) -> "Unknowns":
        """Those of a system, but for the signal-to-noise ratio ``snr``.

        logarithmic: whether those above zero are fitted by their logarithms.
        """
        ends = {name: d.support for name, d in system.distributions().items() if name != "snr"}
        fixed = {name: low for name, (low, high) in ends.items() if low == high}
        names = [name for name in ends if name not in fixed]
        bounds = np.array([ends[name] for name in names]).reshape(-1, 2).T
        is_log = (bounds[0] > 0) & logarithmic
        bounds = np.where(is_log, np.log(np.where(is_log, bounds, 1.0)), bounds)
        return cls(names, bounds, is_log, fixed)

    def params(self, x: Float[np.ndarray, "B P"]) -> dict[str, np.ndarray]:
        """The parameters, (B,) by name, for columns in the scale of the fit."""
        values = np.where(self.is_log, np.exp(np.where(self.is_log, x, 0.0)), x)
        fixed = {name: np.full(len(x), value) for name, value in self.fixed.items()}
        return {name: values[:, i] for i, name in enumerate(self.names)} | fixed


def least_squares(
    model: Model,
    signals: Float[np.ndarray, "B E"],
    starts: Float[np.ndarray, "S B P"],
    low: Bound,
    high: Bound,
    *,
    jacobian: Jacobian | None = None,
    iterations: int = 60,
) -> tuple[Float[np.ndarray, "B P"], Float[np.ndarray, " B"]]:
    """The parameters with the least misfit |f(x) - y|^2 that any start leads to, and that misfit.

    model: f; signals: y; jacobian: None: by differences; iterations: from every start, at most.
    """
    best, least = np.array(starts[0]), np.full(len(signals), np.inf)
    slopes = differences(model, low, high) if jacobian is None else jacobian
    for start in starts:
        x, misfit = _descend(model, slopes, signals, start, low, high, iterations)
        better = misfit < least
        best[better], least[better] = x[better], misfit[better]
    return best, least


def differences(model: Model, low: Bound, high: Bound) -> Jacobian:
    """The derivative of a model by differences (shares of the bounds) towards their middle."""

    def jacobian(x: np.ndarray, signals: np.ndarray) -> np.ndarray:
        steps = STEP * np.where(x < 0.5 * (low + high), high - low, low - high)
        shifted = x[:, None] + steps[:, :, None] * np.eye(x.shape[1])  # (B, P, P)
        values = model(shifted.reshape(-1, x.shape[1])).reshape(len(x), x.shape[1], -1)
        return np.swapaxes((values - signals[:, None]) / steps[:, :, None], 1, 2)

    return jacobian


def _descend(
    model: Model, slopes: Jacobian, signals: Array, x: Array, low: Bound, high: Bound, most: int
) -> tuple[Array, Array]:
    x, width = np.clip(x, low, high), high - low
    values = model(x)
    misfit = np.sum((values - signals) ** 2, axis=1)
    damping = np.full(len(x), FIRST)
    active = np.arange(len(x))
    for _ in (passes := Passes(most)):
        here = x[active]
        J = slopes(here, values[active]) * width  # of parameters of width 1
        residual = signals[active] - values[active]
        gradient = (residual[:, None] @ J)[:, 0]
        held = ((here <= low) & (gradient < 0)) | ((here >= high) & (gradient > 0))
        J = np.where(held[:, None], 0.0, J)
        gradient = np.where(held, 0.0, gradient)
        products = np.swapaxes(J, 1, 2) @ J
        diagonal = np.einsum("bpp->bp", products)
        floor = np.max(diagonal, axis=1, keepdims=True) * 1e-9 + 1e-300
        added = damping[active, None] * (diagonal + floor) + np.where(held, 1.0, floor)
        products += added[:, :, None] * np.eye(len(low))
        step = np.linalg.solve(products, gradient[..., None])[..., 0]
        new = np.clip(here + step * width, low, high)
        trial = model(new)
        lower = np.sum((trial - signals[active]) ** 2, axis=1)
        taken = lower < misfit[active]
        fall = misfit[active] - lower
        moved = np.max(np.abs(new - here) / width, axis=1)
        still = taken & (fall <= CONVERGED * lower) & (moved <= 1e3 * CONVERGED)
        rows = active[taken]
        x[rows], values[rows], misfit[rows] = new[taken], trial[taken], lower[taken]
        damping[active] *= np.where(taken, FALL, RISE)
        damping[active] = np.clip(damping[active], 1e-9, None)
        active = active[~still & (moved > CONVERGED * 1e-3) & (damping[active] < HIGHEST)]
        passes.is_done = active.size == 0
    return x, misfit
