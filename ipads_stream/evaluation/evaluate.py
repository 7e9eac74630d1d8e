"""A trained network beside classical methods on the same data, simulated and measured."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.baselines import Method, classical_methods
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import json_text, write_text
from ipads_stream.core.trust import imported
from ipads_stream.evaluation import comparison as comparing
from ipads_stream.evaluation.comparison import Compared, Findings, affordable, on_host
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.statistics import plain
from ipads_stream.evaluation.tasks import Condition, Settings, Task, task_of
from ipads_stream.report.curves import training_curves
from ipads_stream.report.page import Section, present
from ipads_stream.stream.estimate import Needs, check_needs, duration, sample_costs, tell
from ipads_stream.stream.replay import digest, read_log
from ipads_stream.systems import System
from ipads_stream.zoo import located

TRIED = 512  # samples at most, before the comparison


@expected()  # the notes of the report say what the network was not trained on
def evaluate(
    model: Any, system: System, config: Mapping[str, Any], output: Path
) -> tuple[str, list[dict[str, Any]]]:
    """Compares the network with classical methods, or applies it to measured data.

    Args:
        model: trained network, of ``load_model``, with ``config``, that of its run.
        system: that simulated its training data; it names its task.
        config: as conf/evaluate.yaml; metrics.jsonl lies beside its ``checkpoint``.
        output: folder of ``report.html``, ``results.json``, ``samples.jsonl``, pictures, and of
            results on measured data.

    Returns:
        The tables as plain text, and the scores of the synthetic tests, a row for each method.

    Raises:
        ConfigError: a key of ``config`` that cannot be used, or data that do not fit.
        OSError: nothing can be written to ``output``; raised before the work.
    """
    trusted = config.get("trusted") or ()
    task = task_of(system, config, trusted)
    settings = Settings.of(config, task, system)
    methods = task.network_methods(model) | baselines(system, config.get("baselines"), trusted)
    output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output).close()
    sections = task.measured(methods, system, settings, output) if settings.is_measured else []
    conditions = task.conditions(system, settings)
    if conditions:
        findings, notes = compared(task, model, methods, system, conditions, settings)
        log_of_samples = map(json_text, records(task, findings.comparisons))
        write_text(output / "samples.jsonl", "\n".join(log_of_samples) + "\n")
        sections += [
            Section(paragraphs=[] if sections else task.lead(findings), notes=notes),
            *task.sections(findings, output),
            Section(results={"scores": list(findings.rows), "notes": notes}),
        ]
    about = {
        "version": __version__,
        "system": system.name,
        "task": task.name,
        "config_hash": config_hash(system),
        "data": settings.data,
        "subset": settings.subset,
        "samples": settings.samples,
        "seed": settings.seed,
        "training_seed": model.config.get("seed"),
    }
    training = {k: v for k, v in model.config.items() if k not in ("output", "resume")}
    log = located(config["checkpoint"]).with_name("metrics.jsonl")
    if lines := list(read_log(log)) if log.is_file() else []:
        caption = "Loss of every training step, and the share of the step spent waiting for data."
        curves = training_curves(lines, output / "training.png")
        sections.append(Section(title="Training", pictures=[(curves, caption)]))
    sections += [
        Section(title="Scores", definitions=task.definitions),
        Section(title="Provenance", preformatted=readable(about)),
        Section(title="Configuration of the training run", preformatted=readable(training)),
        Section(results={"training_config": training}),
    ]
    results = about | {key: value for part in sections for key, value in part.results.items()}
    write_text(output / "results.json", json_text(results, 1) + "\n")
    path = output / "report.html"
    text = present(f"Evaluation of {system.name}", sections, path)
    return f"{text}\n\n* best of the methods compared. Report: {path}", results.get("scores", [])


def baselines(
    system: System, further: Mapping[str, Any] | None = None, trusted: Sequence[str] = ()
) -> dict[str, Method]:
    """The classical methods that a system declares, and those of a configuration, by name.

    Args:
        system: its ``baselines`` gives full names of functions ``make(system) -> method``.
        further: name -> ``_target_``, the full name of such a function, and its other arguments;
            None takes a method of that name away.
        trusted: packages besides this one whose functions ``further`` may name.

    Raises:
        ConfigError: a function that cannot be called so, or may not.
    """
    methods = classical_methods(system)
    for name, node in (further or {}).items():
        key = f"baselines.{name}"
        if node is None:
            methods.pop(name, None)
            continue
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise ConfigError(key, node, "_target_: the full name of a function, or null")
        packages = ("ipads_stream.baselines", *trusted)
        allowed = f"a function in {', '.join(packages)}, or in a package listed under trusted"
        make = imported(node["_target_"], f"{key}._target_", packages, allowed)
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        try:
            methods[name] = make(system=system, **arguments)
        except TypeError as error:
            raise ConfigError(key, node["_target_"], str(error)) from error
    return methods


def compared(
    task: Task,
    model: Any,
    methods: Mapping[str, Method],
    system: System,
    conditions: Sequence[Condition],
    settings: Settings,
) -> tuple[Findings, list[str]]:
    """All methods on the samples of every condition, and notes; says first how long it takes."""
    first, samples = conditions[0].system, settings.samples
    check_memory_of(first, methods, samples, len(conditions), task.at_once(first))
    tried = min(samples, TRIED, task.at_once(first))
    sys.stderr.write(f"Trying {len(methods)} methods on a few samples\n")
    sample = comparing.draw(first, samples=tried, seed=0, split="validation", at_once=tried)
    comparing.check_targets(first, sample, task.targets(first))
    inputs, times, seconds = on_host(sample.inputs), len(conditions), settings.seconds
    plan = affordable(methods, inputs, samples=samples, times=times, seconds=seconds)
    message = f"{samples} samples, {len(plan.methods)} methods"
    sys.stderr.write(f"{message}: about {duration(plan.seconds)}\n")
    comparisons: list[Compared] = []
    for condition in conditions:
        comparison = comparing.compare(
            condition.system,
            plan.methods,
            samples=samples,
            seed=settings.seed,
            task=task,
            fewer=plan.fewer,
            bar=sys.stderr.isatty(),
        )
        comparisons.append((condition, comparison))
    rows = comparing.rows_of(task, comparisons)
    findings = Findings(
        system=system, model=model, seed=settings.seed, comparisons=comparisons, rows=rows
    )
    slow = [_on_the_same_samples(task, comparisons, *each) for each in plan.fewer.items()]
    notes = [*plan.notes, *slow]
    if notes and settings.subset == "quick":
        notes.append("Slow methods get more time with subset=full.")
    return findings, notes


def check_memory_of(
    system: System, methods: Mapping[str, Method], samples: int, conditions: int, at_once: int
) -> None:
    """ConfigError, by samples, where a test set and the estimates of all methods do not fit."""
    if (costs := sample_costs(system)) is None:
        return
    targets = costs.tried.targets.values()
    answer = sum(x.nbytes for x in targets) / len(costs.tried)
    # Truths and estimates are kept in units of their own, some in double precision.
    held = samples * conditions * (costs.kept + 2 * answer * (1 + len(methods)))
    needs = Needs(memory=held + costs.batch(min(samples, max(at_once, 1))))
    tell(check_needs(needs, "samples", samples))


def _on_the_same_samples(
    task: Task, comparisons: Sequence[Compared], method: str, count: int
) -> str:
    """Medians of all methods on the samples that a slow method was given, too."""
    parts = []
    for condition, comparison in comparisons:
        medians = []
        for name in comparison.estimates:
            errors = task.errors(comparison, name)[:count]
            if len(errors) == count and np.isfinite(errors).any():
                medians.append(f"{name} {np.median(errors[np.isfinite(errors)]):.3f}")
        where = "".join(f"{key} {value:g}: " for key, value in condition.labels.items())
        parts.append(where + ", ".join(medians))
    unit = f" ({task.metric.unit})" if task.metric.unit else ""
    return (
        f"{method} is slow and saw the first {count} samples only, so it is not compared in the "
        f"table. Median {task.metric.title}{unit} of all methods on these: {'; '.join(parts)}."
    )


def records(task: Task, comparisons: Sequence[Compared]) -> list[dict[str, Any]]:
    """Where each sample is from, and its error by method; ``replay`` builds it again."""
    lines = []
    for condition, comparison in comparisons:
        errors = {name: task.errors(comparison, name) for name in comparison.estimates}
        provenance = comparison.sample.provenance
        assert provenance is not None
        for row in range(len(comparison)):
            known = {name: plain(each[row]) for name, each in errors.items() if row < len(each)}
            about = {"overrides": condition.overrides, "metric": task.metric.key, "errors": known}
            origin = provenance.record(row) | condition.labels
            lines.append(origin | about | {"digest": digest(comparison.sample, row)})
    return lines


def readable(values: Mapping[str, Any]) -> str:
    """What ``json_text`` writes, with letters of all languages as they are."""
    return json.dumps(json.loads(json_text(dict(values))), indent=1, ensure_ascii=False)
