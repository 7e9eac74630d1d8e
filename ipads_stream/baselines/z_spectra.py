"""Z-spectra without a network: a fit of Lorentzian lines, and one of the full model.

Methods use the acquisition and ranges of systems such as systems/anncest.py.

Source: Zaiss, Schmitt and Bachert, Journal of Magnetic Resonance 211(2), 2011 (Lorentzian lines).
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.baselines import Method
from ipads_stream.baselines.least_squares import Unknowns, least_squares
from ipads_stream.baselines.posterior import PosteriorMean, gaussian
from ipads_stream.core.random import Keys
from ipads_stream.systems.anncest import ANNCEST

CALIBRATION = 3000  # simulated spectra
# Shift, ppm; then of water, creatine and PCr at every power: height and width at half height, ppm.
SHIFTS = (-1.0, 1.0)
HEIGHTS = ((0.2, 1.0), (1e-4, 0.5), (1e-4, 0.5))
WIDTHS = ((0.03, 2.0), (0.1, 2.0), (0.1, 2.0))
FIRST = ((0.9, 0.3), (0.03, 0.5), (0.05, 0.4))
STARTS = (0.25, 0.75)  # of all parameters of the full model, within their bounds

Arrays = dict[str, np.ndarray]


def posterior_mean(system: ANNCEST) -> PosteriorMean:
    """The optimum: knows the ranges and the noise."""
    return PosteriorMean.of(system, gaussian, "spectrum", prior_points=20_000)


@dataclasses.dataclass(frozen=True)
class LorentzianFit:
    """Lines of water, creatine and PCr, and a calibration of their heights and widths.

        Z = 1 - sum_p h_p / (1 + (2 (offset - shift_p - shift) / w_p)^2) at every power

    The fit gives df; PCr, its exchange and B1 follow by linear regression of their logarithms on
    those of all heights and widths, over simulated spectra.

    Attributes:
        system: of systems/anncest.py.
    """

    system: ANNCEST

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The quantities, (B,) by name."""
        lines = fitted_lines(self.system, np.asarray(inputs["spectrum"], np.float64))
        logarithms = regressors(lines) @ self._weights
        rates = {name: np.exp(logarithms[:, i]) for i, name in enumerate(("PCr", "exchange", "B1"))}
        return rates | {"df_ppm": lines[:, 0]}

    @cached_property
    def _weights(self) -> Float[np.ndarray, "R 3"]:
        system = dataclasses.replace(self.system, repeats=1)
        keys = Keys(0, "calibration", np.arange(CALIBRATION, dtype=np.uint64))
        params = system.draw(keys, np.zeros(CALIBRATION))
        spectra = system.render(params, keys, np).inputs["spectrum"]
        x = regressors(fitted_lines(system, np.asarray(spectra, np.float64)))
        y = np.log(np.stack([params[name] for name in ("PCr", "exchange", "B1")], axis=-1))
        return np.linalg.lstsq(x, y, rcond=1e-10)[0]


def regressors(lines: Float[np.ndarray, "B P"]) -> Float[np.ndarray, "B R"]:
    """1, and the logarithms of all heights and widths."""
    return np.concatenate([np.ones((len(lines), 1)), np.log(lines[:, 1:])], axis=1)


def fitted_lines(system: ANNCEST, spectra: Float[np.ndarray, "B E"]) -> Float[np.ndarray, "B P"]:
    """Shift, and height and width of every line at every power, by Levenberg-Marquardt."""
    offsets, num = np.asarray(system.offsets_ppm), len(system.powers)
    shifts = np.array([0.0, system.Cr_ppm, system.PCr_ppm])

    def lines(x: np.ndarray) -> tuple[np.ndarray, ...]:
        heights, widths = np.moveaxis(x[:, 1:].reshape(len(x), num, 3, 2), -1, 0)
        away = 2 * (offsets - shifts[:, None] - x[:, 0, None, None])[:, None] / widths[..., None]
        return heights, widths, away, 1 / (1 + away * away)

    def model(x: np.ndarray) -> np.ndarray:
        heights, _, _, shape = lines(x)
        return 1 - np.sum(heights[..., None] * shape, axis=2).reshape(len(x), -1)

    def jacobian(x: np.ndarray, _: np.ndarray) -> np.ndarray:
        heights, widths, away, shape = lines(x)
        steep = 2 * heights[..., None] * away * shape**2  # -dZ / d away
        out = np.zeros((len(x), num, len(offsets), num, 3, 2))
        for n in range(num):
            out[:, n, :, n, :, 0] = -np.swapaxes(shape[:, n], 1, 2)
            broader = steep[:, n] * away[:, n] / widths[:, n, :, None]
            out[:, n, :, n, :, 1] = -np.swapaxes(broader, 1, 2)
        moved = np.sum(-steep * 2 / widths[..., None], axis=2).reshape(len(x), -1, 1)
        return np.concatenate([moved, out.reshape(*moved.shape[:2], -1)], axis=-1)

    ends = [SHIFTS, *[e for pair in zip(HEIGHTS, WIDTHS, strict=True) for e in pair] * num]
    low, high = np.array(ends).T
    start = np.tile(np.array([0.0, *np.ravel(FIRST).tolist() * num]), (len(spectra), 1))
    start[:, 0] = _dip(offsets, spectra[:, : len(offsets)])
    return least_squares(model, spectra, start[None], low, high, jacobian=jacobian)[0]


def _dip(offsets: Float[np.ndarray, " N"], spectra: Float[np.ndarray, "B N"]) -> np.ndarray:
    """About where the water's line is: the mean offset, weighted with what is missing."""
    near = np.abs(offsets) <= 0.8
    depth = np.clip(1 - spectra[:, near], 1e-3, None) ** 2
    return np.clip(depth @ offsets[near] / depth.sum(axis=1), *SHIFTS)


def full_model_fit(system: ANNCEST) -> Method:
    """Least squares of the simulation itself, from several starts.

    Concentrations and rates act by their ratios: their logarithms are fitted.
    """
    unknowns = Unknowns.of(system, logarithmic=True)
    low, high = unknowns.bounds
    offsets = np.asarray(system.offsets_ppm)

    def model(x: np.ndarray) -> np.ndarray:
        return np.asarray(system.forward(unknowns.params(x)))

    def fit(inputs: Mapping[str, np.ndarray]) -> Arrays:
        spectra = np.asarray(inputs["spectrum"], np.float64)
        starts = np.stack([np.tile(low + at * (high - low), (len(spectra), 1)) for at in STARTS])
        if "df_ppm" in unknowns.names:
            at = unknowns.names.index("df_ppm")
            starts[:, :, at] = _dip(offsets, spectra[:, : len(offsets)])
        params = unknowns.params(least_squares(model, spectra, starts, low, high, iterations=30)[0])
        return {name: params[name] for name in system.quantities}

    return fit
