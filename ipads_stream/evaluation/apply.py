"""The posterior of every voxel of measured images, and whether they are what was simulated."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ipads_stream.acquisition.noise_level import UNEXPLAINED
from ipads_stream.baselines.importance import HOW, Corrected
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.core.images import as_maps
from ipads_stream.data import bids
from ipads_stream.data.images import Images, read_images
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.misfit import Misfit, misfit
from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED, posterior_of
from ipads_stream.evaluation.tasks.quantities.images import axis_of, map_file, write_map
from ipads_stream.report.figures import NETWORK
from ipads_stream.systems.base import B1Mapped, Measurable, OverNoise, System

PERCENT = 10.0  # median of a map of B1 from which it is in percent
WORDS = {"sd": "standard deviation of the posterior", "": "posterior mean",
         "misfit": "p of chi-square", "effective": "effective sample size over the points",
         "method": "; ".join(f"{i}: {x}" for i, x in enumerate(HOW))}  # fmt: skip


def apply(model: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """Writes maps of the posterior mean, its standard deviation and the misfit of measured images.

    ``<stem>_<suffix>.nii.gz`` holds a quantity, ``desc-sd`` its standard deviation, ``desc-misfit``
    p of chi-square and ``desc-effective`` the effective sample size over the points; NaN where all
    images are 0. Sidecars have units, sources, where the noise is from, and the verdict. Of a
    folder, such as a BIDS data set, all series are read that the system knows by their names; one
    that is refused does not stop the others.

    Args:
        model: trained network, of ``load_model``.
        config: as conf/apply.yaml.

    Yields:
        Sentences: what was read and written, and the verdict.

    Raises:
        ConfigError: a network without a posterior, or data that do not fit it.
    """
    corrected, checkpoint = posterior_of(model), config["checkpoint"]
    if corrected is None:
        raise ConfigError("checkpoint", checkpoint, "a network that answers posteriors")
    system, path = corrected.system, Path(config["data"])
    if not (isinstance(system, Measurable) and isinstance(system, System)):
        raise ConfigError("checkpoint", checkpoint, "a system that takes images")
    if not path.is_dir():
        yield from applied(corrected, path, Path(config["output"] or "maps"), config)
        return
    if not isinstance(system, OverNoise):
        raise ConfigError("data", str(path), f"a file: {system.name} knows no names of images")
    output = Path(config["output"] or path / bids.DERIVATIVES)
    files, refused = bids.series(path, system.series), []
    bids.describe_derivatives(output, path)
    for file in tqdm(files, unit="series", disable=not sys.stderr.isatty()):
        try:
            yield from applied(corrected, file, output / file.parent.relative_to(path), config)
        except ConfigError as error:
            refused.append(f"{file.relative_to(path)}: {error}")
    yield f"{len(files) - len(refused)} of {len(files)} series are in {output}"
    if refused:
        raise ConfigError("data", "; ".join(refused), f"as trained; the others are in {output}")


@expected()  # what differs from the training is told with the maps
def applied(corrected: Corrected, path: Path, output: Path, config: Mapping[str, Any]) -> list[str]:
    """As :func:`apply`, of one series of images."""
    system: Any = corrected.system
    images = read_images(path)
    given, count = images.values, images.values.shape[-1]
    axis, how = axis_of(system, images.sidecar, config["axis"], config["axis_unit"], count)
    notes = [*images.notes, how]
    if isinstance(system, OverNoise):
        sigma, origin = Number(above=0, optional=True)("noise", config["noise"]), "given"
        if sigma is None:
            sigma, origin = system.noise(given, axis)
        notes.append(f"noise {sigma:.4g}, {origin}")
        inputs = system.measured(given, axis, sigma)
    else:
        origin, inputs = "", system.measured(given, axis)
    if isinstance(system, B1Mapped):
        B1, note = b1_map(path, config["B1"], given.shape[:-1])
        inputs = inputs if B1 is None else system.with_B1(inputs, B1.ravel())
        notes.append(note or f"no map of B1: {system.without_B1}")
    elif config["B1"] is not None:
        raise ConfigError("B1", config["B1"], f"null: {system.name} takes no map of B1")
    inside = (given != 0).any(axis=-1)
    inputs = {name: np.asarray(x)[inside.ravel()] for name, x in inputs.items()}
    maps, found = posterior_maps(corrected, inputs, is_noise_fitted=origin == UNEXPLAINED)
    said = "; ".join(note for note in notes if note)
    about = {"InputUnits": said, "Verdict": found.sentence()}
    lines = [f"{path.name}: {said}"]
    for (name, description), values in maps.items():
        file = written(images, inside, path, output, system, name, description, values, about)
        lines.append(f"{file}: median {np.median(values) if len(values) else np.nan:.4g} (SI)")
    return [*lines, f"Verdict: {about['Verdict']}."]


def b1_map(path: Path, given: str | None, shape: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
    """B1 over nominal, in the shape of the images of a path, and where it is from; None: of none.

    It is NaN where the map holds nothing.

    Raises:
        ConfigError: by ``B1``: another shape, or complex numbers.
    """
    file = bids.field_map(path, "TB1map") if given is None else Path(given)
    if file is None:
        return None, ""
    values = read_images(file).values
    if values.shape != (*shape, 1) or np.iscomplexobj(values):
        raise ConfigError("B1", f"{file.name} of shape {values.shape}", f"a map of shape {shape}")
    known = values[values > 0]
    in_percent = bool(known.size) and float(np.median(known)) > PERCENT
    values = np.where(values > 0, values * (0.01 if in_percent else 1.0), np.nan)
    return values[..., 0], f"B1 of {file.name}, {'%' if in_percent else 'over nominal'}"


def posterior_maps(
    corrected: Corrected, inputs: Mapping[str, np.ndarray], *, is_noise_fitted: bool = False
) -> tuple[dict[tuple[str, str], np.ndarray], Misfit]:
    """Values of all voxels by quantity and description, SI, and their misfit."""
    names, count = list(corrected.system.quantities), len(next(iter(inputs.values())))
    keys = [(name, part) for name in names for part in ("", "sd")]
    keys += [("misfit", "misfit"), ("effective", "effective"), ("method", "method")]
    maps = {key: np.full(count, np.nan) for key in keys}
    for rows, part in tqdm(corrected.parts(inputs), leave=False, disable=not sys.stderr.isatty()):
        for name in names:
            maps[name, ""][rows] = part.estimates[name]
            maps[name, "sd"][rows] = part.deviations[name]
        maps["effective", "effective"][rows] = part.effective / corrected.points
        maps["method", "method"][rows] = part.how
    estimates = {name: maps[name, ""] for name in names}
    found = misfit(corrected.system, dict(inputs), estimates, is_noise_fitted)
    maps["misfit", "misfit"] = found.p
    return maps, found


def written(
    images: Images, inside: np.ndarray, path: Path, output: Path, system: Any,
    name: str, description: str, values: np.ndarray, about: Mapping[str, Any],
) -> Path:  # fmt: skip
    """Writes a map of the voxels inside in the place of the images, and says where."""
    quantity = system.quantities.get(name)
    whole = np.full(inside.shape, np.nan, np.float32)
    whole[inside] = values
    whole = as_maps(whole.ravel(), "voxel", inside.shape)
    suffix = name if quantity is None else quantity.bids or name
    file = map_file(output, path, description or NETWORK, suffix)
    told = dict(about) | {"Description": WORDS[description]}
    write_map(file, whole, quantity, images, system, method=CORRECTED, about=told)
    return file
