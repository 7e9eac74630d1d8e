"""Trains of spin or gradient echoes (systems/echo_train.py): their times, their noise and the
priors of their decays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.acquisition.noise_level import UNEXPLAINED, of_repeats
from ipads_stream.baselines.hierarchical import deconvolved
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import factor
from ipads_stream.data.images import Images, read_images, stem_of
from ipads_stream.distributions import Histogram, LogUniform
from ipads_stream.evaluation.adoption.measured import (
    Adopted,
    Measured,
    Setting,
    constant,
    facts,
    images_of,
    number,
    refused,
    repetition_time,
)
from ipads_stream.evaluation.tasks.quantities.images import axis_of

SPIN, GRADIENT = "spin echoes", "gradient echoes"
SUFFIXES = {SPIN: ("MESE", "T2w"), GRADIENT: ("MEGRE", "T2starw", "GRE")}
WORDS = {SPIN: "SE", GRADIENT: "GR"}
SIGNAL = 5.0  # times the noise, from which a voxel tells of the priors
FEWEST = 50  # voxels that make a prior


def spin_echoes(system: Any, measured: Measured, config: Mapping[str, Any]) -> Adopted:
    """As of :class:`ipads_stream.systems.base.Adopting`, of ``EchoTime`` and spin echoes."""
    return _echoes(system, measured, config, SPIN)


def gradient_echoes(system: Any, measured: Measured, config: Mapping[str, Any]) -> Adopted:
    """As of :class:`ipads_stream.systems.base.Adopting`, of ``EchoTime`` and gradient echoes."""
    return _echoes(system, measured, config, GRADIENT)


def _echoes(system: Any, measured: Measured, config: Mapping[str, Any], kind: str) -> Adopted:
    images = images_of(system, measured)
    found, how = kind_of(measured.path, images.sidecar)
    if found not in (None, kind):
        raise refused(system, measured, f"of {kind} but of {found} ({how})")
    if found is None:
        how = f"Assumed: {kind}, as system={system.name} says; no file names them"
    inversion = number(images.sidecar, "InversionTime")
    if inversion:
        raise refused(system, measured, f"without an inversion: InversionTime is {inversion:g} s")
    count = images.values.shape[-1]
    TE, where = axis_of(system, images.sidecar, config["axis"], config["axis_unit"], count)
    if TE is None:
        raise ConfigError("data", "no echo times", "EchoTime in a sidecar, or axis")
    spacing = np.diff(TE)
    if len(TE) < 2 or (spacing <= 0).any():
        raise ConfigError("data", f"echo times {TE.tolist()} s", "two or more that rise")
    number(images.sidecar, "FlipAngle")  # alike in all echoes
    repetition = repetition_time(images.sidecar)
    if repetition is not None and repetition < TE[-1]:
        given = f"RepetitionTime of {repetition:g} s"
        raise ConfigError("data", given, f"longer than the last echo time, {TE[-1]:g} s")
    settings = {
        "num_echoes": Setting(constant(len(TE)), f"{count} images in {_names(images)}"),
        "spacing": Setting(constant(1e3 * spacing.mean(), "ms"), f"{where}; mean distance"),
    }
    if system.first_echo is not None:
        settings["first_echo"] = Setting(constant(1e3 * TE[0], "ms"), where)
    fitting = replace(system, **{name: x.value for name, x in settings.items()})
    fitting.measured(images.values, TE)  # refuses what the system would not take, too
    notes = [how, *images.notes, *facts(images.sidecar)]
    return Adopted(settings, notes, partial(_priors, fitting, images, TE, config))


def kind_of(path: Path, sidecar: Mapping[str, Any]) -> tuple[str | None, str]:
    """Spin or gradient echoes and who says so; None: nobody does. Contradictions are refused."""
    suffix = stem_of(path).rpartition("_")[2]
    words = set(re.findall("[A-Z]+", str(sidecar.get("ScanningSequence", "")).upper()))
    told = {f"suffix {suffix}": kind for kind, names in SUFFIXES.items() if suffix in names}
    said = [kind for kind, word in WORDS.items() if word in words]
    if len(said) == 1:
        told["ScanningSequence"] = said[0]
    if len(set(told.values())) > 1:
        given = ", ".join(f"{kind} ({source})" for source, kind in told.items())
        raise ConfigError("data", given, "one kind of echoes")
    how = " and ".join(told)
    return (
        (next(iter(told.values())), f"{next(iter(told.values()))}: {how}") if told else (None, "")
    )


def _priors(
    system: Any, images: Images, TE: np.ndarray, config: Mapping[str, Any]
) -> tuple[Mapping[str, Setting], Sequence[str]]:
    """Histograms of T and snr, of which the noise of estimation is taken away."""
    rows = images.values.reshape(-1, len(TE)).astype(np.float64)
    rows = rows[rows.any(axis=1)]
    sigma, how = _noise(system, images, TE, config["repeats"])
    time, *_ = system.estimated
    kept = rows[rows.max(axis=1) > SIGNAL * sigma] / sigma
    if len(kept) < FEWEST:
        given = f"{len(kept)} voxels above {SIGNAL:g} times the noise"
        raise ConfigError("data", given, f"{FEWEST} or more, of which priors can be mined")
    step = max(1, len(kept) // config["voxels"])
    used = kept[::step][: config["voxels"]].astype(np.float32)
    highest = used.max(axis=1)
    ends = float(f"{0.7 * highest.min():.3g}"), float(f"{4 * highest.max():.3g}")
    wide = replace(system, snr=LogUniform(low=ends[0], high=ends[1]))
    inputs = {"signal": used, "mask": np.ones(used.shape, bool),
              "TE": np.broadcast_to(TE.astype(np.float32), used.shape)}  # fmt: skip
    units = {time: wide.quantities[time].unit, "snr": ""}
    ranges = {name: wide.distributions()[name].support for name in units}
    edges = {name: np.geomspace(low, high, config["bins"] + 1)
             for name, (low, high) in ranges.items()}  # fmt: skip
    found = deconvolved(wide, inputs, edges)
    share, settings = config["broad"], {}
    source = f"{len(used)} of {len(kept)} voxels with signal, noise of estimation taken away"
    for name, x in edges.items():
        shares = (1 - share) * found[name] + share / len(found[name])
        rounded = [float(f"{edge:.5g}") for edge in x / factor(units[name])]
        value = Histogram(
            edges=tuple(rounded), shares=tuple(np.round(shares, 6).tolist()), unit=units[name]
        )
        text = f"{source}; {100 * share:g} % evenly over the range of {system.name}"
        settings[name] = Setting(value, text if name == time else f"M0 over the noise; {source}")
    notes = [f"The noise is {sigma:.4g} in the unit of the images ({how})"]
    at_ends = float(found[time][0] + found[time][-1])
    if at_ends > 0.1:
        notes.append(
            f"{100 * at_ends:.2g} % of the voxels have {time} in the outermost bins of the range: "
            f"widen it (system.{time}.low, system.{time}.high) if they matter"
        )
    return settings, notes


def _noise(system: Any, images: Images, TE: np.ndarray, repeats: str | None) -> tuple[float, str]:
    """Standard deviation in a real channel, in the unit of the images, and of what it is."""
    if repeats is not None:
        other = read_images(Path(repeats)).values
        if other.shape != images.values.shape:
            raise ConfigError("repeats", repeats, f"images of the shape {images.values.shape}")
        return of_repeats(images.values, other), f"of the difference from {Path(repeats).name}"
    sigma, how = system.noise(images.values, TE)
    if how == UNEXPLAINED:
        how = "assumed: what no decay explains, for want of a background and of repeats="
    return sigma, how


def _names(images: Images) -> str:
    names = [source.name for source in images.sources]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other files"
