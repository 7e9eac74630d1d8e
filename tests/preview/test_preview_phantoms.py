"""Galleries of templates."""

from __future__ import annotations

import pytest

from ipads_stream.preview.phantoms import preview_phantoms


@pytest.mark.slow
def test_galleries_of_everything_that_needs_no_data(tmp_path, monkeypatch):
    monkeypatch.delenv("IPADS_DATA", raising=False)
    paths = preview_phantoms(tmp_path / "new", size=24)
    assert {path.stem for path in paths} == {
        "shapes", "shapes_3d", "fields", "textures", "susceptibility"
    }  # fmt: skip
    assert all(path.stat().st_size > 10_000 for path in paths)


@pytest.mark.slow
def test_galleries_of_data(tmp_path, monkeypatch, data_folder):
    monkeypatch.setenv("IPADS_DATA", str(data_folder))
    names = {path.stem for path in preview_phantoms(tmp_path, size=24)}
    assert {"images", "brain", "brain_3d"} <= names
