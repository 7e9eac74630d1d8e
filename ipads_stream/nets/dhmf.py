"""DHMF: dense CNN phases alternated with learned steps of a low-rank Hankel factorisation."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT, COUNTS, Number, Whole
from ipads_stream.nets import unrolled
from ipads_stream.nets.complex_convolution import DenseBlock

LEAST = 1e-3  # threshold over ||H x||_F: what the Gram matrices of single precision can resolve
FEATURES = 3  # that a threshold depends on


def hankel_times(x: Tensor, q: Tensor) -> Tensor:
    """(H x) q, x (batch, N) and q (batch, W, rank) complex, W <= N -> (batch, N - W + 1, rank).

    (H x)_ij = x_(i+j), a matrix that is never built. A correlation of x with every column of q; it
    does not wrap because i + j < N.
    """
    points, width = x.shape[-1], q.shape[-2]
    product = torch.fft.fft(x)[..., None, :] * torch.fft.fft(q.mT.conj(), n=points).conj()
    return torch.fft.ifft(product)[..., : points - width + 1].mT


def antidiagonal_mean(p: Tensor, q: Tensor) -> Tensor:
    """The signal whose Hankel matrix is nearest to p q^H: the mean over each antidiagonal.

    x_n = (1 / c_n) sum_r sum_(i+j=n) p_ir conj(q_jr), c_n the number of entries with i + j = n;
    p (batch, height, rank) and q (batch, width, rank) complex -> (batch, height + width - 1).
    """
    height, width = p.shape[-2], q.shape[-2]
    points = height + width - 1
    product = torch.fft.fft(p.mT, n=points) * torch.fft.fft(q.mT.conj(), n=points)
    return torch.fft.ifft(product.sum(dim=-2)) / counts(points, width, p.device)


def counts(points: int, width: int, device: torch.device) -> Tensor:
    """Entries of each antidiagonal of a Hankel matrix of ``width`` columns, int64 (points,)."""
    index = torch.arange(points, device=device)
    shorter = min(width, points - width + 1)
    return torch.minimum(index + 1, points - index).clamp_max(shorter)


def harmonics(width: int, rank: int, like: Tensor) -> Tensor:
    """Columns to start Q from: W^-1/2 exp(2 pi i j r / R), (batch, width W, rank R).

    ``like``, (batch, N) complex, gives batch, dtype and device.
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
    or vanishing singular values do no harm. x (batch, N), q (batch, W, rank), T > 0 (batch,).
    """
    identity = torch.eye(q.shape[-1], dtype=x.dtype, device=x.device)
    p = hankel_times(x, q)
    gram = p.mH @ p + threshold.square()[:, None, None] * identity
    return p, torch.linalg.solve(gram, hankel_times(x.conj(), p), left=False)


class Factorisation(nn.Module):
    """One step towards a signal whose Hankel matrix has low rank: P, Q and l are updated.

    P and Q as in :func:`ipads_stream.nets.dhmf.update_factors`, l = mean over the antidiagonals
    of P Q^H; the network then sets x <- C(x + r (l - x)).

    Learned: r, and T = (0.001 + exp MLP(features)) ||H x||_F. The features of each signal are the
    logarithms of the residuals at the measured points, of the dense block and of the last l (noise
    and artefacts, once peaks are found), and the sampling rate: neither the number of peaks nor
    the noise is an input. `threshold` is where T / ||H x||_F starts.
    """

    def __init__(self, *, threshold: float, hidden: int = 16) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(threshold))
        self.threshold = nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), last)
        self.relaxation = nn.Parameter(torch.tensor(1.5))

    def forward(
        self, x: Tensor, q: Tensor, features: Tensor, updates: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return l (batch, points), Q (batch, width, rank) and T / ||H x||_F (batch,)."""
        entries = counts(x.shape[-1], q.shape[-2], x.device)
        energy = (entries * x.abs().square()).sum(dim=-1)
        threshold = LEAST + self.threshold(features)[:, 0].clamp_max(0.0).exp()
        # The small addend only serves signals that are zero: others have max |F y| = 1.
        level = (threshold.square() * energy + 1e-8).sqrt()
        p = q
        for _ in range(updates):
            p, q = update_factors(x, q, level)
        return antidiagonal_mean(p, q), q, threshold


class DHMF(nn.Module):
    """Reconstruct a spectrum by phases of a dense block and of low-rank Hankel steps.

    Phase k: (X', M_k) = (X, M_(k-1)) + D_k([X, L - X, M_(k-1)]), x = C(F^-1 X'), then `steps[k]`
    times a :class:`Factorisation` and data consistency C; X = F x, L = F l. P and Q are handed
    from step to step; Q starts from the harmonics exp(2 pi i j r / R). A sum of J
    exponentials has a Hankel matrix of rank J, however small their amplitudes: that is what keeps
    low peaks where the training data had few.
    Signals are divided by max |F y| inside, so the output scales with the input. Signals
    have at least 8 points.
    `rank`: R, upper bound of the peaks. `first`: updates of P and Q in the very first step.
    Source: Huang et al. 2022, IEEE TNNLS, arXiv 2007.06246, for unrolling a low-rank Hankel
    factorisation with dense blocks; the update, its thresholds and M_k are choices of this project.
    """

    def __init__(
        self,
        *,
        growth: int = 24,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 3),
        memory: int = 24,
        steps: Sequence[int] = (1, 1, 1, 2, 3, 6),
        rank: int = 16,
        first: int = 3,
        threshold: float = 0.01,
        consistency: float = math.inf,
    ) -> None:
        super().__init__()
        steps = COUNTS("steps", steps)
        Number(above=0.0, below=1.0)("threshold", threshold)
        self.weight = unrolled.consistency_weight(consistency)
        self.memory = Whole(low=0)("memory", memory)
        self.rank, self.first = COUNT("rank", rank), COUNT("first", first)
        self.blocks = nn.ModuleList(
            DenseBlock(4 + memory, 2 + memory, growth, kernel=kernel, dilations=dilations)
            for _ in steps
        )
        self.factorisations = nn.ModuleList(
            nn.ModuleList(Factorisation(threshold=threshold) for _ in range(count))
            for count in steps
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shifted spectrum (batch, points), those of all phases, and thresholds.

        inputs: "fid" (batch, points) complex, zero-filled; "mask" (batch, points) bool.
        Returns: "spectrum" (batch, points) and "phases" (phases, batch, points), complex;
        "thresholds" (phases, batch), T / ||H x||_F of the last step of each phase.
        """
        measured = unrolled.Measured.of(inputs, self.weight)
        spectrum = unrolled.to_spectrum(measured.fid)
        batch, points = spectrum.shape
        Whole(low=8)("points", points)
        memory = measured.scale.new_zeros(batch, self.memory, points)
        rate = measured.mask.to(memory.dtype).mean(dim=-1)
        low, low_residual = torch.zeros_like(spectrum), torch.zeros_like(rate)
        q = harmonics(points - points // 2 + 1, min(self.rank, points // 2), spectrum)
        updates = self.first
        estimates, thresholds = [], []
        for block, steps in zip(self.blocks, self.factorisations, strict=True):
            parts = [unrolled.to_channels(spectrum), unrolled.to_channels(low), memory]
            change = block(torch.cat(parts, dim=1))
            memory = memory + change[:, 2:]
            signal = unrolled.to_signal(spectrum + unrolled.from_channels(change[:, :2]))
            dense_residual = measured.log_residual(signal)
            signal = measured.consistent(signal)
            for step in cast(nn.ModuleList, steps):
                features = torch.stack([dense_residual, low_residual, rate], dim=-1)
                nearest, q, threshold = step(signal, q, features, updates)
                low_residual, updates = measured.log_residual(nearest), 1
                signal = measured.consistent(signal + step.relaxation * (nearest - signal))
            spectrum = unrolled.to_spectrum(signal)
            low = unrolled.to_spectrum(nearest) - spectrum
            estimates.append(spectrum)
            thresholds.append(threshold)
        return measured.predictions(estimates) | {"thresholds": torch.stack(thresholds)}
