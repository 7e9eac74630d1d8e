"""Fields of vectors, such as displacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_maps
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import factor
from ipads_stream.data.images import read_images
from ipads_stream.data.nifti import stem_of_results, write_nifti
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks import Metric, Settings, sample_means
from ipads_stream.evaluation.tasks.pictures import draw_vectors
from ipads_stream.evaluation.tasks.quantities.placement import placement
from ipads_stream.evaluation.tasks.sample_means import SampleMeans, results_stem, sidecar
from ipads_stream.report.page import Section
from ipads_stream.systems import System
from ipads_stream.systems.base import Quantified

LONG = 0.1  # of the range's end: shorter vectors have no direction to speak of


@dataclass(frozen=True, kw_only=True)
class Vectors(SampleMeans):
    """Vectors of a system's quantities, each (B, components, X, Y[, Z]) in SI; ``mask``: where."""

    name: ClassVar[str] = "vectors"
    metric: ClassVar[Metric] = Metric("epe", "end-point error")
    definitions: ClassVar[Mapping[str, str]] = {
        "end-point error, its 95th percentile": "Length of estimate − truth: mean and 95th "
        "percentile over the points of a sample inside the mask.",
        "RMSE of a component": "Root mean square of estimate − truth along one axis, inside the "
        "mask.",
        "angular error": "Mean angle between estimate and truth, where the truth is longer than a "
        "tenth of the largest value of the range.",
        **sample_means.SHARED_DEFINITIONS,
    }

    def targets(self, system: System) -> Mapping[str, Quantity]:
        if not isinstance(system, Quantified) or not system.quantities:
            allowed = "a system with kind and quantities: the ranges of its vectors"
            raise ConfigError("system", system.name, allowed)
        return system.quantities

    def metrics(self, comparison: Comparison, target: str) -> Sequence[Metric]:
        unit = comparison.quantities[target].unit
        components = "xyz"[: comparison.truths[target].shape[1]]
        return (
            Metric("epe", "end-point error", unit),
            Metric("epe_95", "its 95th percentile", unit),
            *(Metric(f"rmse_{axis}", f"RMSE of {axis}", unit) for axis in components),
            Metric("angle", "angular error", "deg"),
        )

    def score(
        self, comparison: Comparison, target: str, row: int, estimate: Any
    ) -> Sequence[float]:
        quantity, truth = comparison.quantities[target], comparison.truths[target][row]
        counts = sample_means.where(comparison, target, row) & np.isfinite(truth).all(axis=0)
        counts = counts if counts.ndim < truth.ndim else counts.all(axis=0)
        if not counts.any():
            return [np.nan] * (3 + len(truth))
        error = (estimate - truth)[:, counts].astype(float) / factor(quantity.unit)
        lengths = np.linalg.norm(error, axis=0)
        least = LONG * max(abs(quantity.low), abs(quantity.high))
        return [
            float(lengths.mean()),
            float(np.quantile(lengths, 0.95)),
            *np.sqrt((error**2).mean(axis=1)),
            angular_error(estimate, truth, counts, least),
        ]

    def draw(
        self, system: System, comparison: Comparison, target: str, sample: int, path: Path
    ) -> str:
        unit, truth = comparison.quantities[target].unit, comparison.truths[target][sample]
        estimates = sample_means.estimates_of(comparison, target, sample)
        fields = {name: values / factor(unit) for name, values in estimates.items()}
        inside = None if comparison.mask is None else comparison.mask[sample]
        title = f"{target} ({unit})"
        draw_vectors(path, fields, title, truth=truth / factor(unit), inside=inside)
        return "arrows on the lengths of the vectors, and the end-point error, on one scale each"

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        """Vectors of measured images, NIfTI or ``.npy``, as NIfTI of the intent "vector"."""
        assert isinstance(system, Quantified)
        path = Path(settings.data)
        images = read_images(path)
        if note := placement(system, images).note:
            raise ConfigError("data", note, "the axes of the system: vectors are not turned")
        space, empty = images.values.shape[:-1], (images.values == 0).all(axis=-1)
        by_method = self.predictions(methods, system, settings.data, images.values)
        lines, pictures = list(images.notes), []
        for target, quantity in system.quantities.items():
            fields = {}
            for name, predictions in by_method.items():
                if target not in predictions:
                    continue
                components = np.moveaxis(predictions[target] / factor(quantity.unit), 1, 0)
                maps = [as_maps(part, system.kind, space) for part in components]
                fields[name] = field = np.where(empty, np.nan, np.stack(maps))
                file = output / f"{results_stem(path, name)}_{target}.nii.gz"
                about = sidecar(name, quantity.unit, images.sources)
                write_nifti(file, np.moveaxis(field, 0, -1), sidecar=about, affine=images.affine,
                            header=images.header, is_vector=True)  # fmt: skip
                longest = f"{np.nanmax(np.linalg.norm(field, axis=0)):.3g} {quantity.unit}".rstrip()
                lines.append(f"{file}: {target}, at most {longest} long")
            picture = output / f"{stem_of_results(path)}_{target}.png"
            draw_vectors(picture, fields, f"{target} ({quantity.unit})")
            pictures.append((picture, f"{target} of {path.name}: arrows on their lengths."))
        return [Section(title=path.name, paragraphs=lines, pictures=pictures)]


def angular_error(
    estimate: Float[np.ndarray, "K X ..."],
    truth: Float[np.ndarray, "K X ..."],
    inside: Bool[np.ndarray, "X ..."],
    least: float,
) -> float:
    """Mean angle between two fields, deg, where the truth is longer than ``least``; NaN: nowhere.

    An estimate of length 0 is taken to be 90 degrees off.
    """
    length = np.linalg.norm(truth, axis=0)
    counts = inside & (length > least)
    if not counts.any():
        return float("nan")
    product = np.sum(estimate * truth, axis=0)[counts].astype(float)
    both = (np.linalg.norm(estimate, axis=0) * length)[counts].astype(float)
    cosine = np.divide(product, both, out=np.zeros_like(product), where=both > 0)
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0))).mean())
