"""ANNCEST: phosphocreatine in muscle from z-spectra, by a network on Bloch-McConnell simulations.

Source: Chen et al., In vivo imaging of phosphocreatine with artificial neural networks, Nature
Communications 2020 (PMC7044432): 3 T, peaks near 1.95 and 2.5 ppm; ranges of B0 as in the IPADS
review. Offsets, powers, durations, all other ranges and the noise are not in what was read and are
choices of this project (conf/system/anncest.yaml).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.noise_limit import chosen_rows, missing_noise, with_noise
from ipads_stream.acquisition.subspace import Subspace, subspace
from ipads_stream.core import random
from ipads_stream.core.backend import moved
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Numbers, number, ruled, whole
from ipads_stream.core.images import check_axis, measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, draw_parameters, parameter
from ipads_stream.physics import cramer_rao
from ipads_stream.physics.exchange import Pulses, Solute, Water, z_spectra
from ipads_stream.systems.base import Axis, ParametricSystem, sensitivities

PROTONS = 111e3  # of water, mol/m^3
ESTIMATED = {
    "PCr": {"unit": "mM", "scale": "log"},
    "exchange": {"unit": "Hz", "scale": "log"},
    "df_ppm": {"unit": "ppm", "bids": "B0map"},
    "B1": {"unit": "%", "bids": "TB1map"},
}
# The set that the features come from: it belongs to the acquisition, not to the distributions.
TYPICAL = Keys(0, "typical spectra", np.arange(4000, dtype=np.uint64))
TYPICAL_ENDS = {
    "PCr": (2.0, 100.0), "exchange": (20.0, 1000.0), "Cr": (2.0, 50.0),
    "Cr_exchange": (200.0, 2000.0), "T1": (1.0, 1.8), "T2": (0.02, 0.06),
    "df_ppm": (-0.5, 0.5), "B1": (0.7, 1.3),
}  # fmt: skip
TYPICAL_SNR = 200.0


@dataclass(frozen=True, kw_only=True)
class ANNCEST(ParametricSystem):
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
        powers: T, of rectangular pulses; a single one barely separates concentration from exchange.
        duration: of a pulse, s; full recovery before it.
        B0: T.
        PCr_ppm, Cr_ppm: shifts of the pools.
        PCr_protons, Cr_protons: exchanging protons of a molecule.
        solute_T1, solute_T2: s.
        features: F, coordinates of a spectrum that the network sees.
        repeats: samples in a row that have one spectrum, each with noise of its own.
    """

    name: ClassVar[str] = "anncest"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("SaturationOffset", "ppm")
    baselines: ClassVar[dict[str, str]] = {
        "Lorentzian fit": "ipads_stream.baselines.z_spectra.LorentzianFit",
        "full model fit": "ipads_stream.baselines.z_spectra.full_model_fit",
        "posterior mean": "ipads_stream.baselines.z_spectra.posterior_mean",
    }

    PCr: Distribution = parameter(quantity="concentration", within=(0.0, 1000.0))
    exchange: Distribution = parameter(quantity="frequency", within=(0.0, 1e5))
    Cr: Distribution = parameter(quantity="concentration", within=(0.0, 1000.0))
    Cr_exchange: Distribution = parameter(quantity="frequency", within=(0.0, 1e5))
    T1: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    T2: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    df_ppm: Distribution = parameter(quantity="ppm", within=(-5.0, 5.0))
    B1: Distribution = parameter(within=(0.1, 3.0))
    snr: Distribution = parameter(within=(1e-3, math.inf))
    offsets_ppm: Sequence[float] = ruled(Numbers(convert=float))
    powers: Sequence[float] = ruled(Numbers(each=Number(above=0.0, below=1e-3), convert=float))
    duration: float = number(1.0, above=0.0, below=1e3)
    B0: float = number(3.0, above=0.0, below=1e3)
    PCr_ppm: float = number(2.5, low=-100.0, high=100.0)
    Cr_ppm: float = number(1.95, low=-100.0, high=100.0)
    PCr_protons: float = number(2.0, above=0.0, below=1e3)
    Cr_protons: float = number(4.0, above=0.0, below=1e3)
    solute_T1: float = number(1.0, above=0.0, below=1e3)
    solute_T2: float = number(0.1, above=0.0, below=1e3)
    features: int = whole(24, low=1, high=10_000)
    repeats: int = whole(1, low=1, high=10_000)

    def check(self) -> None:
        """Refuses a protocol that does not separate what is unknown, and T2 beyond 2 T1."""
        if self.T2.support[0] > 2 * self.T1.support[1]:
            raise ConfigError("T2", self.T2.support, "at most 2 T1, as of all matter")
        keys = Keys(0, "identifiable", np.arange(8, dtype=np.uint64))
        fisher, names = self._information(super().draw(keys, np.zeros(8)))
        supports = [getattr(self, name).support for name in names]
        try:
            cramer_rao.identifiable(fisher, names, [high - low for low, high in supports])
        except ValueError as error:
            allowed = f"a protocol that separates all unknown parameters: {error}"
            raise ConfigError("powers", self.powers, allowed) from None

    @property
    def array_axes(self) -> dict[str, Axis]:
        offsets = np.tile(self.offsets_ppm, len(self.powers))
        return {"spectrum": Axis("offset (ppm)", offsets), "features": Axis("feature")}

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What is estimated, over the ranges that are drawn."""
        supports = {name: getattr(self, name).support for name in ESTIMATED}
        return {name: Quantity.over(x, **ESTIMATED[name]) for name, x in supports.items()}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        params = super().draw(self._of_spectra(keys), progress)
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
        fields = self.B0, params["df_ppm"], params["B1"]
        pulses = [Pulses(power, self.duration) for power in self.powers]
        return z_spectra(pools, offsets, pulses, *fields)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        numbers = self._of_spectra(keys).indices
        _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
        single = [x.astype(np.float32) for x in params.values()]
        columns = moved(xp, place, *single, *(x[first] for x in single))
        drawn = dict(zip(params, columns[1:], strict=False))
        distinct = dict(zip(params, columns[1 + len(params) :], strict=True))
        spectrum = self.forward(distinct)[columns[0]]
        sigma = 1.0 / drawn["snr"]
        noise = random.normal(keys["noise"], (spectrum.shape[1],), xp)
        inputs = self._inputs(spectrum + sigma[:, None] * noise, sigma, xp)
        targets = {name: drawn[name] for name in ESTIMATED}
        return self.batch(inputs, targets, params)

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Inputs of the network from images, (*space, powers x offsets), over those unsaturated.

        The noise, taken to be alike in all voxels, is what no spectrum of the model explains.

        Raises:
            ConfigError: another number of images, other offsets, complex or unscaled values.
        """
        powers, offsets = len(self.powers), len(self.offsets_ppm)
        count = powers * offsets
        content = f"{count}: {offsets} offsets at each of {powers} powers"
        spectra = measured_samples(
            images, self.kind, counts=[count], content=content, numbers="real"
        ).astype(np.float64)
        check_axis(axis, np.tile(self.offsets_ppm, powers), "offsets (ppm)", rtol=1e-5, atol=1e-3)
        if spectra.size and not -0.5 < np.median(spectra.max(axis=1)) < 1.5:
            allowed = "images over the one without saturation, about 0 to 1"
            raise ConfigError("data", f"values up to {spectra.max():g}", allowed)
        inside = np.any(spectra != 0, axis=1)
        residual = self._subspace.residual(spectra[inside])
        sigma = np.median(residual) if inside.any() else 1.0 / TYPICAL_SNR
        noise = np.full(len(spectra), sigma, np.float32)
        return self._inputs(spectra.astype(np.float32), noise, np)

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]:
        """Inputs with noise where they are above the highest ``snr``, and where they are."""
        signals, sigma = np.asarray(inputs["spectrum"]), np.asarray(inputs["sigma"])
        added = missing_noise(sigma, np.full(len(sigma), 1 / self.snr.support[1]))
        noisy = with_noise(signals, added, is_magnitude=False).astype(np.float32)
        total = np.hypot(sigma, added).astype(np.float32)
        return chosen_rows(inputs, self._inputs(noisy, total, np), added > 0), added > 0

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao bound in SI, (B,), with creatine, T1 and T2 unknown where they vary."""
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
        names = self.varying("snr")
        params = {name: np.asarray(x, np.float64) for name, x in params.items()}
        steps = {name: 1e-4 if name == "df_ppm" else 1e-3 * params[name] for name in names}
        ends = {name: (step, -step) for name, step in steps.items()}
        slopes = sensitivities(self.forward, params, ends)
        return cramer_rao.fisher_information(slopes, (1.0 / params["snr"])[:, None]), names
