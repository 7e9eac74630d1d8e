"""What systems share that estimate relaxation times of a voxel under a protocol drawn with it.

Signals are over the standard deviation of the noise in one real channel, so that the scale of the
images and the noise are one number less to know: the amplitude is the signal-to-noise ratio ``snr``
of M0. A sample carries its protocol: how each of its images was acquired, and a mask of those that
were, up to the largest number; a network takes them as tokens, in any order.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.likelihood import gaussian, magnitude_moments, noncentral_chi
from ipads_stream.acquisition.noise_level import BACKGROUND, UNEXPLAINED, background, residual
from ipads_stream.acquisition.noise_limit import chosen_rows, missing_noise, with_noise
from ipads_stream.core import random
from ipads_stream.core.backend import device_of, fused, is_numpy, moved, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import choice, whole
from ipads_stream.core.images import measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics import cramer_rao
from ipads_stream.systems.base import ParametricSystem

TYPICAL_SNR = 50.0
CURVES = 400  # of the model, the best of which leaves the noise
MOST = 64  # images: products of as many densities keep their digits (acquisition/likelihood.py)


@dataclass(frozen=True, kw_only=True)
class Relaxometry(ParametricSystem):
    """One voxel in images whose acquisition is drawn with it.

    Inputs: ``signal`` (B, N) over the noise; the acquisition, (B, N) by the names of ``scales``;
    ``mask`` (B, N), which images there are; ``tokens`` (B, N, K), the same for a network, each
    about of size 1. Targets: the quantities, among them ``snr``.

    Attributes:
        snr: M0 over the standard deviation of the noise in one real channel.
        detection: "magnitude", or "real" after correction of the phase.
        coils: whose magnitudes are joined by the root of the sum of squares.
    """

    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]]  # relaxation times: unit, scale, bids
    # Of the acquisition: ends between which the logarithm lies. They belong to the measurement and
    # not to the distributions.
    scales: ClassVar[Mapping[str, tuple[float, float]]]

    baselines: ClassVar[dict[str, str]] = {
        "maximum likelihood": "ipads_stream.baselines.relaxation.maximum_likelihood",
        "posterior mean": "ipads_stream.baselines.relaxation.posterior_mean",
    }

    snr: Distribution = parameter(within=(1e-3, math.inf))
    detection: str = choice("magnitude", among=("magnitude", "real"))
    coils: int = whole(1, low=1, high=128)

    @abstractmethod
    def acquisition(self, params: Arrays) -> tuple[Arrays, Any]:
        """The acquisition, (B, N) by the names of ``scales``, of drawn parameters, and its mask."""

    @property
    @abstractmethod
    def number(self) -> Distribution:
        """That of the number of images."""

    @abstractmethod
    def relaxation(self, acquired: Arrays, params: Arrays) -> Any:
        """The signal of M0 = 1, of arrays that broadcast."""

    def check(self) -> None:
        if self.coils > 1 and self.detection == "real":
            raise ConfigError("coils", self.coils, "1 where detection=real: one channel")
        for name in self.quantities:
            if depends := getattr(self, name).conditions:
                allowed = "a distribution that depends on no other: its density is the prior's"
                raise ConfigError(f"{name}.{next(iter(depends))}", name, allowed)

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What is estimated, over the ranges that are drawn."""
        known = dict(self.estimated) | {"snr": {"scale": "log"}}
        return {name: Quantity.over(getattr(self, name).support, **x) for name, x in known.items()}

    def forward(self, params: Arrays) -> Any:
        """Noise-free signals over the noise, (B, N), 0 where there is no image; with their sign."""
        acquired, mask = self.acquisition(params)
        signal = self._signal(acquired, params)
        xp = namespace(signal)
        return xp.where(mask, signal, xp.zeros_like(signal))

    def log_likelihood(self, inputs: Arrays, params: Arrays) -> Any:
        """As of :class:`ipads_stream.systems.base.Likely`: Gaussian, Rician or non-central chi."""
        one = params["snr"].ndim == 1
        params = {n: x[:, None, None] if one else x[:, None, :] for n, x in params.items()}
        mask = inputs["mask"]
        most = mask.shape[1]
        if is_numpy(mask):  # nothing is computed where no voxel has an image
            most = int(np.max(np.flatnonzero(mask.any(axis=0)), initial=0)) + 1
        measured, mask = inputs["signal"][:, :most], mask[:, :most]
        acquired = {name: inputs[name][:, :most, None] for name in self.scales}
        signal = params["snr"] * self.relaxation(acquired, params)
        if self.detection == "real":
            found = gaussian(measured, signal, mask)
        else:
            found = noncentral_chi(measured, namespace(signal).abs(signal), mask, self.coils)
        return found[:, 0] if one else found

    def chi_square(self, inputs: Arrays, params: Arrays) -> tuple[np.ndarray, np.ndarray]:
        """As of :class:`ipads_stream.systems.base.Likely`, NumPy."""
        mean = self._signal(inputs, params)
        variance = np.ones_like(mean)
        if self.detection == "magnitude":
            mean, variance = magnitude_moments(np.abs(mean), self.coils)
        mask = inputs["mask"]
        square = np.where(mask, (inputs["signal"] - mean) ** 2 / variance, 0.0)
        return square.sum(axis=1), mask.sum(axis=1)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        columns = moved(xp, *(x.astype(np.float32) for x in params.values()))
        drawn = dict(zip(params, columns, strict=True))
        acquired, mask = self.acquisition(drawn)
        signal = self._signal(acquired, drawn)
        channels = 1 if self.detection == "real" else 2 * self.coils
        noise = random.normal(keys["noise"], (channels, mask.shape[1]), xp)
        measured = signal + noise[:, 0]
        if self.detection == "magnitude":
            measured = _magnitude(measured, xp.sum(noise[:, 1:] ** 2, axis=1))
        targets = {name: drawn[name] for name in self.quantities}
        return self.batch(self.inputs(measured, acquired, mask), targets, params)

    def inputs(self, measured: Any, acquired: Arrays, mask: Any) -> Arrays:
        """Those of the network, of signals over the noise."""
        xp = namespace(measured)
        measured = _present(measured, mask)
        highest = xp.maximum(xp.max(xp.abs(measured), axis=1, keepdims=True), 1.0)
        columns = [*_of_signal(measured, highest, mask)]
        for name, ends in self.scales.items():
            middle, half = math.log(ends[0] * ends[1]) / 2, math.log(ends[1] / ends[0]) / 2
            columns.append(_of_acquisition(acquired[name], mask, middle, half))
        acquired = {name: _present(x, mask) for name, x in acquired.items()}
        tokens = xp.stack(columns, axis=-1)
        return {"signal": measured, **acquired, "mask": mask, "tokens": tokens}

    @abstractmethod
    def protocol(self, axis: np.ndarray | None) -> Arrays:
        """How measured images were acquired, (N,) by the names of ``scales``.

        Raises:
            ConfigError: it is not known, or outside of what was trained.
        """

    def noise(self, images: np.ndarray, axis: np.ndarray | None) -> tuple[float, str]:
        """As of :class:`ipads_stream.systems.base.OverNoise`: that of the background, or, where
        there is none, what no signal of the model explains."""
        signals = self._signals(images)
        sigma = background(signals, self.coils) if self.detection == "magnitude" else None
        if sigma is not None:
            return sigma, BACKGROUND
        acquired = {name: x[None] for name, x in self.protocol(axis).items()}
        unknown = {name: getattr(self, name).support for name in self.quantities if name != "snr"}
        count = int(CURVES ** (1 / len(unknown)))
        spaced = [np.geomspace(low, high, count) for low, high in unknown.values()]
        grid = [x.reshape(-1, 1) for x in np.meshgrid(*spaced)]
        curves = self.relaxation(acquired, dict(zip(unknown, grid, strict=True)))
        curves = np.abs(curves) if self.detection == "magnitude" else curves
        return residual(signals, curves, len(self.quantities)), UNEXPLAINED

    def measured(
        self, images: np.ndarray, axis: np.ndarray | None, sigma: float | None = None
    ) -> Arrays:
        """Inputs of the network from images, (*space, N), magnitudes or phased real ones.

        Args:
            sigma: standard deviation of the noise in a real channel, in the unit of the images;
                None: as ``noise`` finds it.

        Raises:
            ConfigError: a protocol unknown or outside of what was trained, values that are not
                finite or are negative magnitudes.
        """
        signals, acquired = self._signals(images), self.protocol(axis)
        if sigma is None:
            sigma, _ = self.noise(images, axis)
        most = int(self.number.support[1])
        rows = padded(signals / sigma, most)
        columns = {name: np.broadcast_to(padded(np.asarray(x)[None], most), rows.shape)
                   for name, x in acquired.items()}  # fmt: skip
        mask = np.broadcast_to(np.arange(most) < signals.shape[1], rows.shape)
        return self.inputs(rows, columns, mask)

    def _signals(self, images: np.ndarray) -> np.ndarray:
        """Images as voxels, (B, N)."""
        least, most = (int(x) for x in self.number.support)
        signals = measured_samples(images, self.kind, counts=range(least, most + 1),
                                   content=f"{least} to {most} images", numbers="real")  # fmt: skip
        if self.detection == "magnitude" and (signals < 0).any():
            raise ConfigError("data", "negative values", "magnitudes")
        return signals

    def _signal(self, acquired: Arrays, params: Arrays) -> Any:
        """Over the noise, with its sign, (B, N); of no meaning where there is no image."""
        columns = {name: x[:, None] for name, x in params.items()}
        return columns["snr"] * self.relaxation(acquired, columns)

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]:
        """Inputs with noise where the largest signal is above the highest ``snr``, and where."""
        signals, mask = np.asarray(inputs["signal"]), np.asarray(inputs["mask"])
        least = np.abs(signals).max(axis=1) / self.snr.support[1]
        # Above M0 a signal is by its noise alone: three standard deviations are no difference.
        margin = 1 + 3 / self.snr.support[1]
        added = np.where(least > margin, missing_noise(np.ones(len(least)), least), 0.0)
        noisy = with_noise(signals, added, is_magnitude=self.detection == "magnitude")
        noisy = (noisy / np.hypot(1.0, added)[:, None]).astype(np.float32)
        acquired = {name: np.asarray(inputs[name]) for name in self.scales}
        return chosen_rows(inputs, self.inputs(noisy, acquired, mask), added > 0), added > 0

    def bound(self, params: Arrays) -> dict[str, np.ndarray]:
        """Cramer-Rao bound in SI, (B,), of Gaussian noise, which magnitudes have well above it."""
        params = {name: np.asarray(x, np.float64) for name, x in params.items()}
        slopes = []
        for name in self.quantities:
            step = 1e-5 * params[name]
            ends = [self.forward(params | {name: params[name] + x}) for x in (step, -step)]
            slopes.append((ends[0] - ends[1]) / (2 * step)[:, None])
        fisher = cramer_rao.fisher_information(np.stack(slopes, -1), 1.0)
        return dict(zip(self.quantities, cramer_rao.bound_or_infinite(fisher).T, strict=True))


def numbered(count: Any, drawn: Distribution) -> tuple[Any, Any]:
    """Numbers 0, 1, ... of images, (1, N), up to the most that are drawn, and which of them there
    are, (B, N), of how many, (B,)."""
    most = int(drawn.support[1])
    number = namespace(count).arange(most, dtype=count.dtype, device=device_of(count))[None]
    return number, number < count[:, None] - 0.5


def between(xp: Any, low: Any, high: Any, count: Any, power: Any, number: Any, mask: Any) -> Any:
    """low + (high - low) (n / (N - 1))^p of the images n = 0 ... N - 1, ``high`` of others."""
    share = number / (count - 1)
    share = xp.where(share > 0, share, 1e-9)  # whose power has a slope
    return xp.where(mask, low + (high - low) * share**power, high)


@fused
def _present(xp: Any, values: Any, mask: Any) -> Any:
    """Values of the images that there are, 0 of others."""
    return xp.where(mask, values, 0)


@fused
def _of_signal(xp: Any, measured: Any, highest: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Columns of the tokens: the signal over the highest, its logarithm, and how high that is."""
    low = xp.log(xp.maximum(xp.abs(measured), 0.5) / highest) / 2
    return (xp.where(mask, measured / highest, 0), xp.where(mask, low, 0),
            xp.where(mask, xp.log(highest / TYPICAL_SNR), 0))  # fmt: skip


@fused
def _of_acquisition(xp: Any, values: Any, mask: Any, middle: float, half: float) -> Any:
    return xp.where(mask, (xp.log(xp.maximum(values, 1e-9)) - middle) / half, 0)


@fused
def _magnitude(xp: Any, measured: Any, others: Any) -> Any:
    return xp.sqrt(measured * measured + others)


def padded(values: np.ndarray, longest: int) -> np.ndarray:
    """Rows (B, n) with zeros up to ``longest``, float32."""
    return np.pad(values.astype(np.float32), ((0, 0), (0, longest - values.shape[1])))


def check_within(key: str, value: float, distribution: Distribution, unit: str = "s") -> None:
    """Refuses a protocol of measured data outside of what was drawn; 1 % is the rounding of files.

    Raises:
        ConfigError: by ``data``, with the range of the training.
    """
    low, high = distribution.support
    if not 0.99 * low <= value <= 1.01 * high:
        allowed = f"{low:g} to {high:g} {unit}".rstrip() + ", the range of the training"
        raise ConfigError("data", f"{key} of {value:g} {unit}".rstrip(), allowed)


def repetition_time(TR: np.ndarray) -> float:
    """TR that all images share; ConfigError of several."""
    if not np.allclose(TR, TR.mean(), rtol=0.01):
        raise ConfigError("data", f"repetition times {TR.tolist()} s", "one for all images")
    return float(TR[0])
