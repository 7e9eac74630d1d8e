"""Physical quantities of voxels, slices or volumes, beside the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.core.quantity import Quantity
from ipads_stream.evaluation.comparison import Comparison, Findings
from ipads_stream.evaluation.tasks import Metric, Settings
from ipads_stream.evaluation.tasks.quantities import calibration, figures, images
from ipads_stream.evaluation.tasks.quantities import scores as scoring
from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED
from ipads_stream.evaluation.tasks.quantities.scores import BOUND, error_key
from ipads_stream.evaluation.tasks.sample_means import ByTarget, verdict
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.page import Column, Picture, Section
from ipads_stream.systems import System
from ipads_stream.systems.base import Gridded, Quantified

SAMPLES = {
    "full": {"voxel": 20_000, "slice": 64, "volume": 8},
    "quick": {"voxel": 4000, "slice": 16, "volume": 3},
}
AT_ONCE = {"voxel": 4096, "slice": 16, "volume": 1}

DEFINITIONS = {
    "RMSE, bias, mean |error|": "Root mean square, mean and mean magnitude of estimate − truth, "
    "over all values that count (inside the mask), in the unit of the quantity.",
    "log-RMSE": "Root mean square of ln(estimate / truth): 0.1 is 10 %. Of quantities on a "
    "logarithmic scale.",
    "NRMSE, NMSE": "‖estimate − truth‖ / ‖truth‖ over all values, and its square.",
    "r, slope, intercept": "Pearson's correlation, and the least-squares line of the estimate over "
    "the truth: slope 1 and intercept 0 are right.",
    "missing": "Share of the values where a method found none; they count in no other score.",
    "over the bound": "Root mean square of error / standard deviation of the Cramer-Rao bound, "
    "sample by sample; no unbiased estimate has less than 1. A biased one can: a "
    "network that knows the distribution of the training data is drawn to its middle.",
    "[95 %]": "Percentile bootstrap interval over samples.",
    "time": "Wall time per sample in one call on all of them, after one that compiles.",
    "*": "Best value of its column, as rounded; methods that were given fewer samples are not "
    "compared, the bound is no method.",
}


@dataclass(frozen=True, kw_only=True)
class Quantities(ByTarget):
    """Quantities that a system names, with their units and ranges.

    Attributes:
        axis: values along the last axis of images, in ``axis_unit``; None: as their sidecar says.
        axis_unit: of ``axis``; None: SI.
    """

    axis: Any = ruled(Numbers(optional=True), None)
    axis_unit: Any = None

    name: ClassVar[str] = "quantities"
    metric: ClassVar[Metric] = Metric("nrmse", "NRMSE")
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS
    keys_of_files: ClassVar[Sequence[str]] = ("methods", "axis", "axis_unit")
    row_key: ClassVar[str] = "quantity"

    def targets(self, system: System) -> Mapping[str, Quantity]:
        if not isinstance(system, Quantified) or not system.quantities:
            allowed = "a system with kind and quantities, as task = quantities needs"
            raise ConfigError("system", system.name, allowed)
        if system.kind not in AT_ONCE:
            raise ConfigError("system.kind", system.kind, f"one of {', '.join(AT_ONCE)}")
        return system.quantities

    def num_samples(self, system: System, subset: str, is_measured: bool) -> int:
        assert isinstance(system, Quantified)
        return SAMPLES[subset][system.kind]

    def at_once(self, system: System) -> int:
        assert isinstance(system, Quantified)
        return AT_ONCE[system.kind]

    def network_methods(self, model: Any) -> dict[str, Method]:
        corrected = calibration.posterior_of(model)
        return {NETWORK: model} | ({} if corrected is None else {CORRECTED: corrected})

    def scores(self, comparison: Comparison) -> list[dict[str, Any]]:
        return scoring.scores(comparison)

    def sections(self, findings: Findings, output: Path) -> list[Section]:
        ((_, comparison),) = findings.comparisons
        found = calibration.section(findings.model, comparison, output)
        return [*super().sections(findings, output), *([] if found is None else [found])]

    def errors(self, comparison: Comparison, method: str) -> np.ndarray:
        """The root mean square over the quantities of NRMSE."""
        names = comparison.estimates[method]
        each = [scoring.sample_scores(comparison, name, method)["nmse"] for name in names]
        return np.sqrt(np.mean(each, axis=0))

    def sample_scores(
        self, comparison: Comparison, target: str, method: str
    ) -> dict[str, np.ndarray]:
        return {"nrmse": scoring.sample_scores(comparison, target, method)["nrmse"]}

    def columns(self, comparison: Comparison, target: str) -> Sequence[Column]:
        quantity = comparison.quantities[target]
        unit = f" ({quantity.unit})" if quantity.unit not in ("", "1") else ""
        ends = ("log_rmse_low", "log_rmse_high")
        log = Column("log-RMSE [95 %]", "log_rmse", ".3g", 1.0, ends, "low")
        return (
            Column("method", "method"),
            Column("samples", "samples"),
            Column(f"RMSE{unit} [95 %]", "rmse", ".3g", 1.0, ("rmse_low", "rmse_high"), "low"),
            *([log] if quantity.scale == "log" else []),
            Column(f"bias{unit}", "bias", "+.2g"),
            Column(f"mean |error|{unit}", "mae", ".3g", best="low"),
            Column("NRMSE", "nrmse", ".3f", best="low"),
            Column("NMSE", "nmse", ".2g", best="low"),
            Column("r", "r", ".4f", best="high"),
            Column("slope [95 %]", "slope", ".3f", 1.0, ("slope_low", "slope_high")),
            Column(f"intercept{unit}", "intercept", "+.2g"),
            Column("missing (%)", "missing", ".2g", 100.0),
            Column("over the bound", "bound_ratio", ".3f"),
            Column("time per sample (ms)", "seconds_per_sample", ".3g", 1e3),
        )

    def ratios(self, comparison: Comparison, target: str) -> dict[str, dict[str, Any]]:
        score = error_key(comparison.quantities[target])
        methods = comparison.methods(target)
        others = [name for name in methods if name != NETWORK] if NETWORK in methods else []
        return {
            other: scoring.paired(comparison, target, NETWORK, other, score=score)
            for other in others
        }

    def sentence(self, findings: Findings, target: str) -> str:
        """Network, best classical method, and bound."""
        ((_, comparison),) = findings.comparisons
        quantity = comparison.quantities[target]
        key = error_key(quantity)
        by_method = {row["method"]: row for row in findings.rows if row["quantity"] == target}
        network, bound = by_method.get(NETWORK), by_method.get(BOUND)
        if network is None or network[key] is None:
            return f"{target}: the network's error is not defined."
        title = {"log_rmse": "log-RMSE", "rmse": "RMSE"}[key]
        unit = quantity.unit if key == "rmse" and quantity.unit != "1" else ""
        text = verdict(target, title, network[key], unit, self.ratios(comparison, target))
        unit = f" {unit}" if unit else ""
        if bound is not None and bound.get(key) is not None:
            text += f"; the Cramer-Rao bound is {bound[key]:.3g}{unit}"
            if bound[key] > 2 * bound["median_sd"]:
                text += f", its median over samples {bound['median_sd']:.3g}{unit}"
        return text + "."

    def draw(
        self, system: System, comparison: Comparison, target: str, sample: int, path: Path
    ) -> str:
        spacing = None  # from voxel to voxel of a map, mm, where the system knows
        shape = comparison.truths[target].shape[1:]
        if isinstance(system, Gridded) and len(system.grid.field_of_view) == len(shape):
            sides = zip(system.grid.field_of_view, shape, strict=True)
            spacing = [1e3 * side / count for side, count in sides]
        figures.maps(comparison, target, path, sample=sample, spacing=spacing)
        return "true and estimated maps, and what each misses, on one scale each"

    def pictures(
        self, system: System, comparison: Comparison, target: str, output: Path
    ) -> list[Picture]:
        is_map = comparison.truths[target].ndim > 2
        relative = "; in % of the mean" if comparison.quantities[target].scale == "log" else ""
        pictures = super().pictures(system, comparison, target, output) if is_map else []
        pictures += [
            (
                figures.scatter(comparison, target, output / f"{target}_scatter.png"),
                f"Estimated over true {target}: darker where there are more; on the line is right. "
                "Estimates outside the range of the truth are drawn at its border.",
            ),
            (
                figures.bland_altman(comparison, target, output / f"{target}_differences.png"),
                f"Bland-Altman plots of {target}: difference over mean of estimate and truth, the "
                f"mean difference and 1.96 standard deviations around it{relative}.",
            ),
        ]
        if not is_map:
            path = figures.error_against(comparison, target, target, output / f"{target}_error.png")
            caption = f"Error over the true {target}, in bins of equally many samples."
            pictures.append((path, caption))
        return pictures

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        used, path = self.used(methods), Path(settings.data)
        section = images.apply_to_images(
            used, system, path, output, axis=self.axis, unit=self.axis_unit
        )
        return [section]
