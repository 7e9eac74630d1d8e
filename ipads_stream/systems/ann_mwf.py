"""ANN-MWF: the myelin water fraction of a voxel from its echoes, by a network on synthetic decays.

Source: Jung et al., Magnetic Resonance in Medicine 2020, doi 10.1002/mrm.28407 (gradient echoes of
three pools); with B1 multi-echo spin echoes as in Lee et al., arXiv 1904.12522. The ranges of the
pools are not stated in what was read and are choices of this project (conf/system/ann_mwf*.yaml).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.subspace import Subspace, subspace
from ipads_stream.core import random
from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import (
    Distribution,
    Parameter,
    as_parameters,
    draw_parameters,
    importance_weights,
)
from ipads_stream.physics import cramer_rao
from ipads_stream.physics.multi_pool import decay

POOLS = ("myelin", "axonal", "extracellular")
TIMES = tuple(f"T2_{pool}" for pool in POOLS)
_TIME = Parameter(quantity="time", within=(1e-4, 10.0))
PARAMETERS = {
    "MWF": Parameter(within=(0.0, 1.0)),
    "axonal": Parameter(within=(0.0, 1.0)),
    "T2_myelin": _TIME,
    "T2_axonal": _TIME,
    "T2_extracellular": _TIME,
    "snr": Parameter(within=(1e-3, math.inf)),
    "B1": Parameter(within=(0.3, 1.7), optional=True),
    "dephasing": Parameter(quantity="frequency", within=(0.0, math.inf), optional=True),
}
DETECTIONS = ("magnitude", "real")
TYPICAL_T2, TYPICAL_B1 = (0.003, 0.2), (0.6, 1.2)  # s; of the set that the features come from
TYPICAL_SNR = 100.0
TYPICAL = Keys(0, "typical decays", np.arange(8000, dtype=np.uint64))


@dataclass(frozen=True, kw_only=True)
class ANNMWF:
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
        T1: s, of all pools; stimulated echoes alone feel it.
        detection: "magnitude", or "real" after correction of the phase.
        features: F, coordinates of a decay that the network sees.
    """

    name: ClassVar[str] = "ann_mwf"
    kind: ClassVar[str] = "voxel"

    MWF: Distribution
    axonal: Distribution
    T2_myelin: Distribution
    T2_axonal: Distribution
    T2_extracellular: Distribution
    snr: Distribution
    B1: Distribution | None = None
    dephasing: Distribution | None = None
    first_echo: float = 1.6e-3
    spacing: float = 1e-3
    num_echoes: int = 32
    T1: float = 1.0
    detection: str = "magnitude"
    features: int = 12

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        for name in ("first_echo", "spacing", "T1"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 < value < 1e3
            ):
                raise ConfigError(name, value, "a time in seconds, above 0")
        for name in ("num_echoes", "features"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(name, value, "a whole number from 1")
        if self.detection not in DETECTIONS:
            raise ConfigError("detection", self.detection, f"one of {', '.join(DETECTIONS)}")
        if self.B1 is not None and self.dephasing is not None:
            raise ConfigError("dephasing", self.dephasing, "null with B1: spin echoes refocus it")
        if self.B1 is not None and not math.isclose(self.first_echo, self.spacing):
            allowed = f"spacing={self.spacing:g} with B1: a train of spin echoes"
            raise ConfigError("first_echo", self.first_echo, allowed)
        self._check_identifiable()

    @cached_property
    def TE(self) -> np.ndarray:
        """Echo times, s, (E,)."""
        return self.first_echo + self.spacing * np.arange(self.num_echoes)

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What is estimated, over the ranges that are drawn."""
        drawn = self.distributions()
        ends = {name: drawn[name].support for name in ("MWF", *TIMES, "B1") if name in drawn}
        made = {
            "MWF": Quantity(low=0.0, high=max(ends.pop("MWF")[1], 0.01), unit="%", bids="MWFmap")
        }
        if "B1" in ends:
            low, high = ends.pop("B1")
            made["B1"] = Quantity(low=low, high=max(high, low + 0.01), unit="%", bids="TB1map")
        for name, (low, high) in ends.items():
            made[name] = Quantity(low=low, high=max(high, 1.01 * low), unit="ms", scale="log")
        return made

    def distributions(self) -> dict[str, Distribution]:
        """Those of the parameters, by name."""
        values = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return draw_parameters(
            {n: (d, ()) for n, d in self.distributions().items()}, keys, progress
        )

    def forward(self, params: Arrays) -> Any:
        """The noise-free decay of 1 unit of water, (B, E); differentiable for torch parameters."""
        MWF, axonal = params["MWF"], params["axonal"]
        xp = namespace(MWF)
        rest = 1.0 - MWF
        fractions = xp.stack([MWF, rest * axonal, rest * (1.0 - axonal)], axis=-1)
        T2 = xp.stack([params[name] for name in TIMES], axis=-1)
        TE = xp.asarray(self.TE, dtype=MWF.dtype, device=device_of(MWF))
        if self.B1 is not None:
            return decay(self.TE, fractions, T2, params["B1"], T1=self.T1)
        signal = decay(TE, fractions, T2)
        if self.dephasing is not None:
            angle = math.pi * params["dephasing"][..., None] * TE
            safe = xp.where(angle == 0, xp.ones_like(angle), angle)
            signal = signal * xp.where(angle == 0, xp.ones_like(angle), xp.sin(safe) / safe)
        return signal

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        signal = self.forward({name: xp.asarray(x, dtype=xp.float32) for name, x in params.items()})
        sigma = signal[:, 0] / xp.asarray(params["snr"], dtype=xp.float32)
        noise = sigma[:, None, None] * random.normal(keys["noise"], (2, self.num_echoes), xp)
        measured = signal + noise[:, 0]
        if self.detection == "magnitude":
            measured = xp.hypot(measured, noise[:, 1])
        return Sample(
            inputs=self._inputs(measured, sigma, xp),
            targets={name: xp.asarray(params[name], dtype=xp.float32) for name in self.quantities},
            params=params,
            weight=importance_weights(self.distributions(), params),
        )

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Inputs of the network from echo images, (*space, E), magnitude or, phased here, complex.

        The noise, taken to be alike in all voxels, is what no decay of pools explains.

        Raises:
            ConfigError: another number of echoes, other echo times, values that are not finite or
                are negative magnitudes.
        """
        if images.shape[-1] != self.num_echoes:
            raise ConfigError("data", f"{images.shape[-1]} echoes", f"{self.num_echoes} echoes")
        if axis is not None and not np.allclose(axis, self.TE, rtol=1e-3, atol=1e-6):
            asked = f"{1e3 * self.TE[0]:g}, {1e3 * self.TE[1]:g}, ... {1e3 * self.TE[-1]:g} ms"
            raise ConfigError("data", f"echo times {np.asarray(axis)[:3]} ... s", asked)
        signals = as_samples(np.asarray(images), self.kind)
        if not np.isfinite(signals).all():
            raise ConfigError("data", "values that are not finite", "finite values")
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

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao bound in SI, (B,); inf where the decay tells nothing. Amount unknown.

        Args:
            params: as drawn, NumPy.
        """
        fisher, names = self._information(params)
        sd = dict(zip(names, _bounds(fisher).T, strict=True))
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
        drawn = self.distributions()
        names = tuple(n for n, d in drawn.items() if n != "snr" and d.support[0] < d.support[1])
        params = {name: np.asarray(x, np.float64) for name, x in params.items()}
        signal = self.forward(params)
        columns = [signal]
        for name in names:
            x = params[name]
            # Fractions act linearly, and have ends; all else is far from its own.
            step = np.where(x < 0.5, 0.1, -0.1) if name in ("MWF", "axonal") else 1e-4 * x + 1e-9
            back = 0.0 if name in ("MWF", "axonal") else -step
            ahead, behind = (self.forward(params | {name: x + s}) for s in (step, back))
            columns.append((ahead - behind) / (step - back)[:, None])
        sigma = signal[:, :1] / params["snr"][:, None]
        return cramer_rao.fisher_information(np.stack(columns, -1), sigma), ("amount", *names)

    def _check_identifiable(self) -> None:
        """At least one of a few voxels must tell all pools apart."""
        keys = Keys(0, "identifiable", np.arange(8, dtype=np.uint64))
        drawn = self.distributions()
        fisher, names = self._information(self.draw(keys, np.zeros(8)))
        ends = [drawn[name].support for name in names[1:]]
        scale = [1.0, *(high - low for low, high in ends)]
        for i in range(len(fisher)):
            try:
                # Three such pools are hardly told apart: refused is what rounding alone tells.
                cramer_rao.identifiable(fisher[i : i + 1], names, scale, tolerance=1e-15)
            except ValueError as error:
                reason = str(error)
            else:
                return
        raise ConfigError(
            "num_echoes", self.num_echoes, f"echoes that tell the pools apart: {reason}"
        )


def _bounds(fisher: np.ndarray) -> np.ndarray:
    try:
        return cramer_rao.bound(fisher)
    except np.linalg.LinAlgError:
        if len(fisher) == 1:
            return np.full(fisher.shape[:2], np.inf)
        half = len(fisher) // 2
        return np.concatenate([_bounds(fisher[:half]), _bounds(fisher[half:])])
