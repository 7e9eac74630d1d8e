"""What trains of echoes may have that a decay of one pool has not: candidates of a diagnosis.

Each is the signal of a ``systems.echo_train.EchoTrain`` with one thing more, under the same exact
noise. A wrong distance of the echoes is none: with it a decay is the decay of another T, and no
data tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ipads_stream.acquisition.likelihood import gaussian, noncentral_chi
from ipads_stream.baselines.region_fits import Imperfection
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.epg import cpmg
from ipads_stream.systems.echo_train import EchoTrain

Arrays = Mapping[str, np.ndarray]
# TE (B, E, 1), quantities and further parameters (B, 1, n) -> signal of M0 = 1, (B, E, n).
Signal = Callable[[np.ndarray, Arrays], np.ndarray]
T1 = 1.0  # s; stimulated echoes hardly depend on it
ESP_TOLERANCE = 0.02  # of the echo spacing


def constant(system: EchoTrain) -> Imperfection:
    """S + c."""
    return Imperfection(
        "a share of the signal does not decay: fluid, or an offset of the images",
        {"share": tuple(np.linspace(-0.1, 0.3, 17))},
        _of(system, lambda TE, x: _decay(system, TE, x) + x["share"]),
    )


def first_image(system: EchoTrain) -> Imperfection:
    """The first echo times a factor."""

    def signal(TE: np.ndarray, x: Arrays) -> np.ndarray:
        is_first = np.arange(TE.shape[1])[None, :, None] == 0
        return _decay(system, TE, x) * np.where(is_first, x["factor"], np.float32(1))

    return Imperfection(
        "the first image is another than the decay of the rest has: leave it out",
        {"factor": tuple(np.linspace(0.7, 1.3, 13))},
        _of(system, signal),
    )


def alternating(system: EchoTrain) -> Imperfection:
    """Odd and even echoes times 1 + a and 1 - a."""

    def signal(TE: np.ndarray, x: Arrays) -> np.ndarray:
        sign = (1 - 2 * (np.arange(TE.shape[1]) % 2))[None, :, None].astype(np.float32)
        return _decay(system, TE, x) * (1 + sign * x["amplitude"])

    return Imperfection(
        "odd and even images differ: readouts of two directions, or imperfect refocusing",
        {"amplitude": tuple(np.linspace(-0.2, 0.2, 13))},
        _of(system, signal),
    )


def second_pool(system: EchoTrain) -> Imperfection:
    """S = (1 - f) S(T) + f S(T_fast)."""

    def signal(TE: np.ndarray, x: Arrays) -> np.ndarray:
        time, *_ = system.estimated
        fast = _decay(system, TE, {**x, time: x["fast"]})
        return _decay(system, TE, x) * (1 - x["fraction"]) + x["fraction"] * fast

    return Imperfection(
        "a second pool decays faster, as myelin water does",
        {"fraction": tuple(np.linspace(0.0, 0.5, 9)), "fast": (4e-3, 8e-3, 15e-3, 25e-3, 40e-3)},
        _of(system, signal),
        "system=ann_mwf",
    )


def stimulated_echoes(system: EchoTrain) -> Imperfection:
    """Pulses of 90 B1 and 180 B1 degrees: the echoes of extended phase graphs, T1 of 1 s."""

    def signal(TE: np.ndarray, x: Arrays) -> np.ndarray:
        spacing = float(TE[0, 1, 0] - TE[0, 0, 0])
        even = spacing * np.arange(1, TE.shape[1] + 1)[:, None]
        if not np.allclose(TE, even, atol=ESP_TOLERANCE * spacing):
            raise ConfigError("data", "echo times", "n times their distance, for stimulated echoes")
        shape = np.broadcast_shapes(x["T2"].shape, x["B1"].shape)
        T2, B1 = (np.broadcast_to(x[name], shape)[:, 0].ravel() for name in ("T2", "B1"))
        found = cpmg(spacing, TE.shape[1], T1, np.ascontiguousarray(T2), np.ascontiguousarray(B1))
        return np.abs(found).reshape(shape[0], shape[2], -1).swapaxes(1, 2)

    return Imperfection(
        "B1 is off, and stimulated echoes add to the spin echoes",
        {"B1": tuple(np.linspace(0.5, 1.0, 11))},
        _of(system, signal),
        "system=t2_cpmg",
    )


def field_gradient(system: EchoTrain) -> Imperfection:
    """S = exp(-TE / T) |sinc(G TE)|, G the difference of the field across the voxel, Hz."""
    return Imperfection(
        "the field differs across the voxels",
        {"hertz": tuple(np.linspace(0.0, 60.0, 13))},
        _of(system, lambda TE, x: _decay(system, TE, x) * np.abs(np.sinc(x["hertz"] * TE))),
    )


def several_coils(system: EchoTrain) -> Imperfection:
    """Magnitudes of N coils by the root of the sum of squares: non-central chi noise."""

    def log_likelihood(inputs: Arrays, params: Arrays) -> np.ndarray:
        clean = _signals(system, lambda TE, x: _decay(system, TE, x), inputs, params)
        coils = np.broadcast_to(params["coils"], (len(clean), clean.shape[2]))
        found = np.empty(coils.shape)
        for count in np.unique(coils):
            columns = np.flatnonzero((coils == count).any(axis=0))
            some = noncentral_chi(inputs["signal"], np.abs(clean[..., columns]), inputs["mask"],
                                  int(count))  # fmt: skip
            found[:, columns] = np.where(coils[:, columns] == count, some, found[:, columns])
        return found

    if system.detection == "real":
        raise ConfigError("detection", "real", "magnitudes")
    others = tuple(float(x) for x in (1, 2, 4, 8, 16, 32) if x != system.coils)
    return Imperfection(
        "the noise is that of several coils, higher where the signal is low",
        {"coils": others},
        log_likelihood,
        "system.coils={coils:.0f}",
        is_counted=True,
    )


def more_noise(system: EchoTrain) -> Imperfection:
    """Noise of f times the standard deviation that was taken.

    The quantities of a voxel, fitted too, take as many squares away: their number counts less.

    Source: Patterson and Thompson, Biometrika 58, 545 (1971) (restricted likelihood).
    """

    def log_likelihood(inputs: Arrays, params: Arrays) -> np.ndarray:
        clean = _signals(system, lambda TE, x: _decay(system, TE, x), inputs, params)
        factor = np.broadcast_to(params["factor"], (len(clean), clean.shape[2]))
        shape, echoes = factor.shape, clean.shape[1]

        def rows(x: np.ndarray) -> np.ndarray:
            return np.repeat(x, shape[1], axis=0)

        by = factor.reshape(-1, 1).astype(np.float32)
        mask = rows(inputs["mask"])
        scaled = clean.swapaxes(1, 2).reshape(-1, echoes) / by
        found = _density(system, rows(inputs["signal"]) / by, scaled[..., None], mask)[:, 0]
        free = mask.sum(axis=1) - len(system.quantities)
        return np.asarray((found - free * np.log(by[:, 0])).reshape(shape))

    return Imperfection(
        "the noise is another than was taken: give adopt a second measurement (repeats=)",
        {"factor": tuple(np.geomspace(0.5, 4.0, 13))},
        log_likelihood,
    )


def _decay(system: EchoTrain, TE: np.ndarray, x: Arrays) -> np.ndarray:
    return np.asarray(system.relaxation({"TE": TE}, dict(x)))


def _of(system: EchoTrain, signal: Signal) -> Callable[[Arrays, Arrays], np.ndarray]:
    """The likelihood of a signal under the noise of the system."""

    def log_likelihood(inputs: Arrays, params: Arrays) -> np.ndarray:
        return _density(system, inputs["signal"], _signals(system, signal, inputs, params),
                        inputs["mask"])  # fmt: skip

    return log_likelihood


def _signals(system: EchoTrain, signal: Signal, inputs: Arrays, params: Arrays) -> np.ndarray:
    """Over the noise, (B, E, n), in single precision, for which the likelihood has a kernel."""
    columns = {name: x[:, None, :].astype(np.float32) for name, x in params.items()}
    TE = inputs["TE"][:, :, None]
    return np.asarray((columns["snr"] * signal(TE, columns)).astype(np.float32))


def _density(
    system: EchoTrain, measured: np.ndarray, clean: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    if system.detection == "real":
        return np.asarray(gaussian(measured, clean, mask))
    return np.asarray(noncentral_chi(measured, np.abs(clean), mask, system.coils))
