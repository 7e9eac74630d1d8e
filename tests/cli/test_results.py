"""The results that people read are those in the files."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"


@pytest.fixture(scope="module")
def tables():
    sys.path.insert(0, str(ROOT / "experiments"))
    try:
        yield importlib.import_module("readme_tables")
    finally:
        sys.path.remove(str(ROOT / "experiments"))


def test_the_table_in_the_readme_is_generated_from_the_files(tables):
    text = (ROOT / "README.md").read_text()
    section = text.partition(f"{tables.START}\n")[2].partition(tables.END)[0]
    assert section == tables.summary()


def test_the_pages_of_results_are_generated_from_the_files(tables):
    pages = tables.pages()
    assert set(pages) == {path.name for path in RESULTS.glob("*.md")}
    for name, text in pages.items():
        assert (RESULTS / name).read_text() == text, name


def test_every_file_of_results_is_on_a_page(tables, monkeypatch):
    """A row that was measured is shown, whether it wins or loses."""
    read = []
    for module in (
        "readme_tables",
        "kernel_tables",
        "result_pages",
        "signal_tables",
        "rate_tables",
        "method_tables",
        "design_table",
        "diagnosis_tables",
        "posterior_tables",
        "resuming_page",
    ):
        load = sys.modules[module].load
        monkeypatch.setattr(
            sys.modules[module], "load", lambda name, load=load: read.append(name) or load(name)
        )
    tables.pages(), tables.summary()
    assert {path.stem for path in RESULTS.glob("*.json")} <= set(read)


def test_the_table_prints_the_lower_error_bold(tables):
    rows = tables.rows()
    lost = [row for row in rows if row.classical[1][0] < row.network[0]]
    assert 0 < len(lost) < len(rows)
    for row in rows:
        classical, network = row.cells()[3:5]
        assert classical.startswith("**") == (row in lost)
        assert network.startswith("**") == (row not in lost)


def test_links_and_pictures_of_the_pages_exist():
    for page in RESULTS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (RESULTS / target).is_file(), f"{page.name}: {target}"
