"""A report as one HTML file that needs nothing else: pictures inside, no scripts, no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 62rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #d8d8d8; }
p, dd { max-width: 46rem; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #444; padding-bottom: .4rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid #1a1a1a; white-space: normal; vertical-align: bottom; }
tbody td { border-bottom: 1px solid #ececec; }
tr.starts td { border-top: 1px solid #999; }
td.best { font-weight: 700; }
td.best::after { content: " *"; }
figure { margin: 1.25rem 0 2rem; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #444; max-width: 46rem; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .82rem; line-height: 1.4; }
.note { border-left: 4px solid #b35900; background: #fff8ee; padding: .5rem 1rem; }
"""


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, *, is_note: bool = False) -> str:
    """Running text; a note stands out."""
    return f"<p{' class=note' * is_note}>{html.escape(text)}</p>"


def definitions(terms: dict[str, str]) -> str:
    """Terms and what they mean."""
    pairs = (f"<dt>{html.escape(t)}</dt><dd>{html.escape(text)}</dd>" for t, text in terms.items())
    return "<dl>" + "\n".join(pairs) + "</dl>"


def preformatted(text: str) -> str:
    """Text as it is, such as a configuration."""
    return f"<pre>{html.escape(text)}</pre>"


def table(markup: str) -> str:
    """A table of ``tables.html_table``, scrolling where it is too wide."""
    return f'<div class="scroll">{markup}</div>'


def picture(path: Path, caption: str) -> str:
    """A PNG file, embedded.

    Args:
        path: of the file.
        caption: what one sees; also the text for those who cannot.
    """
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    told = html.escape(caption, quote=True)
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{told}">'
        f"<figcaption>{told}</figcaption></figure>"
    )


def page(title: str, blocks: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: of the page, plain text.
        blocks: markup made by the functions of this module.
    """
    told = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{told}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{told}</h1>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )
