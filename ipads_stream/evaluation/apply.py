"""The posterior of every voxel of measured images, and whether they are what was simulated."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ipads_stream.baselines.importance import HOW, Corrected
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_maps
from ipads_stream.data.images import Images, read_images
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.misfit import Misfit, misfit
from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED, posterior_of
from ipads_stream.evaluation.tasks.quantities.images import axis_of, write_map
from ipads_stream.evaluation.tasks.sample_means import results_stem
from ipads_stream.report.figures import NETWORK
from ipads_stream.systems.base import Measurable, System


@expected()  # what differs from the training is told with the maps
def apply(model: Any, config: Mapping[str, Any]) -> list[str]:
    """Writes maps of the posterior mean, its standard deviation and the misfit of measured images.

    ``<stem>_<suffix>.nii.gz`` holds a quantity, ``desc-sd`` its standard deviation, ``desc-misfit``
    p of chi-square and ``desc-effective`` the effective sample size over the points; NaN where all
    images are 0. Sidecars have units, sources and the sentence of the verdict.

    Args:
        model: trained network, of ``load_model``.
        config: as conf/apply.yaml.

    Returns:
        Sentences: what was read and written, and the verdict.

    Raises:
        ConfigError: a network without a posterior, or data that do not fit it.
    """
    corrected = posterior_of(model)
    if corrected is None:
        raise ConfigError("checkpoint", config["checkpoint"], "a network that answers posteriors")
    system = corrected.system
    if not isinstance(system, Measurable) or not isinstance(system, System):
        raise ConfigError("checkpoint", config["checkpoint"], "a system that takes images")
    path = Path(config["data"])
    images, output = read_images(path), Path(config["output"])
    given = images.values
    axis, how = axis_of(
        system, images.sidecar, config["axis"], config["axis_unit"], given.shape[-1]
    )
    inside = (given != 0).any(axis=-1)
    inputs = {name: np.asarray(x) for name, x in system.measured(given, axis).items()}
    inputs = {name: x[inside.ravel()] for name, x in inputs.items()}
    maps, found = posterior_maps(corrected, inputs)
    notes = [note for note in (*images.notes, how) if note]
    verdict = found.sentence()
    about = {"InputUnits": "; ".join(notes), "Verdict": verdict}
    lines = [f"{path.name}: {'; '.join(notes)}"]
    for (name, description), values in maps.items():
        file = written(images, inside, path, output, system, name, description, values, about)
        lines.append(f"{file}: median {np.median(values) if len(values) else np.nan:.4g} (SI)")
    return [*lines, f"Verdict: {verdict}."]


def posterior_maps(
    corrected: Corrected, inputs: Mapping[str, np.ndarray]
) -> tuple[dict[tuple[str, str], np.ndarray], Misfit]:
    """Values of all voxels by quantity and description, SI, and their misfit."""
    names, count = list(corrected.system.quantities), len(next(iter(inputs.values())))
    keys = [(name, part) for name in names for part in ("", "sd")]
    keys += [("misfit", "misfit"), ("effective", "effective"), ("method", "method")]
    maps = {key: np.full(count, np.nan) for key in keys}
    for rows, part in tqdm(corrected.parts(inputs), disable=not sys.stderr.isatty()):
        for name in names:
            maps[name, ""][rows] = part.estimates[name]
            maps[name, "sd"][rows] = part.deviations[name]
        maps["effective", "effective"][rows] = part.effective / corrected.points
        maps["method", "method"][rows] = part.how
    found = misfit(corrected.system, dict(inputs), {name: maps[name, ""] for name in names})
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
    stem = results_stem(path, description or NETWORK)
    suffix = name if quantity is None else quantity.bids or name
    file = output / f"{stem}_{suffix}.nii.gz"
    words = {"sd": "standard deviation of the posterior", "": "posterior mean",
             "misfit": "p of chi-square", "effective": "effective sample size over the points",
             "method": "; ".join(f"{i}: {x}" for i, x in enumerate(HOW))}  # fmt: skip
    told = dict(about) | {"Description": words[description]}
    write_map(file, whole, quantity, images, system, method=CORRECTED, about=told)
    return file
