"""Spectra: without noise, apart by component, and the amounts of what makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import json_text, replacing, write_text
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.units import factor
from ipads_stream.data.nifti import stem_of_results
from ipads_stream.data.raw import read_fids
from ipads_stream.evaluation.comparison import Comparison, Findings
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks import Metric, Settings, sample_means
from ipads_stream.evaluation.tasks.pictures import draw_spectra
from ipads_stream.evaluation.tasks.sample_means import SampleMeans, interval, results_stem
from ipads_stream.report.page import Column, Picture, Section, Table
from ipads_stream.systems import Spectral, System
from ipads_stream.systems.base import Quantified

SPECTRA = "spectra"  # target, and the input that a gain of signal to noise is counted from
RLNE, CORRELATION = Metric("rlne", "RLNE"), Metric("r", "r", "", "high")
GAIN = Metric("gain", "SNR gain", "dB", "high")


@dataclass(frozen=True, kw_only=True)
class Spectra(SampleMeans):
    """The complex target ``spectra``, (B, points) or (B, components, points), and quantities.

    The quantities of a system that has any, such as amounts, are further targets, one number each.
    """

    name: ClassVar[str] = "spectra"
    metric: ClassVar[Metric] = RLNE
    definitions: ClassVar[Mapping[str, str]] = {
        "RLNE": "‖estimate − truth‖ / ‖truth‖ of a sample's complex spectra.",
        "r": "Pearson's correlation of the real parts, over all points of a sample.",
        "SNR gain": "20 log10 of ‖input − truth‖ / ‖estimate − truth‖, where the input is a "
        "spectrum with noise.",
        "mean |error|, bias": "Mean magnitude and mean of estimate − truth of an amount.",
        **sample_means.SHARED_DEFINITIONS,
    }

    def targets(self, system: System) -> Mapping[str, Quantity]:
        if not isinstance(system, Spectral):
            allowed = "a system with components and ppm, as task = spectra needs"
            raise ConfigError("system", system.name, allowed)
        amounts = system.quantities if isinstance(system, Quantified) else {}
        return {SPECTRA: Quantity(low=0.0, high=1.0), **amounts}  # spectra have no unit

    def metrics(self, comparison: Comparison, target: str) -> Sequence[Metric]:
        if target != SPECTRA:
            unit = comparison.quantities[target].unit
            return Metric("error", "mean |error|", unit), Metric("bias", "bias", unit, "")
        noisy = comparison.inputs.get(SPECTRA)
        has_gain = noisy is not None and noisy.shape == comparison.truths[SPECTRA].shape
        return (RLNE, CORRELATION, GAIN) if has_gain else (RLNE, CORRELATION)

    def score(
        self, comparison: Comparison, target: str, row: int, estimate: Any
    ) -> Sequence[float]:
        truth = comparison.truths[target][row]
        if target != SPECTRA:
            error = float(estimate - truth) / factor(comparison.quantities[target].unit)
            return abs(error), error
        error = float(rlne(estimate, truth))
        r = correlation(estimate.real, truth.real)
        if GAIN not in self.metrics(comparison, target):
            return error, r
        before = float(rlne(comparison.inputs[SPECTRA][row], truth))
        is_finite = error > 0 and before > 0
        return error, r, 20 * np.log10(before / error) if is_finite else np.nan

    def errors(self, comparison: Comparison, method: str) -> np.ndarray:
        if SPECTRA not in comparison.estimates[method]:
            return np.full(comparison.num_samples(method), np.nan)
        return self.sample_scores(comparison, SPECTRA, method)["rlne"]

    def sections(self, findings: Findings, output: Path) -> list[Section]:
        ((_, comparison),) = findings.comparisons
        first, *others = super().sections(findings, output)
        names, rows = _names(findings.system, comparison.truths[SPECTRA]), []
        if len(names) < 2:
            return [first, *others]
        for place, name in enumerate(names):
            truths = comparison.truths[SPECTRA][:, place]
            for method in comparison.methods(SPECTRA):
                pairs = list(
                    zip(comparison.estimates[method][SPECTRA][:, place], truths, strict=False)
                )
                errors = interval("rlne", np.array([rlne(e, t) for e, t in pairs]))
                r = interval("r", np.array([correlation(e.real, t.real) for e, t in pairs]))
                rows.append({"component": name, "method": method, **errors, **r})
        heads = (Column("component", "component"), Column("method", "method"))
        columns = *heads, *sample_means.columns_of((RLNE, CORRELATION))
        table = Table(columns=columns, rows=rows, group=("component",))
        return [first, Section(title="components", tables=[table]), *others]

    def pictures(
        self, system: System, comparison: Comparison, target: str, output: Path
    ) -> list[Picture]:
        return super().pictures(system, comparison, target, output) if target == SPECTRA else []

    def draw(
        self, system: System, comparison: Comparison, target: str, sample: int, path: Path
    ) -> str:
        assert isinstance(system, Spectral)
        truths = comparison.truths[target]
        estimates = sample_means.estimates_of(comparison, target, sample)
        draw_spectra(path, estimates, _names(system, truths), system.ppm, truth=truths[sample])
        return "real parts, the truth in black"

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        """Spectra of measured signals (data/raw.py) as ``.npy``, amounts as ``.json``."""
        assert isinstance(system, Spectral)
        path = Path(settings.data)
        by_method = self.predictions(methods, system, settings.data, read_fids(path))
        lines, first = [], {}
        for name, predictions in by_method.items():
            stem = results_stem(path, name)
            if SPECTRA in predictions:
                file = output / f"{stem}_spectra.npy"
                with replacing(file) as partial, partial.open("wb") as stream:
                    np.save(stream, predictions[SPECTRA])
                first[name] = predictions[SPECTRA][0]
                lines.append(f"{file}: complex spectra of shape {predictions[SPECTRA].shape}")
            amounts = {}
            for key, quantity in self.targets(system).items():
                if key != SPECTRA and key in predictions:
                    values = predictions[key] / factor(quantity.unit)
                    amounts[f"{key} ({quantity.unit})"] = values.tolist()
            if amounts:
                file = output / f"{stem}_amounts.json"
                write_text(file, json_text(amounts, 1))
                lines.append(f"{file}: {', '.join(amounts)}")
        if not first:
            return [Section(title=path.name, paragraphs=lines)]
        picture = output / f"{stem_of_results(path)}_spectra.png"
        draw_spectra(picture, first, _names(system, np.stack(list(first.values()))), system.ppm)
        caption = f"Real parts of the spectra of {path.name}, first row."
        return [Section(title=path.name, paragraphs=lines, pictures=[(picture, caption)])]


def correlation(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's, of real arrays of one shape; NaN where one does not vary."""
    x, y = (values.ravel() - values.mean(dtype=float) for values in (estimate, truth))
    spread = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / spread) if spread > 0 else float("nan")


def _names(system: System, spectra: np.ndarray) -> tuple[str, ...]:
    """Of the components of spectra (B, points) or (B, components, points)."""
    assert isinstance(system, Spectral)
    names = tuple(system.components)
    expected = spectra.shape[1] if spectra.ndim == 3 else 0
    if len(names) != expected:
        allowed = f"{expected} names, as the target spectra has components"
        raise ConfigError("system.components", names, allowed)
    return names or ("spectrum",)
