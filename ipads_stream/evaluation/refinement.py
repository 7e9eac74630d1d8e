"""Classical solvers that start from a network's estimate, with their convergence recorded.

The network has seen many signals and no measurement but its input; what it leaves behind still
violates what every signal obeys. A general prior (few exponentials, a smooth spectrum) takes over
from there (article section V).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ipads_stream.core.handover import torch_threads
from ipads_stream.evaluation.checked_mask import checked_mask
from ipads_stream.nets.hankel import (
    antidiagonal_mean,
    counts,
    harmonics,
    update_factors,
)

ROWS_AT_ONCE = 16  # their factors fit into a cache: with 64 a row takes 1.7 times as long
STARTS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025)  # of T / ||H x||_F, tried at first
WARM_UP = 4  # updates of the factors before they are handed on
LEAST_FREEDOM = 0.02
SHORTEST = 8  # points of a signal


@dataclass(frozen=True)
class Refinement:
    """What a solver made of a start, and how it got there.

    Attributes:
        estimate: equal to the measured points where there are any, unless the solver trusts them
            less (``Lines.measured``), (rows, points).
        changes: ||x_k - x_(k-1)|| / ||x_k|| of every pass, (passes, rows).
        residuals: ||l - y|| / ||y|| over the sampled points, l what the prior made of the signal
            before data consistency, (passes, rows).
    """

    estimate: Complex[np.ndarray, "rows points"]
    changes: Float[np.ndarray, "passes rows"]
    residuals: Float[np.ndarray, "passes rows"]


Refine = Callable[[np.ndarray, np.ndarray, np.ndarray], Refinement]


@dataclass(frozen=True)
class Refined:
    """A reconstruction method: a network and then a solver that starts from its estimate.

    Attributes:
        model: ``(fid, mask) -> fid``.
        refine: ``(fid, mask, start) -> Refinement``, such as :class:`LowRank`.
    """

    model: Callable[[np.ndarray, np.ndarray], np.ndarray]
    refine: Refine

    def __call__(self, fid: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The refined rows.

        Args:
            fid: complex, any unit, (rows, points).
            mask: bool, True where measured, (points,) or (rows, points).
        """
        return self.refine(fid, mask, self.model(fid, mask)).estimate


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Brings a signal near to a sum of few exponentials; their number and the noise are not told.

    One pass: P = H Q, Q = H^H P (P^H P + T^2)^-1 for the Hankel matrix H of x, l the mean over the
    antidiagonals of P Q^H, x <- x + r (l - x) and x = y at the sampled points. The factors are
    handed from pass to pass: near convergence a singular value s becomes s - T^2 / s, or 0 below T.
    Unlike LRHM's, the problem is not convex, so that the start matters. A row that is zero stays
    zero.

    Measured (N = 128, 25 % Poisson-gap, up to 10 noise-free exponentials, 200 signals): median RLNE
    0.063 of a network of 1,200 steps, 0.003 after it, 0.017 after a zero-filled start; 0.036 of
    LRHM. About 8 ms per row on one core.

    How many components are real is judged by generalised cross-validation: the residual over the
    share of freedom that is left, g = ||l - y|| / (1 - 2 k / m), both over the m sampled points,
    k = tr P^H P (P^H P + T^2)^-1 the components in use. T starts where g is least; it then falls,
    by `decay` per pass at most, to c ||l - y||, which lets weaker components in while the fit gets
    better, and which noise stops. Of all passes the one with the least g counts; the result is
    x_0 + (1 - g / ||y||) (x - x_0) with the start x_0: rows of noise, which no few components
    explain, stay as the network left them.

    Attributes:
        passes: number of passes.
        rank: R, upper bound of the number of exponentials.
        decay: of T per pass, 0 < decay < 1.
        noise: c.
        relaxation: r, 0 < r < 2.

    Raises:
        ValueError: an attribute out of range.

    Source: Cai, Candes, Shen, SIAM J Optim 20, 1956 (2010) for thresholded singular values; the
        garrote's s - T^2 / s is Breiman, Technometrics 37, 373 (1995); Golub, Heath, Wahba,
        Technometrics 21, 215 (1979) for g; the rest is this project's.
    """

    passes: int = 60
    rank: int = 16
    decay: float = 0.93
    noise: float = 1.3
    relaxation: float = 1.8

    def __post_init__(self) -> None:
        if min(self.passes, self.rank) < 1 or not 0 < self.relaxation < 2:
            raise ValueError(
                f"passes={self.passes}, rank={self.rank}, relaxation={self.relaxation}; "
                "allowed: passes >= 1, rank >= 1, 0 < relaxation < 2"
            )
        if not 0 < self.decay < 1 or not self.noise >= 0:
            raise ValueError(
                f"decay={self.decay}, noise={self.noise}; allowed: 0 < decay < 1, noise >= 0"
            )

    def __call__(
        self,
        fid: Complex[np.ndarray, "rows points"],
        mask: Bool[np.ndarray, "..."],
        start: Complex[np.ndarray, "..."],
    ) -> Refinement:
        """Refine.

        Args:
            fid: any unit, (rows, points); values where `mask` is False are ignored.
            mask: True where sampled, (points,) or (rows, points).
            start: a network's estimate, unit of `fid`.

        Raises:
            ValueError: shapes that do not fit.
        """
        return _in_batches(self._solve, fid, mask, start)

    def _solve(self, fid: Tensor, mask: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        threshold, q = self._first_threshold(fid, mask, start)
        total, x, kept = _norm(fid), start, start
        least = torch.full_like(total, math.inf)
        changes, residuals = [], []
        for _ in range(self.passes):
            fit = _fit(fid, mask, x, q, threshold)
            after = torch.where(mask, fid, x + self.relaxation * (fit.signal - x))
            is_better = fit.validation < least
            kept, least = (
                torch.where(is_better[:, None], after, kept),
                fit.validation.minimum(least),
            )
            changes.append(_norm(after - x) / _norm(after))
            residuals.append(fit.residual / total)
            fallen = torch.minimum(threshold, self.noise * fit.residual)
            x, q, threshold = after, fit.q, torch.maximum(fallen, self.decay * threshold)
        trust = 1 - (least / total).clamp_max(1.0)
        estimate = start + trust[:, None] * (kept - start)
        return estimate, torch.stack(changes), torch.stack(residuals)

    def _first_threshold(self, fid: Tensor, mask: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        points = x.shape[-1]
        width = points - points // 2 + 1
        norm = (counts(points, width, x.device) * x.abs().square()).sum(dim=-1).sqrt()
        q = harmonics(width, min(self.rank, points // 2), x)
        for _ in range(WARM_UP):
            _, q = update_factors(x, q, STARTS[-1] * norm)
        fits = [_fit(fid, mask, x, q, share * norm, updates=WARM_UP) for share in STARTS]
        best = torch.stack([fit.validation for fit in fits]).argmin(dim=0)
        return torch.tensor(STARTS, dtype=norm.dtype)[best] * norm, q


@dataclass(frozen=True)
class _Fit:
    """One low-rank approximation: l, Q, ||l - y|| and g of :class:`LowRank`."""

    signal: Tensor
    q: Tensor
    residual: Tensor
    validation: Tensor


def _fit(
    fid: Tensor, mask: Tensor, x: Tensor, q: Tensor, threshold: Tensor, updates: int = 1
) -> _Fit:
    p = q
    for _ in range(updates):
        p, q = update_factors(x, q, threshold)
    signal = antidiagonal_mean(p, q)
    residual = _norm(torch.where(mask, signal - fid, 0))
    gram = p.mH @ p
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
    shares = torch.linalg.solve(gram + threshold.square()[:, None, None] * identity, gram)
    in_use = shares.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    freedom = (1 - 2 * in_use / mask.sum(dim=-1)).clamp_min(LEAST_FREEDOM)
    return _Fit(signal, q, residual, residual / freedom)


@dataclass(frozen=True, kw_only=True)
class Smooth:
    """Brings a spectrum near to one without fine ripple.

    minimises ||x - x_0||^2 + mu ||dX/df||^2 subject to x = y at the sampled points, where dX/df is
    n x_n / N in the signal: the missing points tend to x_0 / (1 + mu (n / N)^2). Gradient steps.

    Attributes:
        passes: number of gradient steps.
        strength: mu.

    Raises:
        ValueError: an attribute out of range.
    """

    passes: int = 20
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.passes < 1 or not 0 < self.strength < math.inf:
            raise ValueError(
                f"passes={self.passes}, strength={self.strength}; "
                "allowed: passes >= 1, strength above 0"
            )

    def __call__(
        self,
        fid: Complex[np.ndarray, "rows points"],
        mask: Bool[np.ndarray, "..."],
        start: Complex[np.ndarray, "..."],
    ) -> Refinement:
        """Refine.

        Args:
            fid: any unit, (rows, points); values where `mask` is False are ignored.
            mask: True where sampled, (points,) or (rows, points).
            start: a network's estimate, unit of `fid`.

        Raises:
            ValueError: shapes that do not fit.
        """
        return _in_batches(self._solve, fid, mask, start)

    def _solve(self, fid: Tensor, mask: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = start.shape[-1]
        ramp = self.strength * (torch.arange(points, dtype=torch.float64) / points).square()
        step = 1.0 / (1.0 + self.strength)  # over the largest curvature
        x, total, changes, residuals = start, _norm(fid), [], []
        for _ in range(self.passes):
            smooth = x - step * (x - start + ramp * x)
            after = torch.where(mask, fid, smooth)
            changes.append(_norm(after - x) / _norm(after))
            residuals.append(_norm(torch.where(mask, smooth - fid, 0)) / total)
            x = after
        return x, torch.stack(changes), torch.stack(residuals)


def _in_batches(
    solve: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    fid: Complex[np.ndarray, "rows points"],
    mask: Bool[np.ndarray, "..."],
    start: Complex[np.ndarray, "..."],
) -> Refinement:
    """Rows in double precision, divided by their measured norm; zero rows are left alone."""
    mask = checked_mask(fid, mask)
    if start.shape != fid.shape or fid.shape[1] < SHORTEST:
        raise ValueError(
            f"fid has shape {fid.shape} and start {start.shape}; "
            f"allowed: equal, {SHORTEST} or more points"
        )
    measured = np.where(mask, fid, 0)
    estimate = np.where(mask, fid, start).astype(fid.dtype)
    rows = np.flatnonzero(measured.any(axis=1))
    found = []
    with torch.inference_mode(), torch_threads(1):
        for batch in np.split(rows, range(ROWS_AT_ONCE, rows.size, ROWS_AT_ONCE)):
            if not batch.size:
                continue
            known = measured[batch].astype(np.complex128)
            scale = np.linalg.norm(known, axis=1, keepdims=True)
            begin = np.where(mask[batch], known, start[batch]) / scale
            tensors = [torch.from_numpy(a) for a in (known / scale, mask[batch], begin)]
            x, *history = solve(*tensors)
            filled = x.numpy() * scale
            estimate[batch] = np.where(mask[batch], measured[batch], filled)
            found.append([part.numpy() for part in history])
    passes = len(found[0][0]) if found else 0
    changes, residuals = (np.zeros((passes, len(fid))) for _ in range(2))
    if found:
        changes[:, rows] = np.concatenate([change for change, _ in found], axis=1)
        residuals[:, rows] = np.concatenate([residual for _, residual in found], axis=1)
    return Refinement(estimate, changes, residuals)


def _norm(x: Tensor) -> Tensor:
    return x.abs().square().sum(dim=-1).sqrt()
