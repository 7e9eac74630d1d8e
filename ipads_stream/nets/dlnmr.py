"""DL-NMR: unrolled dense CNN phases with data consistency for undersampled FIDs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ipads_stream.core.fields import COUNT, Whole
from ipads_stream.nets import unrolled
from ipads_stream.nets.complex_convolution import Convolution, DenseBlock, TwoChannel


class DLNMR(nn.Module):
    """Reconstruct the spectrum of an undersampled FID by K unrolled phases.

    (X_k', M_k) = (X_(k-1), M_(k-1)) + D_k([X_(k-1), M_(k-1)]), s_k = F^-1 X_k', X_k = F C(s_k) with
    C(s)_n = (s_n + lambda y_n) / (1 + lambda) at sampled n and s_n elsewhere (lambda = inf: y_n).
    F is the orthonormal Fourier transform, D_k a dense block on real and imaginary parts, M_k real
    feature maps that carry what a phase has found past data consistency to the next, M_0 = 0,
    X_0 = F y. Signals are divided by max |F y| inside, so the output scales with the input.
    `dilations`: one per dense layer. `convolution`: TwoChannel or ComplexValued.
    Source: Qu et al. 2020, Angew. Chem., arXiv 1904.05168; M_k and the dilations are additions.
    """

    def __init__(
        self,
        *,
        phases: int = 12,
        growth: int = 24,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 3),
        memory: int = 24,
        consistency: float = math.inf,
        convolution: Convolution | None = None,
    ) -> None:
        super().__init__()
        COUNT("phases", phases)
        self.weight = unrolled.consistency_weight(consistency)
        self.memory = Whole(low=0)("memory", memory)
        width, make = 2 + memory, convolution or TwoChannel()
        self.blocks = nn.ModuleList(
            DenseBlock(width, width, growth, kernel=kernel, dilations=dilations, convolution=make)
            for _ in range(phases)
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shifted spectrum (batch, points) and those of all phases.

        inputs: "fid" (batch, points) complex, zero-filled; "mask" (batch, points) bool.
        Returns: "spectrum" (batch, points) and "phases" (phases, batch, points), complex.
        """
        measured = unrolled.Measured.of(inputs, self.weight)
        spectrum = unrolled.to_spectrum(measured.fid)
        batch, points = spectrum.shape
        memory = measured.scale.new_zeros(batch, self.memory, points)
        estimates = []
        for block in self.blocks:
            state = torch.cat([unrolled.to_channels(spectrum), memory], dim=1)
            state = state + block(state)
            memory = state[:, 2:]
            signal = measured.consistent(unrolled.to_signal(unrolled.from_channels(state[:, :2])))
            spectrum = unrolled.to_spectrum(signal)
            estimates.append(spectrum)
        return measured.predictions(estimates)
