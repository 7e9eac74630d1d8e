"""Maps of quantities from somebody's images, written as NIfTI with the names and units of BIDS."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import replacing, write_text
from ipads_stream.core.images import as_maps
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import UNITS, dimension, factor, units_of
from ipads_stream.evaluation.quantification.images import Images, read_images
from ipads_stream.evaluation.quantification.methods import NETWORK, Method

AXIS = ("EchoTime", "s")  # key of a sidecar and its unit, for systems that name no other
TILT = 5.0  # degrees, of B0 in the voxels against that of the system: a choice of this project
LONGEST = 30.0  # s, of a time of a pulse sequence: a longer one was meant in ms

# Units that BIDS fixes by the suffix (appendix "qMRI"); other maps keep the quantity's own.
BIDS_UNITS = {
    "T1map": "s", "T2map": "s", "T2starmap": "s", "T1rho": "s", "TB1map": "%", "MWFmap": "%",
    "Chimap": "ppm", "B0map": "Hz", "fieldmap": "Hz",
}  # fmt: skip


def apply_to_images(
    methods: Mapping[str, Method],
    system: Any,
    path: Path,
    output: Path,
    *,
    axis: Sequence[float] | None = None,
    unit: str | None = None,
) -> str:
    """Estimates the quantities of a file of images and writes one map per quantity.

    ``<stem>_<suffix>.nii.gz`` with the affine of the images and a JSON sidecar; those of other
    methods than the network with ``desc-<method>`` in the name. Voxels in which all images are 0,
    and those without an estimate, are NaN.

    Args:
        methods: by name.
        system: has ``measured(images, axis)``, ``kind`` and ``quantities``.
        path: of the images, NIfTI or NumPy.
        output: folder of the maps.
        axis: values of the last axis of the images, in ``unit``; None: as the sidecar says.
        unit: of ``axis``; None: SI.

    Returns:
        What was written, and how the values lie to the range that training covered.

    Raises:
        ConfigError: what the system cannot take, by key.
    """
    if not hasattr(system, "measured"):
        raise ConfigError("data", str(path), f"synthetic: {system.name} takes no images")
    images = read_images(path)
    if images.header is not None:
        check_geometry(system, images.affine)
    values = axis_of(system, images.sidecar, axis, unit, images.values.shape[-1])
    inputs = {name: np.asarray(x) for name, x in system.measured(images.values, values).items()}
    space = images.values.shape[:-1]
    empty = (images.values == 0).all(axis=-1)
    told = []
    for name, method in methods.items():
        started = time.perf_counter()
        found = method(inputs)
        seconds = time.perf_counter() - started
        told.append(f"{name}: {seconds:.3g} s for images of {' x '.join(map(str, space))} voxels")
        for key, quantity in system.quantities.items():
            if key not in found:
                continue
            values_of = np.asarray(found[key], dtype=np.float32)
            estimate = as_maps(values_of, system.kind, space)
            estimate = np.where(empty, np.float32(np.nan), estimate)
            file = output / f"{_name(images.stem, quantity.bids or key, name)}.nii.gz"
            if file.resolve() in {source.resolve() for source in images.sources}:
                raise ConfigError("output", str(output), "another folder than that of the images")
            _write(file, estimate, quantity, images, system, name)
            told.append(f"{file}: {_summary(key, quantity, estimate)}")
    return "\n".join(told)


def check_geometry(system: Any, affine: np.ndarray) -> None:
    """Refuses voxels, or a direction of B0 in them, other than those the system simulates.

    Args:
        system: with ``spacing`` (m) and ``B0_direction`` where they matter.
        affine: voxel indices to mm, B0 along the last axis of the scanner, (4, 4).

    Raises:
        ConfigError: under the key ``data``.
    """
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    asked = getattr(system, "spacing", None)
    if asked is not None and not np.allclose(1e3 * np.asarray(asked), spacing, rtol=0.02):
        sizes = (" x ".join(f"{size:.4g}" for size in s) for s in (spacing, 1e3 * np.array(asked)))
        raise ConfigError("data", f"voxels of {next(sizes)} mm", f"voxels of {next(sizes)} mm")
    asked = getattr(system, "B0_direction", None)
    if asked is None:
        return
    found = axes[2] / spacing
    cosine = found @ np.asarray(asked) / np.linalg.norm(found) / np.linalg.norm(asked)
    if abs(cosine) < np.cos(np.deg2rad(TILT)):
        given = f"B0 along {np.round(found, 2).tolist()} of the voxel axes"
        raise ConfigError("data", given, f"within {TILT:g} degrees of {list(asked)}")


def axis_of(
    system: Any,
    sidecar: Mapping[str, Any],
    axis: Sequence[float] | None,
    unit: str | None,
    count: int,
) -> np.ndarray | None:
    """The values of the last axis in SI: from the configuration, or from the sidecar.

    Args:
        system: its ``axis`` names the sidecar's key and unit, (key, unit); else ``AXIS``.
        sidecar: of the images.
        axis, unit: of the configuration.
        count: images along the axis.

    Raises:
        ConfigError: under ``axis``, ``axis_unit`` or ``data``: no numbers, another count, a unit of
            another kind, times that can only be milliseconds.
    """
    key, own = getattr(system, "axis", AXIS)
    if axis is None:
        if unit is not None:
            raise ConfigError("axis_unit", unit, "null, unless axis is given")
        given, source, scale = sidecar.get(key), "data", factor(own)
        if given is None:
            return None
        if not isinstance(given, (list, tuple)):  # one number stands for all images
            given = [given] * count
    else:
        kind = dimension(own)
        if unit is None:
            unit = next(name for name in units_of(kind) if factor(name) == 1.0)
        if unit not in UNITS or dimension(unit) != kind:
            allowed = f"one of {', '.join(units_of(kind))}, as {key} has"
            raise ConfigError("axis_unit", unit, allowed)
        given, source, scale = axis, "axis", factor(unit)
    numbers = [x for x in given if isinstance(x, (int, float)) and not isinstance(x, bool)]
    values = np.array(numbers, dtype=np.float64) * scale
    if len(numbers) != len(given) or not np.isfinite(values).all():
        raise ConfigError(source, f"{key} {given}", "finite numbers")
    if len(values) != count:
        allowed = f"one for each of the {count} images along the last axis"
        raise ConfigError(source, f"{len(values)} values of {key}", allowed)
    if dimension(own) == "time" and values.size and values.max() > LONGEST:
        allowed = f"times of at most {LONGEST:g} s; is the unit ms?"
        raise ConfigError(source, f"{key} of {values.max():g} s", allowed)
    return values


def _name(stem: str, suffix: str, method: str) -> str:
    """Name of a map: in BIDS the suffix of the images gives way to that of the map."""
    if stem.startswith("sub-"):
        entities = [part for part in stem.split("_") if "-" in part]
        stem = "_".join(entities)
    if method != NETWORK:
        stem += f"_desc-{re.sub('[^A-Za-z0-9]', '', method)}"
    return f"{stem}_{suffix}"


def _unit(quantity: Quantity) -> str:
    """That of BIDS where it is of the quantity's kind, else the quantity's."""
    unit = BIDS_UNITS.get(quantity.bids, quantity.unit)
    return unit if dimension(unit) == dimension(quantity.unit) else quantity.unit


def _write(
    file: Path, values: np.ndarray, quantity: Quantity, images: Images, system: Any, method: str
) -> None:
    import nibabel

    unit = _unit(quantity)
    header = None if images.header is None else images.header.copy()
    shown = (values / factor(unit)).astype(np.float32)
    shown = shown.reshape(shown.shape + (1,) * (3 - shown.ndim))
    image = nibabel.Nifti1Image(shown, images.affine, header)
    image.set_data_dtype(np.float32)
    image.header["descrip"] = f"ipads_stream {__version__} {system.name}".encode()[:79]
    image.header["cal_min"], image.header["cal_max"] = 0, 0
    with replacing(file) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    sidecar = {
        "Units": unit or "arbitrary",
        "EstimationAlgorithm": method,
        "EstimationReference": f"system {system.name} of ipads_stream",
        "Sources": [source.name for source in images.sources],
        "GeneratedBy": [{"Name": "ipads_stream", "Version": __version__}],
        "ConfigHash": config_hash(system),
    }
    write_text(file.with_name(file.name.replace(".nii.gz", ".json")), json.dumps(sidecar, indent=1))


def _summary(name: str, quantity: Quantity, values: np.ndarray) -> str:
    """Median and middle 90 % of a map, and what lies outside the range of training."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return f"{name} nowhere"
    unit = factor(quantity.unit)
    low, middle, high = np.quantile(finite, [0.05, 0.5, 0.95]) / unit
    outside = float(np.mean((finite < quantity.low) | (finite > quantity.high)))
    return (
        f"{name} {middle:.4g} {quantity.unit}".rstrip()
        + f" in the median, 5 to 95 %: {low:.4g} to {high:.4g}; {100 * outside:.3g} % outside "
        f"{quantity.low / unit:g} to {quantity.high / unit:g}, which training covered"
    )
