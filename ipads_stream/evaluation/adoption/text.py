"""The YAML of an adopted system, with the source of every value."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml

from ipads_stream.core.description import describe
from ipads_stream.core.units import factor, interval
from ipads_stream.distributions import Distribution
from ipads_stream.evaluation.adoption.measured import Setting

WIDTH = 100
FIRST = "# @package _global_"


def yaml_of(
    head: str,
    notes: Sequence[str],
    system: Any,
    base: str,
    settings: Mapping[str, Setting],
    recommended: str,
) -> str:
    """The text of a file of a user's ``conf/system``: notes, what it is trained with, the system.

    Args:
        head: what it is, in a line.
        notes: sentences of the comment at the top.
        system: what is written.
        base: name of the system whose other values it has.
        settings: the values that the data gave, by field.
        recommended: YAML of what the system is best trained with.
    """
    lines = [FIRST, *comment(head), *(line for note in notes for line in comment(f"- {note}"))]
    kept = [line for line in recommended.splitlines() if line.strip() and not line.startswith("#")]
    lines += ["", *kept, "", "system:", f"  _target_: {describe(system)['_target_']}"]
    rest = []
    for each in fields(system):
        value = _brief(describe(getattr(system, each.name)))
        line = yaml.safe_dump(
            {each.name: value}, sort_keys=False, default_flow_style=True, width=10**6
        ).strip()[1:-1]
        if each.name in settings:
            lines += [*comment(settings[each.name].source, "  "), f"  {line}"]
        else:
            rest.append(f"  {line}")
    return "\n".join([*lines, f"  # Not of the data: as in system={base}.", *rest]) + "\n"


def comment(text: str, indent: str = "") -> list[str]:
    """Lines of a comment; what files say has no line breaks and no control characters in it."""
    plain = " ".join("".join(x if x.isprintable() else " " for x in text).split())
    return textwrap.wrap(
        plain, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
    )


def sentence(setting: Setting) -> str:
    """A value in words, and its source."""
    value = setting.value
    if isinstance(value, Distribution):
        unit = getattr(value, "unit", "") or ""
        low, high = (x / factor(unit) for x in value.support)
        value = f"{type(value).__name__} {interval(low, high, unit)}"
    return f"{value} ({setting.source})"


def _brief(node: Any) -> Any:
    """A described value without keys that are not set."""
    if not isinstance(node, dict):
        return node
    return {key: _brief(x) for key, x in node.items() if x is not None and (key, x) != ("unit", "")}
