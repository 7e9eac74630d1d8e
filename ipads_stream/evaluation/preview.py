"""What a system generates, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.units import factor
from ipads_stream.distributions import Distribution, LogUniform
from ipads_stream.evaluation.figures import BLUE, GREY, drawing
from ipads_stream.evaluation.signal_figures import mask_picture, on_host, sample_gallery

GALLERY = 6
SCHEDULES = 400
COLUMNS = 3


def preview_system(stream: Any, output: Path, samples: int) -> list[Path]:
    """Pictures of the parameters, of samples, and of the sampling schedules where there are any.

    Args:
        stream: a Stream of the system, with the seed and the split to draw from.
        output: folder of the pictures; made where it is missing.
        samples: behind the histograms: samples 0 ... samples - 1 of the stream.

    Returns:
        Paths of the PNG files.

    Raises:
        ConfigError: not a positive number of samples.
    """
    if samples < 1:
        raise ConfigError("samples", samples, "a whole number, at least 1")
    output.mkdir(parents=True, exist_ok=True)
    indices = np.arange(samples, dtype=np.uint64)
    params = stream.system.draw(
        Keys(stream.seed, stream.split, indices), indices.astype(np.float64)
    )
    paths = [parameter_histograms(stream.system, params, output / "parameters.png")]
    shown = on_host(stream.sample(range(max(GALLERY, min(samples, SCHEDULES)))))
    dwell = float(getattr(stream.system, "dwell", 1.0))
    paths.append(sample_gallery(shown, output / "samples.png", dwell=dwell, count=GALLERY))
    mask = shown.inputs.get("mask")
    if mask is not None and mask.ndim == 2:
        paths.append(mask_picture(np.asarray(mask, dtype=np.bool_), output / "masks.png"))
    return paths


def parameter_histograms(system: Any, params: Mapping[str, np.ndarray], path: Path) -> Path:
    """A histogram of every drawn parameter, in the unit of the configuration; counts as bars.

    Args:
        system: a dataclass, some of whose fields are distributions.
        params: drawn parameters, SI, (samples, ...).
        path: of the PNG.
    """
    num_rows = -(-len(params) // COLUMNS)
    with drawing(path, num_rows, COLUMNS, height=0.3 + 2.4 * num_rows) as axes:
        for axis, (name, values) in zip(axes.flat, params.items(), strict=False):
            distribution = getattr(system, name, None)
            unit = distribution.unit if isinstance(distribution, Distribution) else ""
            drawn = present_values(params, values) / factor(unit)
            _histogram(axis, drawn, isinstance(distribution, LogUniform))
            axis.set_title(_kind(distribution))
            axis.set_xlabel(f"{name} ({unit})" if unit not in ("", "1") else f"{name}")
        for row in axes:
            row[0].set_ylabel("share of draws (%)")
        for axis in axes.flat[len(params) :]:
            axis.set_axis_off()
    return path


def _kind(distribution: Any) -> str:
    """Name of the distribution and the range of its draws, in its own unit."""
    if not isinstance(distribution, Distribution):
        return "drawn by the system"
    low, high = (bound / factor(distribution.unit) for bound in distribution.support)
    unit = f" {distribution.unit}" if distribution.unit not in ("", "1") else ""
    if low == high:
        return f"{type(distribution).__name__}: {low:g}{unit}"
    return f"{type(distribution).__name__}: {low:g} to {high:g}{unit}"


def present_values(
    params: Mapping[str, np.ndarray], values: np.ndarray
) -> Float[np.ndarray, " draws"]:
    """The draws of one parameter in a row; those of absent peaks (beyond num_peaks) left out.

    Args:
        params: all parameters of the samples.
        values: of one parameter, (samples, ...).
    """
    values = np.asarray(values, dtype=np.float64)
    count = params.get("num_peaks")
    if count is not None and values.ndim == 2:
        return values[np.arange(values.shape[1]) < np.asarray(count)[:, None]]
    return values.reshape(-1)


def _histogram(axis: Any, values: np.ndarray, is_logarithmic: bool) -> None:
    finite = values[np.isfinite(values)]
    distinct = np.unique(finite)
    if not distinct.size:
        axis.text(0.5, 0.5, "no finite value", ha="center", transform=axis.transAxes)
        return
    weights = np.full(finite.size, 100 / finite.size)
    if distinct.size == 1:
        around = max(abs(distinct[0]), 1.0)
        axis.bar(distinct, [100], width=0.1 * around, color=GREY)
        axis.set_xlim(distinct[0] - around, distinct[0] + around)
    elif distinct.size <= 40 and finite.size > 2 * distinct.size:
        shares = [100 * np.mean(finite == value) for value in distinct]
        axis.bar(distinct, shares, width=0.8 * np.diff(distinct).min(), color=GREY)
        if distinct.size <= 12 and np.all(distinct == np.rint(distinct)):
            axis.set_xticks(distinct)
    else:
        bins: Any = int(np.clip(np.sqrt(finite.size), 5, 30))
        if is_logarithmic and finite.min() > 0:
            bins = np.geomspace(finite.min(), finite.max(), bins + 1)
            axis.set_xscale("log")
        axis.hist(finite, bins=bins, weights=weights, color=BLUE)
    axis.set_ylim(bottom=0)
