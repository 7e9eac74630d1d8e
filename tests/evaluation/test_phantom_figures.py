"""Galleries of templates."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.evaluation.phantom_figures import preview_phantoms, template_gallery


def test_galleries_of_everything_that_needs_no_data(tmp_path, monkeypatch):
    monkeypatch.delenv("IPADS_DATA", raising=False)
    paths = preview_phantoms(tmp_path / "new", size=24)
    assert {path.stem for path in paths} == {
        "shapes", "shapes_3d", "fields", "textures", "susceptibility"
    }  # fmt: skip
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_galleries_of_data(tmp_path, monkeypatch, data_folder):
    monkeypatch.setenv("IPADS_DATA", str(data_folder))
    names = {path.stem for path in preview_phantoms(tmp_path, size=24)}
    assert {"images", "brain", "brain_3d"} <= names


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="T1: shape"):
        template_gallery({"T1": np.zeros((3, 4))}, tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least one"):
        template_gallery({}, tmp_path / "a.png")
    constant = template_gallery({"T1": np.ones((2, 8, 8))}, tmp_path / "b.png")
    assert constant.is_file()
