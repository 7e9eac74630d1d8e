"""A network of quantities beside classical methods and the bound, or its maps of real images."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.evaluation.quantification.applied import apply_to_images
from ipads_stream.evaluation.quantification.comparison import Comparison, compare, generated
from ipads_stream.evaluation.quantification.methods import NETWORK, Method, classical_methods
from ipads_stream.evaluation.quantification.report import QuantityFindings, present
from ipads_stream.evaluation.quantification.scores import paired, scores

KEYS = ("methods", "axis", "axis_unit")  # of conf/evaluate.yaml, for systems of quantities alone
OTHER_KEYS = ("variable", "mode", "rates", "schedules")  # for those of reconstruction alone
SYNTHETIC = "synthetic"
METHODS = (NETWORK, "all")
SAMPLES = {
    "full": {"voxel": 20_000, "slice": 64, "volume": 8},
    "demo": {"voxel": 4000, "slice": 16, "volume": 3},
}
SECONDS = {"full": 900.0, "demo": 20.0}  # that a method may take
FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is evaluated; see conf/evaluate.yaml."""

    data: str
    subset: str
    samples: int
    seed: int
    methods: str | None
    axis: list[float] | None
    axis_unit: str | None

    @staticmethod
    def of(config: Mapping[str, Any], kind: str) -> Settings:
        """Checked settings with the defaults of the subset for a kind of sample.

        Raises:
            ConfigError: a value that makes no sense, by key.
        """
        for key in OTHER_KEYS:
            if config.get(key) is not None:
                allowed = "null: it belongs to systems that reconstruct signals"
                raise ConfigError(key, config[key], allowed)
        data, subset = config.get("data", SYNTHETIC), config.get("subset", "full")
        if not isinstance(data, str) or (data != SYNTHETIC and not Path(data).exists()):
            raise ConfigError("data", data, f"{SYNTHETIC}, or the path of images that exist")
        if subset not in SAMPLES:
            raise ConfigError("subset", subset, f"one of {', '.join(SAMPLES)}")
        for key in KEYS:
            if data == SYNTHETIC and config.get(key) is not None:
                raise ConfigError(key, config[key], "null, unless data is a file of images")
        methods, axis = config.get("methods"), config.get("axis")
        if methods not in (None, *METHODS):
            raise ConfigError("methods", methods, f"one of {', '.join(METHODS)}")
        if axis is not None and (isinstance(axis, str) or not isinstance(axis, Sequence)):
            raise ConfigError("axis", axis, "a list of numbers such as [10,20,30]")
        samples = config.get("samples")
        numbers = {"samples": SAMPLES[subset][kind] if samples is None else samples,
                   "seed": config.get("seed", 0)}  # fmt: skip
        for key, lowest in (("samples", 2), ("seed", 0)):
            value = numbers[key]
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(key, value, f"a whole number, at least {lowest}")
        return Settings(
            data=data,
            subset=subset,
            methods=methods,
            axis=None if axis is None else list(axis),
            axis_unit=config.get("axis_unit"),
            **numbers,
        )


def evaluate_quantities(model: Method, system: Any, config: Mapping[str, Any], output: Path) -> str:
    """Tests the network beside the classical methods, or estimates the maps of measured images.

    Synthetic: leaves ``report.html``, ``results.json`` and the pictures in ``output``; of images:
    maps as NIfTI with BIDS names and units.

    Args:
        model: trained network, with ``config``, that of its run.
        system: that simulated its training data.
        config: as conf/evaluate.yaml; ``checkpoint`` tells where metrics.jsonl lies.
        output: folder of the report.

    Returns:
        The tables as plain text and the path of the report; of images, what was written.

    Raises:
        ConfigError: a key of ``config`` that cannot be used, or images that do not fit.
        OSError: nothing can be written to ``output``; told before the work.
    """
    settings = Settings.of(config, system.kind)
    output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output).close()
    methods: dict[str, Method] = {NETWORK: model}
    if settings.data != SYNTHETIC:
        if settings.methods == "all":
            methods |= classical_methods(system)
        return apply_to_images(
            methods,
            system,
            Path(settings.data),
            output,
            axis=settings.axis,
            unit=settings.axis_unit,
        )
    findings = found(methods | classical_methods(system), system, settings, config)
    write_text(
        output / "results.json", json.dumps(_results(findings), indent=1, allow_nan=False) + "\n"
    )
    return present(findings, output)


def found(
    methods: Mapping[str, Method], system: Any, settings: Settings, config: Mapping[str, Any]
) -> QuantityFindings:
    """All that the methods show on synthetic samples.

    Args:
        methods: by name, the network among them.
        system: that simulates the samples.
        settings: of the evaluation.
        config: as conf/evaluate.yaml.
    """
    used, fewer, notes = affordable(
        methods, system, samples=settings.samples, seconds=SECONDS[settings.subset]
    )
    comparison = compare(
        system,
        used,
        samples=settings.samples,
        seed=settings.seed,
        fewer=fewer,
        bar=sys.stderr.isatty(),
    )
    training = getattr(methods[NETWORK], "config", {})
    return QuantityFindings(
        name=system.name,
        comparison=comparison,
        rows=scores(comparison),
        pairs=against_network(comparison),
        notes=notes,
        provenance={
            "version": __version__,
            "system": system.name,
            "config_hash": config_hash(system),
            "data": settings.data,
            "subset": settings.subset,
            "samples": settings.samples,
            "seed": settings.seed,
            "training_seed": training.get("seed"),
        },
        training=finite({k: v for k, v in training.items() if k not in ("output", "resume")}),
        log=Path(config["checkpoint"]).with_name("metrics.jsonl"),
    )


def affordable(
    methods: Mapping[str, Method], system: Any, *, samples: int, seconds: float
) -> tuple[dict[str, Method], dict[str, int], list[str]]:
    """The methods that can be afforded, on how many samples, and what to say of the others.

    Each is tried on more and more samples until a call takes a quarter of a second.

    Args:
        methods: by name.
        system: that simulates the samples.
        samples: wanted.
        seconds: that a method may take.
    """
    tried = min(samples, 512 if system.kind == "voxel" else 1)
    inputs, _, _ = generated(system, samples=tried, seed=0, split="validation")
    used, fewer, notes = {}, {}, []
    for name, method in methods.items():
        each = _seconds_of_one(method, inputs, tried)
        count = samples if each <= 0 else int(seconds / each)
        if count < FEWEST:
            notes.append(f"{name} is left out: one sample takes about {each:.2g} s.")
            continue
        used[name] = method
        if count < samples:
            fewer[name] = count
            notes.append(f"{name} is slow and saw the first {count} samples only.")
    return used, fewer, notes


def _seconds_of_one(method: Method, inputs: Mapping[str, np.ndarray], most: int) -> float:
    count = 1
    while True:
        given = {key: values[:count] for key, values in inputs.items()}
        if count == 1:
            method(given)  # compiles
        started = time.perf_counter()
        method(given)
        taken = time.perf_counter() - started
        if taken >= 0.25 or count == most:
            return taken / count
        count = min(most, 8 * count)


def against_network(comparison: Comparison) -> dict[str, dict[str, dict[str, Any]]]:
    """Quantity -> method -> error of the network over that of the method, paired, with interval."""
    return {
        name: {
            method: paired(
                comparison,
                name,
                NETWORK,
                method,
                score="log_rmse" if quantity.scale == "log" else "rmse",
            )
            for method, estimates in comparison.estimates.items()
            if method != NETWORK and name in estimates
        }
        for name, quantity in comparison.quantities.items()
        if name in comparison.estimates.get(NETWORK, {})
    }


def _results(findings: QuantityFindings) -> dict[str, Any]:
    return {
        **findings.provenance,
        "notes": findings.notes,
        "scores": findings.rows,
        "network_over": findings.pairs,
        "training_config": findings.training,
    }


def finite(value: Any) -> Any:
    """Plain data for JSON, which has no infinity: such numbers become text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
