"""Folders of YAML as somebody else may send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def conf_folder(tmp_path, monkeypatch) -> Callable[[Mapping[str, str]], Path]:
    """Writes files below a folder ``conf`` of an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "conf"

    return write


@pytest.fixture
def one_line(capsys) -> Callable[[], str]:
    """What was said on the error stream, which must be one line."""

    def said() -> str:
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        assert "Traceback" not in text
        return text

    return said
