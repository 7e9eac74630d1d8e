"""ANN-MWF: the myelin water fraction of a voxel from its echoes, by a network on synthetic decays.

Source: Jung et al., Magnetic Resonance in Medicine 2020, doi 10.1002/mrm.28407 (gradient echoes of
three pools); with B1 multi-echo spin echoes as in Lee et al., arXiv 1904.12522. The ranges of the
pools are not stated in what was read and are choices of this project (conf/system/ann_mwf*.yaml).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.noise_limit import chosen_rows, missing_noise, with_noise
from ipads_stream.acquisition.subspace import Subspace, subspace
from ipads_stream.core import random
from ipads_stream.core.backend import moved, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import choice, number, whole
from ipads_stream.core.images import check_axis, measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics import cramer_rao
from ipads_stream.physics.arrays import as_constant
from ipads_stream.physics.closed_forms.multi_pool import decay
from ipads_stream.systems.base import GONE, Axis, ParametricSystem, sensitivities

POOLS = ("myelin", "axonal", "extracellular")
TIMES = tuple(f"T2_{pool}" for pool in POOLS)
TYPICAL_T2, TYPICAL_B1 = (0.003, 0.2), (0.6, 1.2)  # s; of the set that the features come from
TYPICAL_SNR = 100.0
TYPICAL = Keys(0, "typical decays", np.arange(8000, dtype=np.uint64))


@dataclass(frozen=True, kw_only=True)
class ANNMWF(ParametricSystem):
    """Decays of three pools of water; which of it is bound in myelin.

    Inputs: ``decay`` (B, E) and ``sigma`` (B,), the standard deviation of its noise, in one unit;
    ``features`` (B, F) of the decay over its norm, and ``log_snr`` (B,), of the norm. Targets: the
    fraction ``MWF`` and the relaxation time of every pool, with B1 that, too.

    Attributes:
        MWF: fraction of the water that is in myelin.
        axonal: share of the rest that is in axons.
        T2_myelin, T2_axonal, T2_extracellular: s; T2* without B1, T2 with it.
        snr: first echo over the standard deviation of the noise in the real channel.
        B1: RF relative to nominal; None: gradient echoes.
        dephasing: range of off-resonance across the slice, Hz, gammabar Gz dz: multiplies gradient
            echoes by sin(pi df TE) / (pi df TE); None: none.
        first_echo, spacing: s, of the echoes; equal with B1.
        num_echoes: E.
        T1: s, of all pools; only stimulated echoes depend on it.
        detection: "magnitude", or "real" after correction of the phase.
        features: F, coordinates of a decay that the network sees.
    """

    name: ClassVar[str] = "ann_mwf"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    design: ClassVar[str] = "ipads_stream.evaluation.design.pools.pool_echoes"
    baselines: ClassVar[dict[str, str]] = {
        "three-pool fit": "ipads_stream.baselines.myelin_water.three_pool_fit",
        "regularised NNLS": "ipads_stream.baselines.myelin_water.t2_spectrum",
        "posterior mean": "ipads_stream.baselines.myelin_water.posterior_mean",
    }

    MWF: Distribution = parameter(within=(0.0, 1.0))
    axonal: Distribution = parameter(within=(0.0, 1.0))
    T2_myelin: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
    T2_axonal: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
    T2_extracellular: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
    snr: Distribution = parameter(within=(1e-3, math.inf))
    B1: Distribution | None = parameter(within=(0.3, 1.7), optional=True)
    dephasing: Distribution | None = parameter(
        quantity="frequency", within=(0.0, 1e5), optional=True
    )
    first_echo: float = number(1.6e-3, above=0.0, below=1e3)
    spacing: float = number(1e-3, above=0.0, below=1e3)
    num_echoes: int = whole(32, low=1, high=10_000)
    T1: float = number(1.0, above=0.0, below=1e3)
    detection: str = choice("magnitude", among=("magnitude", "real"))
    features: int = whole(12, low=1, high=10_000)

    def check(self) -> None:
        if self.B1 is not None and self.dephasing is not None:
            raise ConfigError("dephasing", self.dephasing, "null with B1: spin echoes refocus it")
        if self.B1 is not None and not math.isclose(self.first_echo, self.spacing):
            allowed = f"spacing={self.spacing:g} with B1: a train of spin echoes"
            raise ConfigError("first_echo", self.first_echo, allowed)
        times = (self.T2_myelin, self.T2_axonal, self.T2_extracellular)
        longest = max(T2.support[1] for T2 in times)
        if self.first_echo > GONE * longest:
            allowed = f"at most {GONE * longest:g} s: later the signals of all pools are gone"
            raise ConfigError("first_echo", self.first_echo, allowed)
        if self.B1 is not None and max(T2.support[0] for T2 in times) > 2 * self.T1:
            raise ConfigError("T1", self.T1, "at least half of T2, as of all matter")
        # In at least one of a few voxels all pools must be identifiable.
        keys = Keys(0, "identifiable", np.arange(8, dtype=np.uint64))
        fisher, names = self._information(self.draw(keys, np.zeros(8)))
        scale = [1.0, *(np.ptp(getattr(self, name).support) for name in names[1:])]
        for voxel in fisher:
            try:
                # Three such pools are barely separable: refused is what only rounding separates.
                cramer_rao.identifiable(voxel[None], names, scale, tolerance=1e-15)
            except ValueError as error:
                reason = str(error)
            else:
                return
        allowed = f"echoes that separate the pools: {reason}"
        raise ConfigError("num_echoes", self.num_echoes, allowed)

    @cached_property
    def TE(self) -> np.ndarray:
        """Echo times, s, (E,)."""
        return self.first_echo + self.spacing * np.arange(self.num_echoes)

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {"decay": Axis("echo time (ms)", 1e3 * self.TE), "features": Axis("feature")}

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What is estimated, over the ranges that are drawn."""
        highest = max(self.MWF.support[1], 0.01)
        estimated = {"MWF": Quantity(low=0.0, high=highest, unit="%", bids="MWFmap")}
        if self.B1 is not None:
            estimated["B1"] = Quantity.over(self.B1.support, "%", bids="TB1map")
        times = {name: getattr(self, name).support for name in TIMES}
        return estimated | {name: Quantity.over(x, "ms", "log") for name, x in times.items()}

    def forward(self, params: Arrays) -> Any:
        """The noise-free decay of 1 unit of water, (B, E); differentiable for torch parameters."""
        is_train = self.B1 is not None
        return self.echoes(self.TE if is_train else as_constant(self.TE, params["MWF"]), params)

    def echoes(self, TE: Any, params: Arrays) -> Any:
        """The decay at other echo times, s, (E,), by which torch differentiates it, too."""
        MWF, axonal = params["MWF"], params["axonal"]
        xp = namespace(MWF)
        free = 1.0 - MWF
        fractions = xp.stack([MWF, free * axonal, free * (1.0 - axonal)], axis=-1)
        T2 = xp.stack([params[name] for name in TIMES], axis=-1)
        if self.B1 is not None:
            return decay(TE, fractions, T2, params["B1"], T1=self.T1)
        signal = decay(TE, fractions, T2)
        if self.dephasing is not None:
            angle = math.pi * params["dephasing"][..., None] * TE
            safe = xp.where(angle == 0, xp.ones_like(angle), angle)
            signal = signal * xp.where(angle == 0, xp.ones_like(angle), xp.sin(safe) / safe)
        return signal

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        columns = moved(xp, *(x.astype(np.float32) for x in params.values()))
        drawn = dict(zip(params, columns, strict=True))
        signal = self.forward(drawn)
        sigma = signal[:, 0] / drawn["snr"]
        noise = sigma[:, None, None] * random.normal(keys["noise"], (2, self.num_echoes), xp)
        measured = signal + noise[:, 0]
        if self.detection == "magnitude":
            measured = xp.hypot(measured, noise[:, 1])
        targets = {name: drawn[name] for name in self.quantities}
        return self.batch(self._inputs(measured, sigma, xp), targets, params)

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Inputs of the network from echo images, (*space, E), magnitude or, phased here, complex.

        The noise, taken to be alike in all voxels, is what no decay of pools explains.

        Raises:
            ConfigError: another number of echoes, other echo times, values that are not finite or
                are negative magnitudes.
        """
        content = f"{self.num_echoes} echoes"
        signals = measured_samples(images, self.kind, counts=[self.num_echoes], content=content)
        check_axis(axis, self.TE, "echo times (s)", rtol=1e-3, atol=1e-6)
        if np.iscomplexobj(signals):
            turned = signals * np.exp(-1j * np.angle(signals.sum(axis=1, keepdims=True)))
            signals = np.abs(signals) if self.detection == "magnitude" else turned.real
        signals = signals.astype(np.float64)
        if self.detection == "magnitude" and (signals < 0).any():
            raise ConfigError("data", "negative values", "magnitudes")
        norm = np.linalg.norm(signals, axis=1)
        inside = norm > 0.1 * norm.max(initial=0.0)
        sigma = np.median(self._subspace.residual(signals[inside])) if inside.any() else 0.0
        noise = np.full(norm.shape, sigma, np.float32)
        return self._inputs(signals.astype(np.float32), noise, np)

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]:
        """Inputs with noise where the first echo is above the highest ``snr``, and where it is."""
        signals, sigma = np.asarray(inputs["decay"]), np.asarray(inputs["sigma"])
        least = np.abs(signals[:, 0]) / self.snr.support[1]
        added = missing_noise(sigma, least)
        noisy = with_noise(signals, added, is_magnitude=self.detection == "magnitude")
        noisy, total = noisy.astype(np.float32), np.hypot(sigma, added).astype(np.float32)
        return chosen_rows(inputs, self._inputs(noisy, total, np), added > 0), added > 0

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao bound in SI, (B,), amount unknown; inf where the decay has no information."""
        fisher, names = self._information(params)
        sd = dict(zip(names, cramer_rao.bound_or_infinite(fisher).T, strict=True))
        return {name: sd[name] for name in self.quantities if name in sd}

    def _inputs(self, measured: Any, sigma: Any, xp: Any) -> Arrays:
        norm = xp.maximum(xp.sqrt(xp.sum(measured * measured, axis=1)), 1e-30)
        relative = xp.maximum(sigma / norm * math.sqrt(self.num_echoes), 1e-6)
        return {
            "decay": measured,
            "sigma": sigma,
            "features": self._subspace.coordinates(measured / norm[:, None], xp),
            "log_snr": -xp.log(relative * TYPICAL_SNR),
        }

    @cached_property
    def _subspace(self) -> Subspace:
        """Of decays of three pools, whatever their T2: it belongs to the echo times alone."""
        u = random.uniform(TYPICAL["pools"], (7,))
        low, high = TYPICAL_T2
        T2 = low * (high / low) ** u[:, :3]
        B1 = None if self.B1 is None else TYPICAL_B1[0] + np.ptp(TYPICAL_B1) * u[:, 6]
        signals = decay(self.TE, -np.log(u[:, 3:6]), T2, B1, T1=self.T1)
        signals /= np.linalg.norm(signals, axis=1, keepdims=True)
        return subspace(signals, self.features, 1 / (TYPICAL_SNR * math.sqrt(self.num_echoes)))

    def _information(self, params: Arrays) -> tuple[np.ndarray, tuple[str, ...]]:
        """Of the unknown parameters and the amount of water, (B, P, P), and their names."""
        names = self.varying("snr")
        params = {name: np.asarray(x, np.float64) for name, x in params.items()}
        steps = {name: 1e-4 * params[name] + 1e-9 for name in names}
        ends: dict[str, tuple[Any, Any]] = {name: (step, -step) for name, step in steps.items()}
        # Fractions act linearly, and have ends; all else is far from its own.
        for name in {"MWF", "axonal"} & ends.keys():
            ends[name] = np.where(params[name] < 0.5, 0.1, -0.1), 0.0
        signal = self.forward(params)
        slopes = sensitivities(self.forward, params, ends)
        sigma = signal[:, :1] / params["snr"][:, None]
        jacobian = np.concatenate([signal[..., None], slopes], axis=-1)
        return cramer_rao.fisher_information(jacobian, sigma), ("amount", *names)
