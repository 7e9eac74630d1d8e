"""Low-rank Hankel reconstruction (LRHM): a sum of J exponentials has a Hankel matrix of rank J."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Complex, Float, Inexact
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ipads_stream.baselines.passes import Passes
from ipads_stream.baselines.signals import Fids, Mask, checked_mask

Hankel = Inexact[np.ndarray, "rows height width"]


def reconstruct(
    fid: Fids,
    mask: Mask,
    passes: int = 80,
    threshold: float = 0.5,
    progress: bool = False,
    rows_at_once: int = 32,
    workers: int = 1,
) -> Fids:
    """The rows with missing points filled, by minimising the nuclear norm of the Hankel matrix.

    min ||H x||_* subject to x = y at the sampled points, by ADMM: Z <- svt(H x + D, T),
    x <- mean over the antidiagonals of Z - D and data consistency, D <- D + H x - Z (written with
    the A = H x + D of its pass as D = A - Z). H is (points/2, points/2 + 1) and
    svt(A, T) = U max(1 - T/s, 0) U^H A with A A^H = U s^2 U^H: the eigenvalues of the Gram matrix
    cost half of the singular values of A. T does not change the minimum, only the way there.

    Median RLNE after 80 passes 0.106 with T = 0.1, 0.059 with 0.5, 0.071 with 1 (128 points, 25 %
    Poisson-gap, up to 10 noise-free exponentials).

    Args:
        fid: any unit, (rows, points); values where `mask` is False are ignored. The work is done
            in complex128 and the result has the precision of `fid`. A zero row stays zero.
        mask: True where sampled, (points,) for all rows or (rows, points).
        passes: number of passes.
        threshold: T as a fraction of the largest singular value of the zero-filled H y.
        progress: show a progress bar.
        rows_at_once: rows per batch; bounds the memory, not the result.
        workers: threads that share the batches.

    Raises:
        ValueError: shapes that do not fit, fewer than 4 points, or threshold <= 0.

    Source: Qu et al., Angew Chem Int Ed 54, 852 (2015); Cai, Candes, Shen, SIAM J Optim 20, 1956
        (2010) for the singular-value threshold.
    """
    mask = checked_mask(fid, mask)
    if fid.shape[1] < 4 or not threshold > 0 or min(passes, rows_at_once, workers) < 1:
        allowed = "points >= 4, threshold > 0, the others >= 1"
        given = f"points={fid.shape[1]}, {passes=}, {threshold=}, {rows_at_once=}, {workers=}"
        raise ValueError(f"{given}; allowed: {allowed}")
    sampled = np.where(mask, fid, 0)
    estimate = sampled.copy()
    rows = np.flatnonzero(sampled.any(axis=1))
    batches = [rows[i : i + rows_at_once] for i in range(0, rows.size, rows_at_once)]
    with (
        tqdm(total=rows.size * passes, desc="LRHM", disable=not progress) as bar,
        ThreadPoolExecutor(workers) as pool,
        # The matrices are small: threads of the linear algebra library only wait for one another.
        threadpool_limits(1, user_api="blas"),
    ):

        def solve(batch: np.ndarray) -> np.ndarray:
            known = sampled[batch].astype(np.complex128)
            return _solve(known, mask[batch], passes, threshold, bar)

        for batch, filled in zip(batches, pool.map(solve, batches), strict=True):
            estimate[batch] = np.where(mask[batch], sampled[batch], filled)
    return estimate


def _solve(sampled: Fids, mask: Mask, passes: int, threshold: float, bar: tqdm) -> Fids:
    num_points = sampled.shape[1]
    width = num_points - num_points // 2 + 1
    counts = _sum_antidiagonals(np.ones((1, num_points // 2, width)))
    x = sampled
    dual = np.zeros((1, 1, 1))
    level = threshold * np.sqrt(_gram_eigen(sliding_window_view(x, width, axis=-1))[0][:, -1:])
    for _ in Passes(passes, bar, share=len(x)):
        matrix = sliding_window_view(x, width, axis=-1) + dual
        squares, vectors = _gram_eigen(matrix)
        gain = np.maximum(1 - level / np.sqrt(squares), 0)
        low_rank = (vectors * gain[:, None]) @ (vectors.conj().swapaxes(1, 2) @ matrix)
        dual = matrix - low_rank
        x = np.where(mask, sampled, _sum_antidiagonals(low_rank - dual) / counts)
    return x


def _sum_antidiagonals(matrix: Hankel) -> Inexact[np.ndarray, "rows points"]:
    """Adjoint of the map from a signal to its Hankel matrix."""
    num_rows, height, width = matrix.shape
    sums = np.zeros((num_rows, height + width - 1), matrix.dtype)
    for row in range(height):
        sums[:, row : row + width] += matrix[:, row]
    return sums


def _gram_eigen(
    matrix: Hankel,
) -> tuple[Float[np.ndarray, "rows height"], Complex[np.ndarray, "rows height height"]]:
    """Squared singular values, ascending and positive, and left singular vectors."""
    squares, vectors = np.linalg.eigh(matrix @ matrix.conj().swapaxes(1, 2))
    return np.maximum(squares, np.finfo(squares.dtype).tiny), vectors
