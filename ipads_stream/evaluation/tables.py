"""Tables: one description of the columns, for the terminal and for the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        heading: with its unit.
        key: of the row's value.
        form: format of the value, e.g. ".3f".
        factor: the value is multiplied by it (1e3 for s in ms).
        spread: keys of the lower and upper bound, or of the standard deviation, shown beside it.
        best: "low" or "high": the best value among the rows of a group is marked.
    """

    heading: str
    key: str
    form: str = ""
    factor: float = 1.0
    spread: tuple[str, ...] = ()
    best: str | None = None

    def text(self, row: dict[str, Any]) -> str:
        """The cell of a row."""
        value = row.get(self.key)
        if not _is_number(value):
            return MISSING if value is None else str(value)
        shown = self.shown(value)
        around = [bound for key in self.spread if _is_number(bound := row.get(key))]
        if not around or len(around) < len(self.spread):
            return shown
        if len(around) == 1:
            return f"{shown} ± {self.shown(around[0]).lstrip('+')}"
        return f"{shown} [{', '.join(self.shown(bound) for bound in around)}]"

    def shown(self, value: float | int) -> str:
        """A number as it stands in the table."""
        return format(value if self.factor == 1.0 else value * self.factor, self.form)


def best_cells(
    columns: Sequence[Column], rows: Sequence[dict[str, Any]], group: str | None = None
) -> set[tuple[int, int]]:
    """Cells (row, column) with the best value of their column within their group; ties share it.

    Rows with a true "is_partial" were measured on less than the others and are not compared.

    Args:
        columns: of the table.
        rows: of the table.
        group: key whose equal values make a group, None: the whole table is one.
    """
    marked = set()
    for place, column in enumerate(columns):
        if column.best is None:
            continue
        by_group: dict[Any, list[tuple[float, int]]] = {}
        for number, row in enumerate(rows):
            if _is_number(row.get(column.key)) and not row.get("is_partial"):
                shown = float(column.shown(row[column.key]))
                by_group.setdefault(row.get(group) if group else None, []).append((shown, number))
        for values in by_group.values():
            if len(values) > 1:
                choose = min if column.best == "low" else max
                best = choose(value for value, _ in values)
                marked |= {(number, place) for value, number in values if value == best}
    return marked


def text_table(
    columns: Sequence[Column], rows: Sequence[dict[str, Any]], group: str | None = None
) -> str:
    """The table in plain text; an asterisk marks the best value."""
    marked = best_cells(columns, rows, group)
    cells = [[column.heading for column in columns]]
    for number, row in enumerate(rows):
        cells.append(
            [
                column.text(row) + (" *" if (number, place) in marked else "")
                for place, column in enumerate(columns)
            ]
        )
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def html_table(
    columns: Sequence[Column],
    rows: Sequence[dict[str, Any]],
    group: str | None = None,
    caption: str = "",
) -> str:
    """The table in HTML, all text escaped; the class "best" marks the best value."""
    marked = best_cells(columns, rows, group)
    head = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
    body = []
    for number, row in enumerate(rows):
        starts = number > 0 and group is not None and row.get(group) != rows[number - 1].get(group)
        cells = [
            f"<td{' class=best' * ((number, place) in marked)}>{html.escape(column.text(row))}</td>"
            for place, column in enumerate(columns)
        ]
        body.append(f"<tr{' class=starts' * starts}>{''.join(cells)}</tr>")
    told = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    lines = "\n".join(body)
    return f"<table>{told}<thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table>"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
