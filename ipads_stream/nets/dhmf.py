"""DHMF: dense CNN phases alternated with learned steps of a low-rank Hankel factorisation."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ipads_stream.nets.complex_convolution import TwoChannel
from ipads_stream.nets.dense_block import DenseBlock
from ipads_stream.nets.hankel import antidiagonal_mean, counts, harmonics, update_factors
from ipads_stream.nets.unrolled import (
    Measured,
    check,
    check_counts,
    consistency_weight,
    from_channels,
    is_count,
    to_channels,
    to_signal,
    to_spectrum,
)

LEAST = 1e-3  # threshold over ||H x||_F: what the Gram matrices of single precision can resolve
FEATURES = 3  # that a threshold depends on


class Factorisation(nn.Module):
    """One step towards a signal whose Hankel matrix has low rank: P, Q and l are updated.

    P and Q as in :func:`ipads_stream.nets.hankel.update_factors`, l = mean over the antidiagonals
    of P Q^H; the network then sets x <- C(x + r (l - x)).

    Learned: r, and T = (0.001 + exp MLP(features)) ||H x||_F. The features of each signal are the
    logarithms of the residuals at the measured points, of the dense block and of the last l (noise
    and artefacts, once peaks are found), and the sampling rate: neither the number of peaks nor
    the noise is told. `threshold` is where T / ||H x||_F starts.
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
        of_entries = counts(x.shape[-1], q.shape[-2], x.device)
        energy = (of_entries * x.abs().square()).sum(dim=-1)
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
    Signals are divided by max |F y| inside, so the output scales with the input.
    Shapes: fid (batch, points) complex, mask (batch, points) bool; any number of points from 8.
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
        check("growth", growth, is_count(growth, 1), "integers from 1")
        check("kernel", kernel, is_count(kernel, 1) and kernel % 2 == 1, "odd integers from 1")
        dilations = check_counts("dilations", dilations)
        check("memory", memory, is_count(memory, 0), "integers from 0")
        steps = check_counts("steps", steps)
        check("rank", rank, is_count(rank, 1), "integers from 1")
        check("first", first, is_count(first, 1), "integers from 1")
        check("threshold", threshold, 0 < threshold < 1, "numbers above 0, below 1")
        self.weight = consistency_weight(consistency)
        self.memory, self.rank, self.first = memory, rank, first
        self.blocks = nn.ModuleList(
            DenseBlock(
                channels=4 + memory,
                out_channels=2 + memory,
                growth=growth,
                kernel=kernel,
                dilations=dilations,
                convolution=TwoChannel(),
            )
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
        measured = Measured.of(inputs, self.weight)
        spectrum = to_spectrum(measured.fid)
        batch, points = spectrum.shape
        check("points", points, points >= 8, "8 or more")
        memory = measured.scale.new_zeros(batch, self.memory, points)
        rate = measured.mask.to(memory.dtype).mean(dim=-1)
        low, of_low = torch.zeros_like(spectrum), torch.zeros_like(rate)
        q = harmonics(points - points // 2 + 1, min(self.rank, points // 2), spectrum)
        updates = self.first
        estimates, thresholds = [], []
        for block, steps in zip(self.blocks, self.factorisations, strict=True):
            parts = [to_channels(spectrum), to_channels(low), memory]
            change = block(torch.cat(parts, dim=1))
            memory = memory + change[:, 2:]
            signal = to_signal(spectrum + from_channels(change[:, :2]))
            of_dense = measured.log_residual(signal)
            signal = measured.consistent(signal)
            for step in cast(nn.ModuleList, steps):
                features = torch.stack([of_dense, of_low, rate], dim=-1)
                nearest, q, threshold = step(signal, q, features, updates)
                of_low, updates = measured.log_residual(nearest), 1
                signal = measured.consistent(signal + step.relaxation * (nearest - signal))
            spectrum = to_spectrum(signal)
            low = to_spectrum(nearest) - spectrum
            estimates.append(spectrum)
            thresholds.append(threshold)
        return measured.predictions(estimates) | {"thresholds": torch.stack(thresholds)}
