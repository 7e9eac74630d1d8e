"""T2 of a voxel from the magnitudes of a train of spin echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.noise import complex_noise
from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Numbers, ruled
from ipads_stream.core.images import check_axis, measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.parameters import parameter
from ipads_stream.physics.closed_forms.multi_echo import spin_echoes
from ipads_stream.physics.cramer_rao import bound, fisher_information
from ipads_stream.systems import ParametricSystem


@dataclass(frozen=True, kw_only=True)
class T2Mapping(ParametricSystem):
    """Magnitudes |exp(-TE / T2) + noise| of a voxel, whose noise is therefore Rician.

    Input: ``signal`` (B, echoes) float32 of norm 1, as the amplitude is not known. Target: ``T2``
    (B,), s.

    Attributes:
        T2: s.
        snr: signal at TE = 0 over the standard deviation of the noise in each real channel.
        TE: echo times, s.
    """

    name: ClassVar[str] = "t2_mapping"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    baselines: ClassVar[dict[str, str]] = {
        "log-linear fit": "t2_mapping.fits.log_linear",
        "nonlinear fit": "t2_mapping.fits.nonlinear",
    }

    T2: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    snr: Distribution = parameter(within=(1.0, math.inf))
    TE: Sequence[float] = ruled(Numbers(each=Number(above=0.0), convert=float))

    def check(self) -> None:
        if len(set(self.TE)) < 2:
            raise ConfigError("TE", self.TE, "at least two times: one echo does not tell T2")

    @property
    def quantities(self) -> dict[str, Quantity]:
        low, high = self.T2.support
        return {"T2": Quantity(low=low, high=high, unit="ms", scale="log", bids="T2map")}

    def forward(self, params: Arrays) -> Any:
        """The echoes without noise, 1 at TE = 0, (B, echoes)."""
        T2 = params["T2"]
        TE = namespace(T2).asarray(self.TE, dtype=T2.dtype, device=device_of(T2))
        return spin_echoes(TE, T2)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        T2 = xp.asarray(params["T2"], dtype=xp.float32)
        # The noise of a complex number has twice the variance of its real part.
        sigma = math.sqrt(2) / xp.asarray(params["snr"], dtype=xp.float32)
        noise = complex_noise(keys["noise"], sigma, len(self.TE), xp)
        return Sample(
            inputs={"signal": of_norm_1(xp.abs(self.forward({"T2": T2}) + noise))},
            targets={"T2": T2},
            params=params,
            weight=self.weights(params),
        )

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao: the least standard deviation of an unbiased T2, s, (B,); M0 is unknown, too.

        It is that of complex data, which magnitudes do not surpass.
        """
        TE, T2 = np.asarray(self.TE), params["T2"][:, None]
        decay = np.exp(-TE / T2)
        jacobian = np.stack([decay * TE / T2**2, decay], axis=-1)
        fisher = fisher_information(jacobian, 1 / params["snr"][:, None])
        return {"T2": bound(fisher)[:, 0]}

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Somebody's echoes, (*space, echoes), real or complex, as the network's input.

        Args:
            images: of any unit.
            axis: their echo times, s, where they are known.

        Raises:
            ConfigError: another number of echoes, or other times than ``TE``.
        """
        content = f"{len(self.TE)} echoes"
        samples = measured_samples(images, self.kind, counts=(len(self.TE),), content=content)
        check_axis(axis, self.TE, "echo times (s)", rtol=0.01)
        return {"signal": of_norm_1(np.abs(samples).astype(np.float32))}


def of_norm_1(signal: Any) -> Any:
    """Signals over their norm, (B, echoes); those that are 0 stay 0."""
    xp = namespace(signal)
    norm = xp.sqrt(xp.sum(signal * signal, axis=-1))[:, None]
    return signal / xp.where(norm > 0, norm, xp.ones_like(norm))
