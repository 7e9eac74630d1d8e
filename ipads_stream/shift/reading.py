"""A study out of a composed configuration, every key checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import COUNT, Choice, Number, Numbers, Whole
from ipads_stream.data import named as datasets
from ipads_stream.shift.study import Adapted, Measured, Solved, Study, Variant, slug

NAME = re.compile(r"[\w.+ %,=-]+")
ALL_NAMES = "names of letters, digits and .+ %,=-"
NUMBERS = {  # key -> rule and default
    "level": (Number(above=0.0, below=1.0), 0.95),
    "steps": (COUNT, 1500),
    "samples": (COUNT, 1000),
    "test_seed": (Whole(low=0), 0),
    "resamples": (COUNT, 1000),
}
KEYS = {
    "title", "question", "common", "arms", "after", "methods", "tests", "measured", "seeds",
    "steps", "samples", "test_seed", "metrics", "reference", "level", "resamples",
    "series",
}  # fmt: skip


def read_study(config: Mapping[str, Any]) -> Study:
    """The study that a composed ``conf/shift.yaml`` describes."""
    node = config.get("shift")
    if not isinstance(node, Mapping):
        raise ConfigError("shift", node, "a file of conf/shift")
    for key in node:
        if key not in KEYS:
            raise ConfigError(f"shift.{key}", node[key], f"no such key; {', '.join(sorted(KEYS))}")
    arms = {str(name): flat(keys, f"shift.arms.{name}") for name, keys in _named(node, "arms")}
    starts = {name: str(keys.pop("start")) for name, keys in arms.items() if "start" in keys}
    for name, start in starts.items():
        others = tuple(arm for arm in arms if arm not in starts)
        Choice(among=others)(f"shift.arms.{name}.start", start)
    tests = {str(name): flat(keys, f"shift.tests.{name}") for name, keys in _named(node, "tests")}
    methods, after = ({str(k): v for k, v in (_named(node, key) if node.get(key) else ())}
                      for key in ("methods", "after"))  # fmt: skip
    for name, most in methods.items():
        Whole(low=1, optional=True)(f"shift.methods.{name}", most)
    after = {name: _variant(f"shift.after.{name}", x, tuple(arms)) for name, x in after.items()}
    for name in (*arms, *tests, *after):
        _check("shift", name, bool(NAME.fullmatch(name)), ALL_NAMES)
    names = (*arms, *after, *methods)
    _check("shift.arms", names, len(set(names)) == len(names), "names that differ")
    seeds = Numbers(each=Whole(low=0))("shift.seeds", node.get("seeds"))
    _check("shift.seeds", list(seeds), len(set(seeds)) == len(seeds), "numbers that differ")
    reference = Choice(among=names)("shift.reference", node.get("reference") or names[0])
    numbers = {
        key: rule(f"shift.{key}", node.get(key, default))
        for key, (rule, default) in NUMBERS.items()
    }
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
        metric_names=tuple(node.get("metrics") or ()),
        series=_series(node.get("series"), names),
        series_label=str((node.get("series") or {}).get("label", "")),
        reference=reference,
        **numbers,
        output=Path(config.get("output") or Path("runs") / f"shift-{name}"),
        device=str(config.get("device") or "cpu"),
        trusted=tuple(config.get("trusted") or ()),
    )


def flat(node: Any, key: str) -> dict[str, Any]:
    """Dotted key -> value: ``{net: {phases: 6}}`` and ``{net.phases: 6}`` both give net.phases.

    What stands under a dotted key is one value, and so is what has a ``_target_``: it replaces what
    the key held, instead of merging with it.
    """
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise ConfigError(key, node, "a mapping of keys of conf/train.yaml to values")
    values: dict[str, Any] = {}
    for name, value in node.items():
        is_whole = "." in str(name) or not isinstance(value, Mapping) or "_target_" in value
        if not is_whole and value:
            values |= {f"{name}.{k}": v for k, v in flat(value, f"{key}.{name}").items()}
        else:
            values[str(name)] = value
    return values


def _named(node: Mapping[str, Any], key: str) -> list[tuple[Any, Any]]:
    value = node.get(key)
    allowed = f"one or more: name -> keys of conf/train.yaml (shift.{key}.NAME)"
    _check(f"shift.{key}", value, isinstance(value, Mapping) and bool(value), allowed)
    return list(value.items())  # type: ignore[union-attr]


def _variant(key: str, node: Any, arms: Sequence[str]) -> Variant:
    _check(key, node, isinstance(node, Mapping), "arm and solver, or arm and how it is adapted")
    Choice(among=tuple(arms))(f"{key}.arm", node.get("arm"))
    variant: Variant = _built(Solved if "solver" in node else Adapted, key, node)
    return variant


def _built(kind: type[Any], key: str, node: Mapping[str, Any]) -> Any:
    """A dataclass out of its keys."""
    names = [field.name for field in fields(kind)]
    for name in node:
        _check(f"{key}.{name}", node[name], name in names, f"no such key; {', '.join(names)}")
    for field in fields(kind):
        is_given = field.name in node or field.default is not MISSING
        is_given = is_given or field.default_factory is not MISSING
        _check(f"{key}.{field.name}", None, is_given, "a value")
    try:
        return kind(**node)
    except ConfigError as error:
        raise error.under(key) from None


def _series(node: Any, names: Sequence[str]) -> dict[str, dict[float, str]]:
    if not node:
        return {}
    lines = node.get("lines") if isinstance(node, Mapping) else None
    allowed = "label, and lines: name -> number -> arm"
    _check("shift.series", node, isinstance(lines, Mapping) and set(node) <= {"label", "lines"},
           allowed)  # fmt: skip
    for line, arms in lines.items():  # type: ignore[union-attr]
        for x, arm in arms.items():
            key = f"shift.series.lines.{line}.{x}"
            Choice(among=tuple(names))(key, arm)
            Number()(key, x)
    return {str(line): dict(arms) for line, arms in lines.items()}  # type: ignore[union-attr]


def _measured(node: Any) -> Measured | None:
    if not node:
        return None
    measured: Measured = _built(Measured, "shift.measured", node)
    for name in measured.names:
        Choice(among=datasets.NAMES)("shift.measured.names", name)
    return measured


def _check(key: str, value: Any, is_right: bool, allowed: str) -> None:
    if not is_right:
        raise ConfigError(key, value, allowed)
