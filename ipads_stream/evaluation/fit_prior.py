"""Distributions of a system's parameters, mined from a few measured data sets.

Each fully sampled row is fitted by damped exponentials (baselines/signals/line_fit.py); the lines
of all rows become histograms with bins between quantiles, written as the YAML of a system. Lines
that the noise hides are missing, so the low end of the amplitudes is that of the data, not that of
nature: widen it, or give it more share, where lower lines matter.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float
from tqdm import tqdm

from ipads_stream.baselines.signals.line_fit import FittedLines, fit_lines
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Whole
from ipads_stream.core.files import write_text
from ipads_stream.core.units import factor
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import read_plane, restrict
from ipads_stream.data.planes.recording import MODES, recipe_of
from ipads_stream.distributions import Choice, Distribution, Histogram
from ipads_stream.evaluation.tasks.signals.planes import signal_region
from ipads_stream.report.figures import BLACK, BLUE, drawing
from ipads_stream.systems import System

FEWEST_LINES = 20
TAILS = (0.002, 0.01)  # shares of the outermost bins
TALL = 0.99  # quantile of the amplitudes that becomes 1
CLEAN = 1e5  # signal-to-noise above which data count as free of noise
UNITS = {"frequency": "Hz", "phase": "deg", "decay": "s"}  # with a dwell time of 1 s: per point

HEADER = """\
# @package _global_
# Fitted to {names}: {lines} lines in {rows} of {all_rows} rows of {points} points.
# Frequencies are cycles per point, decays points (dwell time 1 s), amplitudes relative to the
# 99th percentile. What is not fitted is as in {base}.
defaults:
  - override /net: dlnmr
  - override /loss: deep_supervision

"""


def fit_prior(system: System, config: Mapping[str, Any]) -> list[Path]:
    """Fits the parameters of line spectra to measured planes and writes them as a system's YAML.

    Args:
        system: of line spectra; what is not fitted is taken from it.
        config: as conf/fit_prior.yaml; its output then serves as ``conf=FOLDER system=NAME``.

    Returns:
        Paths of the YAML file and of a picture.

    Raises:
        ConfigError: a key that cannot be used, or too few lines in the data.
        UnusableData: a file that gives no plane.
    """
    names, output, bins = _checked(system, config)
    planes = []
    told = {key: config[key] for key in ("mode", "reverse_indirect")}
    for name in names:
        if name in datasets.NAMES:  # the rows that contain its signals
            plane = read_plane(datasets.find(name, progress=sys.stderr.isatty()))
            planes.append(restrict(plane, signal_region(plane, name).rows))
        else:
            recipe = recipe_of(Path(name), **told)
            planes.append(read_plane(name, recipe, config["variable"]))
    points = {plane.fid.shape[1] for plane in planes}
    if len(points) > 1:
        raise ConfigError("data", sorted(points), "planes with equal numbers of indirect points")
    for plane in planes:
        for note in plane.notes:
            sys.stderr.write(f"{plane.name}: {note}\n")
    rows = [row for plane in planes for row in plane.fid]
    fits = [fit_lines(row) for row in tqdm(rows, desc="rows", disable=not sys.stderr.isatty())]
    fits = [fit for fit in fits if fit.amplitude.size]
    values = values_of(fits)
    if values["frequency"].size < FEWEST_LINES:
        allowed = f"data with at least {FEWEST_LINES} lines that stand out of the noise"
        raise ConfigError("data", f"{values['frequency'].size} lines", allowed)
    fitted = distributions_of(values, bins)
    prior = replace(system, points=points.pop(), dwell=1.0, **fitted)  # type: ignore[type-var]
    header = HEADER.format(
        names=", ".join(names),
        lines=values["frequency"].size,
        rows=len(fits),
        all_rows=len(rows),
        points=prior.points,  # type: ignore[attr-defined]
        base=system.name,
    )
    body = yaml.safe_dump({"system": describe(prior)}, sort_keys=False, default_flow_style=None)
    path = output / "system" / f"{config['name']}.yaml"
    write_text(path, header + body)
    return [path, picture(values, fitted, output / f"{config['name']}.png")]


def _checked(system: System, config: Mapping[str, Any]) -> tuple[list[str], Path, int]:
    data = config["data"]
    if isinstance(data, str) and data.startswith("[") and not Path(data).exists():
        data = yaml.safe_load(data)  # a list, as the command line hands it on
    names = [data] if isinstance(data, str) else data
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ConfigError("data", data, f"a path, one of {', '.join(datasets.NAMES)}, or a list")
    wanted = ("num_peaks", "amplitude", "frequency", "phase", "decay", "snr", "points", "dwell")
    if not set(wanted) <= {each.name for each in fields(system)}:  # type: ignore[arg-type]
        raise ConfigError("system", system.name, f"a system with {', '.join(wanted)}")
    if config["mode"] not in (None, *MODES):
        raise ConfigError("mode", config["mode"], f"one of {', '.join(MODES)}, or null")
    if config["reverse_indirect"] not in (None, True, False):
        raise ConfigError("reverse_indirect", config["reverse_indirect"], "true, false or null")
    bins = Whole(low=2, high=1000)("bins", config["bins"])
    name = config["name"]
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError("name", name, "letters, digits and underscores")
    for key in ("mode", "reverse_indirect"):
        if config[key] is not None and all(name in datasets.NAMES for name in names):
            raise ConfigError(
                key, config[key], f"null: {', '.join(names)} are read as they are known"
            )
    return names, Path(config["output"] or f"runs/prior-{name}"), bins


def values_of(fits: list[FittedLines]) -> dict[str, Float[np.ndarray, " n"]]:
    """All values of each parameter: of lines, and (num_peaks, snr) of rows."""
    if not fits:
        return {"frequency": np.zeros(0)}
    names = ("amplitude", "frequency", "phase", "decay")
    lines = {name: np.concatenate([getattr(fit, name) for fit in fits]) for name in names}
    lines["amplitude"] = lines["amplitude"] / np.quantile(lines["amplitude"], TALL)
    noise = np.array([max(fit.noise, fit.height / (10 * CLEAN)) for fit in fits])
    return {
        "num_peaks": np.array([float(fit.amplitude.size) for fit in fits]),
        **lines,
        "snr": np.array([fit.height for fit in fits]) / noise,
    }


def distributions_of(
    values: Mapping[str, Float[np.ndarray, " n"]], bins: int
) -> dict[str, Distribution | None]:
    """A distribution of each parameter, of values in SI; few values get fewer ``bins``."""
    prior: dict[str, Distribution | None] = {}
    for name, measured in values.items():
        unit = UNITS.get(name, "")
        if name == "num_peaks":
            counts, times = np.unique(measured, return_counts=True)
            prior[name] = Choice(values=counts.tolist(), weights=times.tolist())
        elif name == "snr" and np.median(measured) > CLEAN:
            prior[name] = None
        else:
            prior[name] = _histogram(measured / factor(unit), bins, unit)
    return prior


def _histogram(values: Float[np.ndarray, " n"], bins: int, unit: str) -> Histogram:
    """Bins between quantiles; the outer ones divided again, or a rare value would widen them."""
    tails = [tail for tail in TAILS if tail * values.size >= 5]
    inner = np.linspace(0.0, 1.0, 1 + max(1, min(bins, values.size // 5)))
    levels = np.unique([*inner, *tails, *(1.0 - tail for tail in tails)])
    rounded = [float(f"{edge:.6g}") for edge in np.quantile(values, levels)]
    edges, last = np.unique(rounded[::-1], return_index=True)
    up_to = levels[::-1][last]  # of equal edges the last: what they hold goes to the bin below
    if edges.size < 2:  # one value only
        low = float(edges[0])
        ends = (low, low + max(abs(low), 1.0) * 1e-6)
        return Histogram(edges=ends, shares=(1.0,), unit=unit)
    shares = np.diff(np.concatenate([[0.0], up_to[1:]]))
    return Histogram(edges=edges.tolist(), shares=np.round(shares, 9).tolist(), unit=unit)


def picture(
    values: Mapping[str, Float[np.ndarray, " n"]],
    fitted: Mapping[str, Distribution | None],
    path: Path,
) -> Path:
    """Share of the values below x: in the data, and of the distribution written."""
    with drawing(path, 2, 3, height=5.2) as axes:
        for axis, (name, measured) in zip(axes.flat, values.items(), strict=True):
            distribution = fitted[name]
            unit = UNITS.get(name, "")
            x = np.sort(measured) / factor(unit)
            axis.step(x, 100 * np.arange(1, x.size + 1) / x.size, color=BLACK, label="data")
            if distribution is not None:
                at = np.linspace(x[0], x[-1], 400)
                level = 100 * distribution.cdf(at * factor(unit))
                axis.plot(at, level, color=BLUE, linestyle="--", label="fitted")
            axis.set(title=f"{name}: {x.size} values", xlabel=f"{name} ({unit})" if unit else name)
            if name in ("amplitude", "decay", "snr") and x[-1] > 20 * x[0]:
                axis.set_xscale("log")
        for row in axes:
            row[0].set_ylabel("share below (%)")
        axes[0, 0].legend()
    return path
