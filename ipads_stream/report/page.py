"""A report: sections of text, tables and pictures, as a page and as plain text.

The page is one HTML file that needs nothing else: pictures inside, no scripts, no network. A click
on a picture shows it in full size, by the style sheet's ``:target`` alone.
"""

from __future__ import annotations

import base64
import html
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from ipads_stream.core.files import write_text

MISSING = "–"
STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #5a5a5a;
  --line: #d8d8d8; --rule: #777; --box: #f6f6f6; --note: #fff8ee; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e3; --paper: #16181a;
  --faint: #a8a8a8; --line: #3a3d40; --rule: #8a8a8a; --box: #202326; --note: #2b2318; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; max-width: 88rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
p, dd { max-width: 46rem; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; }
.scroll { overflow-x: auto; max-width: max-content; margin: 1rem 0; background:
  linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--rule), transparent) right / 1rem 100% no-repeat; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
caption { text-align: left; color: var(--faint); padding-bottom: .4rem; }
th, td { padding: .25rem .35rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--ink); white-space: normal; vertical-align: bottom; }
tbody td { border-bottom: 1px solid var(--line); }
tbody tr.starts td { border-top: 2px solid var(--rule); }
.fixed { position: sticky; background: var(--paper); left: 0; z-index: 1;
  box-shadow: 1px 0 var(--line); }
td.best { font-weight: 700; }
td.best::after { content: " *"; }
figure { margin: 1.25rem 0 2rem; max-width: 62rem; overflow-x: auto; }
figure img { width: 100%; height: auto; min-width: 44rem; background: #fff; cursor: zoom-in; }
figure:target { max-width: none; }
figure:target img { width: auto; max-width: none; cursor: default; }
figcaption { color: var(--faint); max-width: 46rem; position: sticky; left: 0; }
pre { background: var(--box); padding: 1rem; overflow-x: auto; font-size: .82rem;
  line-height: 1.4; }
.note { border-left: 4px solid #b35900; background: var(--note); padding: .5rem 1rem; }
"""

Picture = tuple[Path, str]  # a PNG file and its caption


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


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a section.

    Attributes:
        columns: what is shown of a row.
        rows: of numbers and words; those with a true "is_partial" were measured on less than the
            others and are not compared, nor those with a true "is_bound".
        group: keys whose values distinguish groups of rows; none: the whole table is one.
        title: above the table, where the section's own does not say it.
    """

    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]
    group: Sequence[str] = ()
    title: str = ""

    def best_cells(self) -> set[tuple[int, int]]:
        """Cells (row, column) with the best value of their column in their group; ties share it."""
        marked = set()
        for place, column in enumerate(self.columns):
            by_group: dict[Any, list[tuple[float, int]]] = {}
            for number, row in enumerate(self.rows if column.best else ()):
                if _is_number(row.get(column.key)) and not (
                    row.get("is_partial") or row.get("is_bound")
                ):
                    shown = float(column.shown(row[column.key]))
                    by_group.setdefault(self._place(row), []).append((shown, number))
            for values in by_group.values():
                best = (min if column.best == "low" else max)(values)[0]
                if len(values) > 1:
                    marked |= {(number, place) for value, number in values if value == best}
        return marked

    def text(self) -> str:
        """In plain text, below its title; an asterisk marks the best value."""
        marked = self.best_cells()
        cells = [[column.heading for column in self.columns]]
        for number, row in enumerate(self.rows):
            marks = (" *" if (number, k) in marked else "" for k in range(len(self.columns)))
            cells.append([c.text(row) + mark for c, mark in zip(self.columns, marks, strict=True)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
        return "\n".join([self.title, *lines] if self.title else lines)

    def html(self) -> str:
        """In HTML, all text escaped; the class "best" marks the best value."""
        marked = self.best_cells()
        keys = [column.key for column in self.columns]
        fixed = keys.index("method") if "method" in keys else 0  # in sight in a scrolled table
        head = "".join(
            f"<th{' class=fixed' * (place == fixed)}>{html.escape(column.heading)}</th>"
            for place, column in enumerate(self.columns)
        )
        body = []
        for number, row in enumerate(self.rows):
            starts = number > 0 and self._place(row) != self._place(self.rows[number - 1])
            cells = []
            for place, column in enumerate(self.columns):
                names = ["fixed"] * (place == fixed) + ["best"] * ((number, place) in marked)
                mark = f' class="{" ".join(names)}"' if names else ""
                cells.append(f"<td{mark}>{html.escape(column.text(row))}</td>")
            body.append(f"<tr{' class=starts' * starts}>{''.join(cells)}</tr>")
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        lines = "\n".join(body)
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table>"

    def _place(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """The group of a row."""
        return tuple(row.get(key) for key in self.group)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report, in the order of its attributes.

    Attributes:
        title: "" for what stands first.
        paragraphs: running text.
        notes: what the reader must know; they stand out.
        tables, pictures: with their titles and captions.
        definitions: terms and what they mean; on the page alone.
        preformatted: text as it is, such as a configuration; on the page alone.
        results: plain data for results.json, by key.
    """

    title: str = ""
    paragraphs: Sequence[str] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    preformatted: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)

    def markup(self) -> list[str]:
        """Blocks of the page."""
        escape = html.escape
        blocks = [f"<h2>{escape(self.title)}</h2>"] if self.title else []
        blocks += [f"<p>{escape(text)}</p>" for text in self.paragraphs]
        blocks += [f"<p class=note>{escape(note)}</p>" for note in self.notes]
        blocks += [f'<div class="scroll">{table.html()}</div>' for table in self.tables]
        blocks += [_picture(path, caption) for path, caption in self.pictures]
        if self.definitions:
            terms = self.definitions.items()
            pairs = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms)
            blocks.append("<dl>" + "\n".join(pairs) + "</dl>")
        return blocks + ([f"<pre>{escape(self.preformatted)}</pre>"] if self.preformatted else [])

    def text(self) -> str:
        """For the terminal: words and tables; "" for a section without either."""
        words = "\n\n".join([*self.paragraphs, *self.notes, *(t.text() for t in self.tables)])
        return f"{self.title}\n{words}" if self.title and words else words


def present(title: str, sections: Sequence[Section], path: Path) -> str:
    """Writes the page, and returns its text."""
    name = html.escape(title)
    blocks = [block for section in sections for block in section.markup()]
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n",
    )
    return "\n\n".join(text for section in sections if (text := section.text()))


def _picture(path: Path, caption: str) -> str:
    """A PNG file, embedded; the caption is also the text for those who cannot see it."""
    content = path.read_bytes()
    name = f"p{zlib.crc32(content):08x}"
    text = html.escape(caption, quote=True)
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure id="{name}"><a href="#{name}" title="full size">'
        f'<img src="data:image/png;base64,{data}" alt="{text}"></a>'
        f"<figcaption>{text}</figcaption></figure>"
    )
