"""A study out of a composed configuration, every key checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation import datasets
from ipads_stream.evaluation.methods import IST, LRHM, ZERO_FILLING
from ipads_stream.evaluation.shift_scores import METRICS
from ipads_stream.shift.overrides import flat
from ipads_stream.shift.study import Adapted, Measured, Solved, Study, Variant, slug

SOLVERS = ("low-rank", "smooth", "lines")
LOSSES = ("hidden", "supervised")
NAME = re.compile(r"[\w.+ %,=-]+")
KEYS = {
    "title", "question", "common", "arms", "after", "methods", "tests", "measured", "seeds",
    "steps", "samples", "test_seed", "metrics", "reference", "level", "resamples",
    "series",
}  # fmt: skip


def read_study(config: Mapping[str, Any]) -> Study:
    """The study that a composed ``conf/shift.yaml`` describes.

    Args:
        config: plain data.

    Raises:
        ConfigError: a key that is unknown, missing or refused.
    """
    node = config.get("shift")
    if not isinstance(node, Mapping):
        raise ConfigError("shift", node, "a file of conf/shift")
    for key in node:
        if key not in KEYS:
            raise ConfigError(f"shift.{key}", node[key], f"no such key; {', '.join(sorted(KEYS))}")
    arms = {str(name): flat(keys, f"shift.arms.{name}") for name, keys in _named(node, "arms")}
    starts = {name: str(keys.pop("start")) for name, keys in arms.items() if "start" in keys}
    for name, start in starts.items():
        others = [arm for arm in arms if arm not in starts]
        _check(f"shift.arms.{name}.start", start, start in others, f"one of {', '.join(others)}")
    tests = {str(name): flat(keys, f"shift.tests.{name}") for name, keys in _named(node, "tests")}
    methods = _methods(node.get("methods"))
    after = {
        str(name): _variant(f"shift.after.{name}", keys, tuple(arms))
        for name, keys in (node.get("after") or {}).items()
    }
    for name in (*arms, *tests, *after):
        _check("shift", name, bool(NAME.fullmatch(name)), "names of letters, digits and .+ %,=-")
    names = [*arms, *after, *methods]
    _check("shift.arms", names, len(set(names)) == len(names), "names that differ")
    metrics = tuple(node.get("metrics") or METRICS)
    for name in metrics:
        _check("shift.metrics", name, name in METRICS, f"of {', '.join(METRICS)}")
    seeds = tuple(node.get("seeds") or ())
    allowed = "a list of whole numbers that differ"
    is_seeds = bool(seeds) and all(_whole(seed, 0) for seed in seeds)
    _check("shift.seeds", list(seeds), is_seeds and len(set(seeds)) == len(seeds), allowed)
    reference = node.get("reference") or next(iter(arms))
    _check("shift.reference", reference, reference in names, f"one of {', '.join(names)}")
    counts = _counts(node)
    level = node.get("level", 0.95)
    _check("shift.level", level, isinstance(level, float) and 0 < level < 1, "between 0 and 1")
    name = str(config.get("name") or slug(str(node.get("title") or "shift")))
    return Study(
        name=name,
        title=str(node.get("title") or name),
        question=str(node.get("question") or ""),
        common=flat(node.get("common"), "shift.common"),
        vary=flat(config.get("vary"), "vary"),
        arms=arms,
        starts=starts,
        after=after,
        methods=methods,
        tests=tests,
        measured=_measured(node.get("measured")),
        seeds=seeds,
        metrics=metrics,
        series=_series(node.get("series"), names),
        series_label=str((node.get("series") or {}).get("label", "")),
        reference=reference,
        level=level,
        **counts,
        output=Path(config.get("output") or Path("runs") / f"shift-{name}"),
        device=str(config.get("device") or "cpu"),
        trusted=tuple(config.get("trusted") or ()),
    )


def _methods(node: Any) -> dict[str, int | None]:
    methods = {str(name): most for name, most in (node or {}).items()}
    for name, most in methods.items():
        _check(f"shift.methods.{name}", name, name in (ZERO_FILLING, IST, LRHM),
               f"one of {ZERO_FILLING}, {IST}, {LRHM}")  # fmt: skip
        _check(f"shift.methods.{name}", most, most is None or _whole(most, 1),
               "a number of signals, or null")  # fmt: skip
    return methods


def _counts(node: Mapping[str, Any]) -> dict[str, int]:
    counts = {"steps": 1500, "samples": 1000, "test_seed": 0, "resamples": 1000}
    for key, default in counts.items():
        counts[key] = node.get(key, default)
        least = 0 if key == "test_seed" else 1
        _check(f"shift.{key}", counts[key], _whole(counts[key], least), f"from {least} up")
    return counts


def _named(node: Mapping[str, Any], key: str) -> list[tuple[Any, Any]]:
    value = node.get(key)
    allowed = f"one or more: name -> keys of conf/train.yaml (shift.{key}.NAME)"
    _check(f"shift.{key}", value, isinstance(value, Mapping) and bool(value), allowed)
    return list(value.items())  # type: ignore[union-attr]


def _variant(key: str, node: Any, arms: Sequence[str]) -> Variant:
    _check(key, node, isinstance(node, Mapping), "arm and solver, or arm and how it is adapted")
    _check(f"{key}.arm", node.get("arm"), node.get("arm") in arms, f"one of {', '.join(arms)}")
    kind: type[Variant] = Solved if "solver" in node else Adapted
    names = [field.name for field in fields(kind)]
    for name in node:
        _check(f"{key}.{name}", node[name], name in names, f"no such key; {', '.join(names)}")
    variant = kind(**node)
    if isinstance(variant, Solved):
        allowed = f"one of {', '.join(SOLVERS)}"
        _check(f"{key}.solver", variant.solver, variant.solver in SOLVERS, allowed)
        return variant
    for name in ("samples", "steps"):
        _check(f"{key}.{name}", node.get(name), _whole(getattr(variant, name), 1), "from 1 up")
    is_rate = isinstance(variant.rate, (int, float)) and variant.rate > 0
    _check(f"{key}.rate", variant.rate, is_rate, "a number above 0")
    allowed = f"one of {', '.join(LOSSES)}"
    _check(f"{key}.loss", variant.loss, variant.loss in LOSSES, allowed)
    return variant


def _series(node: Any, names: Sequence[str]) -> dict[str, dict[float, str]]:
    if not node:
        return {}
    lines = node.get("lines") if isinstance(node, Mapping) else None
    allowed = "label, and lines: name -> number -> arm"
    _check("shift.series", node, isinstance(lines, Mapping) and set(node) <= {"label", "lines"},
           allowed)  # fmt: skip
    for line, arms in lines.items():  # type: ignore[union-attr]
        for number, arm in arms.items():
            key = f"shift.series.lines.{line}.{number}"
            _check(key, arm, arm in names, f"one of {', '.join(names)}")
            _check(key, number, isinstance(number, (int, float)), "under a number")
    return {str(line): dict(arms) for line, arms in lines.items()}  # type: ignore[union-attr]


def _measured(node: Any) -> Measured | None:
    if not node:
        return None
    unknown = set(node) - {"names", "rates", "schedules", "methods"}
    _check("shift.measured", sorted(unknown), not unknown, "names, rates, schedules, methods")
    names, rates = tuple(node.get("names") or ()), tuple(node.get("rates") or (0.25,))
    for name in names:
        allowed = f"one of {', '.join(datasets.NAMES)}"
        _check("shift.measured.names", name, name in datasets.NAMES, allowed)
    for rate in rates:
        is_rate = isinstance(rate, (int, float)) and 0 < rate <= 1
        _check("shift.measured.rates", rate, is_rate, "above 0, at most 1")
    schedules = node.get("schedules", 5)
    _check("shift.measured.schedules", schedules, _whole(schedules, 1), "a whole number from 1")
    return Measured(names, rates, schedules, tuple(node.get("methods") or ()))


def _check(key: str, value: Any, is_right: bool, allowed: str) -> None:
    if not is_right:
        raise ConfigError(key, value, allowed)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
