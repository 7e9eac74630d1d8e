"""Docstrings as reStructuredText: they are written as plain text, with equations as they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

SECTIONS = re.compile(r"(Args|Arguments|Attributes|Returns|Raises|Yields|Source|Sources):$")
DEEP = " " * 9
ITEM = re.compile(r"[-*] |\d+\. ")
ROLE = re.compile(r":\w+:`~?([^`]+)`")
LITERAL = re.compile(r"``[^`]+``|`[^`]+`")


def as_rst(lines: Sequence[str]) -> list[str]:
    """Escapes what reStructuredText would read as markup, and keeps indented blocks as they are.

    Sections such as ``Args:`` are left to napoleon; only their text is escaped.
    """
    made: list[str] = []
    state = "text"  # or section, list, block
    for line in lines:
        text = line.strip()
        if text and not line[0].isspace():
            if state in ("block", "list") or ITEM.match(text):
                made.append("")
            state = "section" if SECTIONS.match(text) else "list" if ITEM.match(text) else "text"
        elif text and state == "text":
            state = "block"
            made += ["", "::", ""]
        if state == "section" and line.startswith(DEEP):  # no levels below an entry's text
            line = DEEP[1:] + line.strip()
        made.append(line.rstrip() if state == "block" else _escaped(line.rstrip()))
    return [*made, ""] if made else made


def _escaped(line: str) -> str:
    """A line of text whose literals stay literals and whose other signs are themselves."""
    line = ROLE.sub(lambda match: f"``{match[1]}``", line)
    parts, end = [], 0
    for match in LITERAL.finditer(line):
        parts += [_plain(line[end : match.start()]), f"``{match[0].strip('`')}``"]
        end = match.end()
    return "".join([*parts, _plain(line[end:])])


def _plain(text: str) -> str:
    return re.sub(r"([*|`\\]|(?<=\w)_(?!\w))", r"\\\1", text)
