"""ANNCEST: phosphocreatine in muscle from z-spectra, by a network on Bloch-McConnell simulations.

Source: Chen et al., In vivo imaging of phosphocreatine with artificial neural networks, Nature
Communications 2020 (PMC7044432): 3 T, peaks near 1.95 and 2.5 ppm; ranges of B0 as in the IPADS
review. Offsets, powers, durations, all other ranges and the noise are not in what was read and are
choices of this project (conf/system/anncest.yaml).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.subspace import Subspace, subspace
from ipads_stream.core import random
from ipads_stream.core.backend import namespace
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
from ipads_stream.physics.bloch_mcconnell import Pulses, Solute, Water, z_spectrum

PROTONS = 111e3  # of water, mol/m^3
_CONCENTRATION = Parameter(quantity="concentration", within=(0.0, 1000.0))
_RATE = Parameter(quantity="frequency", within=(0.0, 1e5))
_TIME = Parameter(quantity="time", within=(1e-3, 10.0))
PARAMETERS = {
    "PCr": _CONCENTRATION,
    "exchange": _RATE,
    "Cr": _CONCENTRATION,
    "Cr_exchange": _RATE,
    "T1": _TIME,
    "T2": _TIME,
    "df_ppm": Parameter(quantity="ppm", within=(-5.0, 5.0)),
    "B1": Parameter(within=(0.1, 3.0)),
    "snr": Parameter(within=(1e-3, math.inf)),
}
ESTIMATED = ("PCr", "exchange", "df_ppm", "B1")
# The set that the features come from: it belongs to the acquisition, not to the distributions.
TYPICAL = Keys(0, "typical spectra", np.arange(4000, dtype=np.uint64))
TYPICAL_ENDS = {
    "PCr": (2.0, 100.0), "exchange": (20.0, 1000.0), "Cr": (2.0, 50.0),
    "Cr_exchange": (200.0, 2000.0), "T1": (1.0, 1.8), "T2": (0.02, 0.06),
    "df_ppm": (-0.5, 0.5), "B1": (0.7, 1.3),
}  # fmt: skip
TYPICAL_SNR = 200.0


@dataclass(frozen=True, kw_only=True)
class ANNCEST:
    """Water, creatine and phosphocreatine (PCr) at several powers of saturation.

    Inputs: ``spectrum`` (B, powers x offsets), Mz over that without saturation, one power after the
    other; ``sigma`` (B,) of its noise; ``features`` (B, F), ``log_snr`` (B,). Targets: ``PCr``
    (mol/m^3, mM), its ``exchange`` (Hz), ``df_ppm`` and ``B1``.

    Attributes:
        PCr, Cr: concentrations, mol/m^3.
        exchange, Cr_exchange: rates of their protons to the water, Hz.
        T1, T2: of the water, s.
        df_ppm: off-resonance of all pools.
        B1: RF relative to nominal.
        snr: signal without saturation over the standard deviation of the noise.
        offsets_ppm: of the saturation.
        powers: T, of rectangular pulses; one tells concentration and exchange hardly apart.
        duration: of a pulse, s; full recovery before it.
        B0: T.
        PCr_ppm, Cr_ppm: shifts of the pools.
        PCr_protons, Cr_protons: exchanging protons of a molecule.
        solute_T1, solute_T2: s.
        features: F, coordinates of a spectrum that the network sees.
        repeats: samples in a row that have one spectrum, each with noise of its own.
    """

    name: ClassVar[str] = "anncest"
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("SaturationOffset", "ppm")

    PCr: Distribution
    exchange: Distribution
    Cr: Distribution
    Cr_exchange: Distribution
    T1: Distribution
    T2: Distribution
    df_ppm: Distribution
    B1: Distribution
    snr: Distribution
    offsets_ppm: Sequence[float]
    powers: Sequence[float]
    duration: float = 1.0
    B0: float = 3.0
    PCr_ppm: float = 2.5
    Cr_ppm: float = 1.95
    PCr_protons: float = 2.0
    Cr_protons: float = 4.0
    solute_T1: float = 1.0
    solute_T2: float = 0.1
    features: int = 24
    repeats: int = 1

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        for name in ("offsets_ppm", "powers"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if not all(0 < power < 1e-3 for power in self.powers):
            raise ConfigError("powers", self.powers, "fields in tesla above 0, below 1e-3")
        for name in ("duration", "B0", "solute_T1", "solute_T2", "PCr_protons", "Cr_protons"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 < value < 1e3
            ):
                raise ConfigError(name, value, "a number above 0, below 1000")
        for name in ("features", "repeats"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(name, value, "a whole number from 1")
        self._check_identifiable()

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What is estimated, over the ranges that are drawn."""
        about = {
            "PCr": {"unit": "mM", "scale": "log"},
            "exchange": {"unit": "Hz", "scale": "log"},
            "df_ppm": {"unit": "ppm", "bids": "B0map"},
            "B1": {"unit": "%", "bids": "TB1map"},
        }
        made = {}
        for name in ESTIMATED:
            low, high = getattr(self, name).support
            wide = max(high, low + 0.01 * max(abs(low), 1e-3))  # a constant has no range of its own
            made[name] = Quantity(low=low, high=wide, **about[name])
        return made

    def distributions(self) -> dict[str, Distribution]:
        """Those of the parameters, by name."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        drawn = {name: (value, ()) for name, value in self.distributions().items()}
        params: Arrays = draw_parameters(drawn, self._of_spectra(keys), progress)
        if self.repeats > 1:  # the noise is each sample's own
            params["snr"] = draw_parameters({"snr": (self.snr, ())}, keys, progress)["snr"]
        return params

    def forward(self, params: Arrays) -> Any:
        """Noise-free spectra, (B, powers x offsets); differentiable for torch parameters."""
        fixed = {"T1": self.solute_T1, "T2": self.solute_T2}
        pools: list[Water | Solute] = [Water(T1=params["T1"], T2=params["T2"])]
        for name, rate in (("PCr", "exchange"), ("Cr", "Cr_exchange")):
            fraction = params[name] * (getattr(self, f"{name}_protons") / PROTONS)
            shift = getattr(self, f"{name}_ppm")
            pools.append(Solute(fraction, exchange=params[rate], shift_ppm=shift, **fixed))
        offsets = np.asarray(self.offsets_ppm)
        spectra = [
            z_spectrum(pools, offsets, Pulses(power, self.duration), self.B0, params["df_ppm"],
                       params["B1"])
            for power in self.powers
        ]  # fmt: skip
        return namespace(spectra[0]).concat(spectra, axis=-1)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        _, first, each = np.unique(
            self._of_spectra(keys).indices, return_index=True, return_inverse=True
        )
        some = {name: xp.asarray(x[first], dtype=xp.float32) for name, x in params.items()}
        spectrum = self.forward(some)[xp.asarray(each)]
        sigma = 1.0 / xp.asarray(params["snr"], dtype=xp.float32)
        noise = random.normal(keys["noise"], (spectrum.shape[1],), xp)
        return Sample(
            inputs=self._inputs(spectrum + sigma[:, None] * noise, sigma, xp),
            targets={name: xp.asarray(params[name], dtype=xp.float32) for name in ESTIMATED},
            params=params,
            weight=importance_weights(self.distributions(), params),
        )

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Inputs of the network from images, (*space, powers x offsets), over those unsaturated.

        The noise, taken to be alike in all voxels, is what no spectrum of the model explains.

        Raises:
            ConfigError: another number of images, other offsets, complex or unscaled values.
        """
        count = len(self.powers) * len(self.offsets_ppm)
        if images.shape[-1] != count:
            allowed = (
                f"{count}: {len(self.offsets_ppm)} offsets at each of {len(self.powers)} powers"
            )
            raise ConfigError("data", f"{images.shape[-1]} images", allowed)
        if axis is not None and not np.allclose(
            axis, np.tile(self.offsets_ppm, len(self.powers)), atol=1e-3
        ):
            raise ConfigError("data", f"offsets {np.asarray(axis)[:3]} ... ppm", "offsets_ppm")
        if np.iscomplexobj(images) or not np.isfinite(images).all():
            raise ConfigError("data", "complex or not finite values", "finite magnitudes")
        spectra = as_samples(np.asarray(images), self.kind).astype(np.float64)
        if spectra.size and not -0.5 < np.median(spectra.max(axis=1)) < 1.5:
            raise ConfigError("data", f"values up to {spectra.max():g}",
                              "images over the one without saturation, about 0 to 1")  # fmt: skip
        inside = np.any(spectra != 0, axis=1)
        rest = self._subspace.residual(spectra[inside])
        sigma = np.full(len(spectra), np.median(rest) if inside.any() else 1.0 / TYPICAL_SNR)
        return self._inputs(spectra.astype(np.float32), sigma.astype(np.float32), np)

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao bound in SI, (B,), with creatine, T1 and T2 unknown where they vary.

        Args:
            params: as drawn, NumPy.
        """
        fisher, names = self._information(params)
        sd = cramer_rao.bound(fisher)
        return {name: sd[:, names.index(name)] for name in ESTIMATED if name in names}

    def _of_spectra(self, keys: Keys) -> Keys:
        return Keys(keys.seed, keys.split, keys.indices // np.uint64(self.repeats))

    def _inputs(self, measured: Any, sigma: Any, xp: Any) -> Arrays:
        return {
            "spectrum": measured,
            "sigma": sigma,
            "features": self._subspace.coordinates(measured, xp),
            "log_snr": -xp.log(xp.maximum(sigma, 1e-6) * TYPICAL_SNR),
        }

    @cached_property
    def _subspace(self) -> Subspace:
        u = random.uniform(TYPICAL["pools"], (len(TYPICAL_ENDS),))
        params = {}
        for column, (name, (low, high)) in zip(u.T, TYPICAL_ENDS.items(), strict=True):
            params[name] = low + (high - low) * column if low <= 0 else low * (high / low) ** column
        return subspace(np.asarray(self.forward(params)), self.features, 1.0 / TYPICAL_SNR)

    def _information(self, params: Arrays) -> tuple[np.ndarray, tuple[str, ...]]:
        """Of the unknown parameters, (B, P, P), and their names."""
        drawn = self.distributions()
        names = tuple(n for n, d in drawn.items() if n != "snr" and d.support[0] < d.support[1])
        params = {name: np.asarray(x, np.float64) for name, x in params.items()}
        columns = []
        for name in names:
            x = params[name]
            step = 1e-4 if name == "df_ppm" else 1e-3 * x
            ahead, behind = (self.forward(params | {name: x + s}) for s in (step, -step))
            columns.append((ahead - behind) / np.broadcast_to(2 * step, x.shape)[:, None])
        sigma = (1.0 / params["snr"])[:, None]
        return cramer_rao.fisher_information(np.stack(columns, -1), sigma), names

    def _check_identifiable(self) -> None:
        keys = Keys(0, "identifiable", np.arange(8, dtype=np.uint64))
        params = draw_parameters({n: (d, ()) for n, d in self.distributions().items()}, keys,
                                 np.zeros(8))  # fmt: skip
        fisher, names = self._information(params)
        ends = [getattr(self, name).support for name in names]
        try:
            cramer_rao.identifiable(fisher, names, [high - low for low, high in ends])
        except ValueError as error:
            raise ConfigError(
                "powers", self.powers, f"a protocol that tells all pools: {error}"
            ) from None


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    given = [values] if isinstance(values, (int, float)) else list(values)
    if not given or not all(
        isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) for x in given
    ):
        raise ConfigError(name, values, "a list of finite numbers")
    return tuple(float(x) for x in given)
