"""Maps of quantities from measured images, written as NIfTI with the names and units of BIDS."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_maps
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import UNITS, dimension, factor, labelled, units_of
from ipads_stream.data import field_maps
from ipads_stream.data.images import Images, read_images
from ipads_stream.data.nifti import write_nifti
from ipads_stream.data.raw import read_shot
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.tasks.quantities.figures import draw_measured
from ipads_stream.evaluation.tasks.quantities.placement import placement
from ipads_stream.evaluation.tasks.sample_means import results_stem, sidecar
from ipads_stream.report.page import Section
from ipads_stream.systems import System
from ipads_stream.systems.base import (
    FieldMapped,
    Measurable,
    Quantified,
    Reconstructing,
    SeveralAxes,
)

LONGEST = 30.0  # s, of a time of a pulse sequence: a longer one was meant in ms

# Units that BIDS fixes by the suffix (appendix "qMRI"); other maps keep the quantity's own.
BIDS_UNITS = {
    "T1map": "s", "T2map": "s", "T2starmap": "s", "T1rho": "s", "TB1map": "%", "MWFmap": "%",
    "Chimap": "ppm", "B0map": "Hz", "fieldmap": "Hz",
}  # fmt: skip


def apply_to_images(
    methods: Mapping[str, Method],
    system: System,
    path: Path,
    output: Path,
    *,
    axis: Sequence[float | int] | None = None,
    unit: str | None = None,
) -> Section:
    """Estimates the quantities of a file of images and writes one map per quantity.

    Args:
        methods: by name.
        system: of quantities; ``measured(images, axis)`` makes its inputs.
        path: of the images, NIfTI or NumPy.
        output: folder of pictures and of the maps, ``<stem>_<suffix>.nii.gz`` with a JSON sidecar,
            with ``desc-<method>`` if not of the network; NaN where all images are 0.
        axis: values of the last axis of the images, in ``unit``; None: from the sidecar.
        unit: of ``axis``; None: SI.

    Returns:
        The files written, their values beside the range of the training, and pictures.

    Raises:
        ConfigError: what the system cannot take, by key.
    """
    assert isinstance(system, Quantified)
    if not isinstance(system, Measurable):
        raise ConfigError("data", str(path), f"synthetic: {system.name} takes no images")
    images = _images(system, path)
    placed = placement(system, images)
    values, how = axis_of(system, images.sidecar, axis, unit, images.values.shape[-1])
    turned = placed.turned(images.values)
    if isinstance(system, FieldMapped):
        frequency = None if values is None else float(values[0])
        scale, how = field_maps.ppm(images.sidecar, frequency, is_asked=axis is not None)
        turned, values = (turned * scale).astype(np.float32), None
    inputs = {name: np.asarray(x) for name, x in system.measured(turned, values).items()}
    space = images.values.shape[:-1]
    empty = (images.values == 0).all(axis=-1)
    known = [note for note in (*images.notes, how, placed.note) if note]
    lines: list[str] = [f"{path.name}: {'; '.join(known)}"] if known else []
    maps: dict[str, dict[str, np.ndarray]] = {name: {} for name in system.quantities}
    for name, method in methods.items():
        started = time.perf_counter()
        predictions = method(inputs)
        seconds = time.perf_counter() - started
        lines.append(f"{name}: {seconds:.3g} s for images of {' x '.join(map(str, space))} voxels")
        if isinstance(method, Model) and method.limited:
            lines.append(f"{name}: {method.limited}")
        for key, quantity in system.quantities.items():
            if key not in predictions:
                continue
            estimate = as_maps(
                np.asarray(predictions[key], np.float32), system.kind, turned.shape[:-1]
            )
            estimate = np.where(empty, np.float32(np.nan), placed.back(estimate))
            file = map_file(output, path, name, quantity.bids or key)
            about = {"InputUnits": "; ".join(known)}
            write_map(file, estimate, quantity, images, system, method=name, about=about)
            lines.append(f"{file}: {_summary(key, quantity, estimate)}")
            maps[key][name] = estimate / factor(quantity.unit)
    sides = np.linalg.norm(images.affine[:3, :3], axis=0).tolist()
    pictures = []
    for key, by_method in maps.items() if len(space) > 1 else ():
        if by_method:
            picture, title = output / f"{key}.png", labelled(key, system.quantities[key].unit)
            draw_measured(picture, by_method, title, None if images.header is None else sides)
            caption = f"{key} of {path.name}, a plane through the middle; white where there is no "
            pictures.append((picture, f"{caption}signal."))
    return Section(title=f"Measured images: {path.name}", paragraphs=lines, pictures=pictures)


def map_file(output: Path, images: Path, method: str, suffix: str) -> Path:
    """Where a map of a method goes, ``<stem>[_desc-<method>]_<suffix>.nii.gz``, by BIDS's names."""
    stem = results_stem(images, method)
    if stem.startswith("sub-"):  # the suffix of the images gives way to that of the map
        stem = "_".join(entity for entity in stem.split("_") if "-" in entity)
    return output / f"{stem}_{suffix}.nii.gz"


def write_map(
    file: Path, values: np.ndarray, quantity: Quantity | None, images: Images, system: Any,
    *, method: str, about: Mapping[str, Any],
) -> None:  # fmt: skip
    """Writes a map of SI values, of a quantity or of a pure number, in the place of the images.

    Raises:
        ConfigError: it would be written over one of them.
    """
    if file.resolve() in {source.resolve() for source in images.sources}:
        raise ConfigError("output", str(file.parent), "another folder than that of the images")
    unit = "1" if quantity is None else unit_of_map(quantity)
    told = sidecar(method, unit, images.sources) | {
        "EstimationReference": f"system {system.name} of ipads_stream",
        "ConfigHash": config_hash(system),
        **about,
    }
    write_nifti(file, values / factor(unit), sidecar=told, affine=images.affine,
                header=images.header, source=system.name)  # fmt: skip


def _images(system: System, path: Path) -> Images:
    """The images of a file, or of the raw lines in a ``.npz`` file."""
    if path.suffix != ".npz":
        return read_images(path)
    if not isinstance(system, Reconstructing):
        raise ConfigError("data", str(path), f"images: {system.name} takes no raw lines")
    values = system.reconstructed(read_shot(path))
    note = "raw lines: odd and even ones aligned, coils unfolded by their calibration"
    return Images(values=values, header=None, affine=np.eye(4), scanner=None, sources=(path,),
                  sidecar={}, notes=(note,))  # fmt: skip


def axis_of(
    system: Measurable,
    sidecar: Mapping[str, Any],
    axis: Sequence[float | int] | None,
    unit: str | None,
    count: int,
) -> tuple[np.ndarray | None, str]:
    """The values of the last axis of ``count`` images in SI, (N,), and where they are from.

    That is the configuration or else the sidecar; None: neither has them. Of a system that needs
    several numbers of each image the others are from the sidecar, (1 + further, N).

    Raises:
        ConfigError: no numbers, another count, a unit of another kind, times that can only be ms.
    """
    key, si = system.axis
    if axis is None:
        if unit is not None:
            raise ConfigError("axis_unit", unit, "null, unless axis is given")
        given, source, scale = sidecar.get(key), "data", factor(si)
        if given is None:
            return None, f"no {key} in a sidecar: taken to be that of the system"
        how = f"{key} of the sidecar, {si}"
    else:
        kind = dimension(si)
        if not isinstance(axis, (list, tuple)):
            raise ConfigError("axis", axis, f"a list of values, one for each of {count} images")
        if unit is None:
            unit = next(name for name in units_of(kind) if factor(name) == 1.0)
        if unit not in UNITS or dimension(unit) != kind:
            allowed = f"one of {', '.join(units_of(kind))}, as {key} has"
            raise ConfigError("axis_unit", unit, allowed)
        given, source, scale = axis, "axis", factor(unit)
        how = f"{key} of axis, {unit}"
    values = _axis(source, key, given, count, scale, dimension(si))
    if not isinstance(system, SeveralAxes):
        return values, how
    rows, names = [values], [how]
    for keys, si in system.further_axes:
        key = next((key for key in keys if key in sidecar), "")
        if not key:
            raise ConfigError("data", f"no {keys[0]} in a sidecar", f"{' or '.join(keys)}, {si}")
        rows.append(_axis("data", key, sidecar[key], count, factor(si), dimension(si)))
        names.append(f"{key} of the sidecar, {si}")
    return np.stack(rows), "; ".join(names)


def _axis(source: str, key: str, given: Any, count: int, scale: float, kind: str) -> np.ndarray:
    """Finite numbers, one for each image, in SI; one number stands for all."""
    given = given if isinstance(given, (list, tuple)) else [given] * count
    numbers = [x for x in given if isinstance(x, (int, float)) and not isinstance(x, bool)]
    values = np.array(numbers, dtype=np.float64) * scale
    if len(numbers) != len(given) or not np.isfinite(values).all():
        raise ConfigError(source, f"{key} {given}", "finite numbers")
    if len(values) != count:
        allowed = f"one for each of the {count} images along the last axis"
        raise ConfigError(source, f"{len(values)} values of {key}", allowed)
    if kind == "time" and values.size and values.max() > LONGEST:
        allowed = f"times of at most {LONGEST:g} s; is the unit ms?"
        raise ConfigError(source, f"{key} of {values.max():g} s", allowed)
    return values


def unit_of_map(quantity: Quantity) -> str:
    """That of BIDS where it is of the quantity's kind, else the quantity's."""
    unit = BIDS_UNITS.get(quantity.bids, quantity.unit)
    return unit if dimension(unit) == dimension(quantity.unit) else quantity.unit


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
