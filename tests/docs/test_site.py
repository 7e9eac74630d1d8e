"""The documentation is built without a warning; docstrings become markup that can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from docstrings import as_rst  # noqa: E402

PAGES = {"index": ".md", "auto_gallery/index": ".rst", "results/drone": ".md",
         "api/ipads_stream.stream.stream": ".rst"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_is_built_without_a_warning(tmp_path):
    """All pages are read and resolved, some are written: the theme takes longest to write, and
    the source of defaults longest to read."""
    pytest.importorskip("sphinx_gallery")
    script = Path(sys.executable).with_name("sphinx-build")
    quick = ["-D", "plot_gallery=0", "-D", "autodoc_preserve_defaults=0"]
    pages = [ROOT / "docs" / f"{page}{ending}" for page, ending in PAGES.items()]
    command = [script, "-b", "html", "-q", *quick, "-d", tmp_path / "trees", ROOT / "docs",
               tmp_path / "html", *pages]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Of a site some pages of which are written.
    said = [line for line in done.stderr.splitlines() if "search index couldn't be" not in line]
    assert not said, done.stderr
    for page in PAGES:
        assert (tmp_path / "html" / f"{page}.html").is_file()
    stream = (tmp_path / "html" / "api" / "ipads_stream.stream.stream.html").read_text()
    assert "Whole batches of a system" in stream


def test_signs_of_docstrings_stay_what_they_are():
    lines = ["|z - z*| of x_ and ``a * b``, `c_d`, :class:`~a.B`."]
    expected = [r"\|z - z\*\| of x\_ and ``a * b``, ``c_d``, ``a.B``.", ""]
    assert as_rst(lines) == expected


def test_indented_equations_are_literal_and_sections_are_left_to_napoleon():
    lines = ["Signal:", "", "    s = a * b", "Args:", "    x: of A*,", "            deeper."]
    text = "\n".join(as_rst(lines))
    assert "::\n\n    s = a * b\n\nArgs:\n" in text
    assert "    x: of A\\*,\n        deeper." in text


def test_links_between_the_pages_lead_somewhere():
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guides").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if target.startswith("https://"):
                continue
            path = (page.parent / target).resolve().relative_to(ROOT / "docs")
            if path.parts[0] == "results":  # copied when the site is built
                made = ROOT / "experiments" / "results" / path.name.replace("index.md", "README.md")
            elif path.parts[0] == "auto_gallery":  # made of the scripts
                made = ROOT / "docs" / "gallery" / f"{path.stem}.py"
            else:
                made = ROOT / "docs" / path
            assert made.is_file(), f"{page.name}: {target}"
