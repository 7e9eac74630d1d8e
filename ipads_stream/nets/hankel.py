"""The Hankel matrix of a signal and its low-rank factors, by Fourier transforms.

Of a signal with N points (H x)_ij = x_(i+j) has N - W + 1 rows and W columns. A sum of J damped
exponentials has a Hankel matrix of rank J. The matrix itself is never built.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def hankel_times(x: Tensor, q: Tensor) -> Tensor:
    """(H x) q for the Hankel matrix (H x)_ij = x_(i+j) with as many columns as q has rows.

    A correlation of x with every column of q; it does not wrap because i + j < N.

    Args:
        x: signals, complex, (batch, N).
        q: (batch, W, rank) complex with W <= N.

    Returns:
        (batch, N - W + 1, rank) complex.
    """
    points, width = x.shape[-1], q.shape[-2]
    product = torch.fft.fft(x)[..., None, :] * torch.fft.fft(q.mT.conj(), n=points).conj()
    return torch.fft.ifft(product)[..., : points - width + 1].mT


def antidiagonal_mean(p: Tensor, q: Tensor) -> Tensor:
    """The signal whose Hankel matrix is nearest to p q^H: the mean over each antidiagonal.

    x_n = (1 / c_n) sum_r sum_(i+j=n) p_ir conj(q_jr), c_n the number of entries with i + j = n.

    Args:
        p: (batch, height, rank) complex.
        q: (batch, width, rank) complex.

    Returns:
        (batch, height + width - 1) complex.
    """
    height, width = p.shape[-2], q.shape[-2]
    points = height + width - 1
    product = torch.fft.fft(p.mT, n=points) * torch.fft.fft(q.mT.conj(), n=points)
    return torch.fft.ifft(product.sum(dim=-2)) / counts(points, width, p.device)


def counts(points: int, width: int, device: torch.device) -> Tensor:
    """Entries of each antidiagonal of a Hankel matrix, int64 (points,).

    Args:
        points: N of the signal.
        width: columns of its Hankel matrix.
        device: of the result.
    """
    index = torch.arange(points, device=device)
    shorter = min(width, points - width + 1)
    return torch.minimum(index + 1, points - index).clamp_max(shorter)


def harmonics(width: int, rank: int, like: Tensor) -> Tensor:
    """Columns to start Q from: W^-1/2 exp(2 pi i j r / R), (batch, width, rank).

    Args:
        width: W.
        rank: R.
        like: gives batch, dtype and device, (batch, N) complex.
    """
    column = torch.arange(width, device=like.device, dtype=torch.float64)
    harmonic = torch.arange(rank, device=like.device, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(column, harmonic / rank)
    start = torch.polar(torch.full_like(angle, width**-0.5), angle)
    return start.to(like.dtype).expand(len(like), -1, -1)


def update_factors(x: Tensor, q: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """P = H Q and then Q = H^H P (P^H P + T^2)^-1, so that P Q^H nears a low-rank H = H x.

    Repeated, a singular value s of H becomes s - T^2 / s and those below T become zero: these are
    the fixed points of w <- s^2 w / (s^2 w^2 + T^2), with s w^2 in P Q^H. Large values keep their
    height, where a nuclear norm would take T from every one. Only systems of the factors' rank are
    solved: neither the update nor its gradient needs a singular value decomposition, so that equal
    or vanishing singular values do no harm.

    Args:
        x: (batch, N) complex.
        q: (batch, W, rank) complex.
        threshold: T > 0, unit of x, (batch,).
    """
    identity = torch.eye(q.shape[-1], dtype=x.dtype, device=x.device)
    p = hankel_times(x, q)
    gram = p.mH @ p + threshold.square()[:, None, None] * identity
    return p, torch.linalg.solve(gram, hankel_times(x.conj(), p), left=False)
