"""What a notebook shows of an object: one short line, or a small table."""

import html
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


class Shown:
    """Gives an object a short ``repr`` and a table for notebooks, out of what it says of itself."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__repr__" not in vars(cls):  # a dataclass would write one of all its fields
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    @property
    def headline(self) -> str:
        """The object in a few words."""
        return type(self).__name__

    @property
    def entries(self) -> Mapping[str, Any]:
        """Name -> value of what the table lists: the fields of a dataclass."""
        if not is_dataclass(self):
            return {}
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def thumbnail(self) -> str:
        """Markup of a small picture beside the table, or nothing."""
        return ""

    def __repr__(self) -> str:
        return f"<{self.headline}>"

    def _repr_html_(self) -> str:
        words = {
            name: value.headline if isinstance(value, Shown) else str(value)
            for name, value in self.entries.items()
        }
        cells = "".join(
            f"<tr><td style='text-align:left'><b>{html.escape(name)}</b></td>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in words.items()
        )
        title = html.escape(self.headline)
        return f"<div><b>{title}</b>{self.thumbnail}<table>{cells}</table></div>"
