"""The results in the README are those in the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_results_in_the_readme_are_generated_from_the_files(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    spec = importlib.util.spec_from_file_location(
        "readme_tables", ROOT / "experiments" / "readme_tables.py"
    )
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = (ROOT / "README.md").read_text()
    section = text.partition(f"{tables.START}\n")[2].partition(tables.END)[0]
    assert section == tables.generated()
