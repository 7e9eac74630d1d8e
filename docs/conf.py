"""Configuration of the documentation: `make docs`, or sphinx-build -W docs docs/_build/html."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from docstrings import as_rst  # noqa: E402

from ipads_stream import __version__  # noqa: E402

project = "ipads_stream"
author = "The ipads_stream authors"
copyright = "2026, The ipads_stream authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "auto_gallery/*.ipynb"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"ipads_stream {version}"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "abort_on_example_error": True,
}


def _copy_results(app: Any) -> None:
    """The pages of results, generated from the JSON files beside them, become part of the site."""
    target = DOCS / "results"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in (ROOT / "experiments" / "results").iterdir():
        if path.suffix in (".md", ".png"):
            shutil.copy(path, target / path.name)
    index = (target / "README.md").rename(target / "index.md")
    pages = sorted(path for path in target.glob("*.md") if path != index)
    for path in (index, *pages):
        path.write_text(path.read_text().replace("(README.md)", "(index.md)"))
    names = "\n".join(path.stem for path in pages)
    with index.open("a") as file:
        file.write(f"\n```{{toctree}}\n:hidden:\n\n{names}\n```\n")


def _drop_old_pages(app: Any) -> None:
    """All pages are made anew where one is of a module that is no longer there: others list it."""
    pages = list((DOCS / "api").glob("*.rst"))
    modules = [ROOT / page.stem.replace(".", "/") for page in pages]
    if not all(x.is_dir() or x.with_suffix(".py").is_file() for x in modules):
        for page in pages:
            page.unlink()


def _process(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Any) -> None:
    os.environ.setdefault("MPLBACKEND", "agg")
    app.connect("builder-inited", _copy_results, priority=100)
    app.connect("builder-inited", _drop_old_pages, priority=100)  # before autosummary
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
