"""Network and classical methods on the same signals, simulated and measured, in one report."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.evaluation import affordable, convergence, datasets
from ipads_stream.evaluation.measured import MeasuredTest, Region, measured_test
from ipads_stream.evaluation.methods import REFINED, Method, reconstruction_methods
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.planes import Plane, read_plane, rows_between
from ipads_stream.evaluation.planes_recording import MODES, RECIPES, Recipe
from ipads_stream.evaluation.presentation import Findings, nearest_rate, present
from ipads_stream.evaluation.simulated_plane import simulated_plane
from ipads_stream.evaluation.synthetic import SyntheticTest, synthetic_test
from ipads_stream.evaluation.thresholds import thresholds_by_rate
from ipads_stream.physics.spectrum import fid as fid_of
from ipads_stream.systems import System

SYNTHETIC = "synthetic"
SUBSETS = ("full", "demo")
RATES = {"full": (0.15, 0.2, 0.25, 0.5), "demo": (0.15, 0.25, 0.5)}
SCHEDULES = {"full": 5, "demo": 2}
SIGNALS = {"full": 400, "demo": 100}
SIGNALS_BESIDE_MEASURED = 200  # at most, where the synthetic test only accompanies measured data
RATE_BESIDE_MEASURED = 0.25


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is evaluated; see conf/evaluate.yaml."""

    data: str
    subset: str
    rates: tuple[float, ...]
    schedules: int
    samples: int
    seed: int
    variable: str | None = None
    mode: str | None = None

    @staticmethod
    def of(config: Mapping[str, Any]) -> Settings:
        """Checked settings with the defaults of the subset.

        Raises:
            ConfigError: a value that makes no sense, by key.
        """
        data, subset = config.get("data", SYNTHETIC), config.get("subset", "full")
        known = (SYNTHETIC, *datasets.NAMES)
        if not isinstance(data, str) or (data not in known and not Path(data).exists()):
            allowed = f"{', '.join(known)}, or the path of a file or folder that exists"
            raise ConfigError("data", data, allowed)
        if subset not in SUBSETS:
            raise ConfigError("subset", subset, f"one of {', '.join(SUBSETS)}")
        rates = config.get("rates")
        rates = RATES[subset] if rates is None else rates
        rates = [rates] if isinstance(rates, (int, float)) else rates
        if not isinstance(rates, Sequence) or isinstance(rates, str) or not rates:
            raise ConfigError("rates", rates, "a list of shares such as [0.25,0.5]")
        for rate in rates:
            is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
            if not is_number or not 0 < rate <= 1:
                raise ConfigError("rates", rate, "numbers above 0, at most 1")
        schedules, samples = config.get("schedules"), config.get("samples")
        beside = SIGNALS[subset] if data == SYNTHETIC else SIGNALS_BESIDE_MEASURED
        return Settings(
            data=data,
            subset=subset,
            rates=tuple(sorted({float(rate) for rate in rates})),
            schedules=_whole("schedules", SCHEDULES[subset] if schedules is None else schedules, 1),
            samples=_whole(
                "samples", min(SIGNALS[subset], beside) if samples is None else samples, 2
            ),
            seed=_whole("seed", config.get("seed", 0), 0),
            variable=_of_file("variable", config, "the name of an array"),
            mode=_of_file("mode", config, f"one of {', '.join(MODES)}", MODES),
        )


def _whole(key: str, value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ConfigError(key, value, f"a whole number, at least {lowest}")
    return value


def _of_file(
    key: str, config: Mapping[str, Any], allowed: str, values: Sequence[str] = ()
) -> str | None:
    """What a file of the user's own does not say about itself; of the named data all is known."""
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or (values and value not in values):
        raise ConfigError(key, value, f"{allowed}, or null")
    if config.get("data", SYNTHETIC) in (SYNTHETIC, *datasets.NAMES):
        raise ConfigError(key, value, "null, unless data is a file or a folder")
    return value


def evaluate_model(model: Model, system: System, config: Mapping[str, Any], output: Path) -> str:
    """Tests the network beside the classical methods and writes the report.

    Leaves ``report.html``, ``results.json``, ``samples.jsonl`` and the pictures in ``output``.

    Args:
        model: trained network.
        system: that simulated its training data.
        config: as conf/evaluate.yaml; ``checkpoint`` tells where metrics.jsonl lies.
        output: folder of the report.

    Returns:
        The tables as plain text, and the path of the report.

    Raises:
        ConfigError: a key of ``config`` that cannot be used.
        UnusableData: the measured data do not give a plane.
        OSError: nothing can be written to ``output``; told before the work.
    """
    settings = Settings.of(config)
    output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output).close()
    methods = reconstruction_methods(model)
    notes: list[str] = []
    plane = _plane(settings, notes) if settings.data != SYNTHETIC else None
    measured = None if plane is None else _on_plane(plane, methods, settings, notes)
    rates = settings.rates if plane is None else (RATE_BESIDE_MEASURED,)
    synthetic = _on_signals(system, methods, rates, settings, notes)
    notes.extend(_beyond_training(system, settings.rates, plane))
    findings = Findings(
        system=system,
        plane=plane,
        synthetic=synthetic,
        measured=measured,
        courses=_courses(model, synthetic, plane, measured),
        thresholds=thresholds_by_rate(model.net, system, seed=settings.seed),
        notes=notes,
        provenance={
            "version": __version__,
            "system": system.name,
            "config_hash": config_hash(system),
            "data": settings.data if plane is None else plane.name,
            "subset": settings.subset,
            "rates": list(settings.rates),
            "schedules": settings.schedules,
            "samples": settings.samples,
            "seed": settings.seed,
            "training_seed": model.config.get("seed"),
        },
        training=_finite(
            {key: value for key, value in model.config.items() if key not in ("output", "resume")}
        ),
        log=Path(config["checkpoint"]).with_name("metrics.jsonl"),
    )
    records = "".join(json.dumps(record, allow_nan=False) + "\n" for record in synthetic.records)
    write_text(output / "samples.jsonl", records)
    write_text(output / "results.json", json.dumps(_results(findings), indent=1, allow_nan=False))
    return present(findings, output)


def _on_plane(
    plane: Plane, methods: Mapping[str, Method], settings: Settings, notes: list[str]
) -> MeasuredTest:
    times = len(settings.rates) * settings.schedules
    used, told = affordable.on_plane(methods, plane, times, settings.subset)
    notes.extend(told)
    return measured_test(
        plane,
        used,
        settings.rates,
        schedules=settings.schedules,
        regions=_regions(plane, settings),
        seed=settings.seed,
        bar=sys.stderr.isatty(),
    )


def _on_signals(
    system: System,
    methods: Mapping[str, Method],
    rates: Sequence[float],
    settings: Settings,
    notes: list[str],
) -> SyntheticTest:
    used, fewer, told = affordable.on_signals(
        methods, system, settings.samples, len(rates), settings.subset
    )
    test = synthetic_test(
        system,
        used,
        rates,
        samples=settings.samples,
        seed=settings.seed,
        fewer=fewer,
        bar=sys.stderr.isatty(),
    )
    notes.extend([*told, *affordable.on_the_same_signals(test.records, fewer)])
    return test


def _courses(
    model: Model, synthetic: SyntheticTest, plane: Plane | None, measured: MeasuredTest | None
) -> dict[str, convergence.Course]:
    """How the low-rank step converges where it was tried, at the rate nearest to 25 %."""
    found = {}
    if plane is not None and measured is not None:
        rate = nearest_rate(measured.estimates)
        if REFINED in measured.estimates[rate]:
            rows = measured.regions[-1].rows
            where = f"strongest rows of {plane.name} at {100 * rate:g} % sampling"
            found[where] = convergence.on_plane(model, plane, rows, measured.masks[rate])
    rate = nearest_rate(synthetic.samples)
    if REFINED in synthetic.estimates[rate]:
        sample = synthetic.samples[rate]
        fid, mask, target = (
            tensor.numpy()[: convergence.MOST]
            for tensor in (sample.inputs["fid"], sample.inputs["mask"], sample.targets["spectrum"])
        )
        where = f"synthetic signals at {100 * rate:g} % sampling"
        found[where] = convergence.course(model, fid, mask, fid_of(target))
    return found


def _results(findings: Findings) -> dict[str, Any]:
    measured = findings.measured or MeasuredTest()
    return {
        **findings.provenance,
        "notes": findings.notes,
        "synthetic": findings.synthetic.rows,
        "measured": measured.rows,
        "measured_schedules": measured.schedules,
        "network_against_IST": measured.pairs,
        "refinement": [
            {"where": where, **course.summary()} for where, course in findings.courses.items()
        ],
        "thresholds": findings.thresholds,
        "training_config": findings.training,
    }


def _finite(value: Any) -> Any:
    """Plain data for JSON, which has no infinity: such numbers become text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _plane(settings: Settings, notes: list[str]) -> Plane:
    """The plane asked for, or a simulated one where a named one cannot be had."""
    if settings.data not in datasets.NAMES:
        path = Path(settings.data)
        recipe = RECIPES.get(path.stem, Recipe())
        if settings.mode is not None:
            recipe = replace(recipe, mode=settings.mode)
        return read_plane(path, recipe, settings.variable)
    try:
        path = datasets.find(settings.data, progress=sys.stderr.isatty())
    except datasets.DataUnavailable as reason:
        notes.append(f"A simulated protein plane stands in for {settings.data}: {reason}.")
        return simulated_plane(settings.seed)
    return read_plane(path)


def _regions(plane: Plane, settings: Settings) -> list[Region]:
    """All rows, and of a named data set those that hold its signals."""
    regions = [Region()]
    source = datasets.SOURCES.get(settings.data)
    if source is not None and plane.name == Path(source.file).name:  # not a simulated stand-in
        low, high = source.signal_ppm
        rows, threshold = rows_between(plane, low, high), source.peak_threshold
        name = f"{low:g} to {high:g} ppm"
        if threshold != regions[0].threshold:
            name += f", peaks above {threshold:.0%}"
        regions.append(Region(name, rows, threshold))
    return regions


def _beyond_training(system: Any, rates: Sequence[float], plane: Plane | None) -> list[str]:
    """What was asked of the network that its training data do not hold."""
    notes = []
    low, high = system.rate.support
    outside = [f"{100 * rate:g} %" for rate in rates if not low <= rate <= high]
    if outside:
        notes.append(
            f"Training covered sampling rates from {100 * low:g} to {100 * high:g} %; "
            f"{', '.join(outside)} lie outside."
        )
    points = getattr(system, "points", None)
    if plane is not None and points is not None and plane.fid.shape[1] != points:
        notes.append(
            f"The plane has {plane.fid.shape[1]} indirect points; training signals had {points}."
        )
    return notes
