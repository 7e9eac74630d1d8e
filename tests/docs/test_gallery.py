"""The scripts of the gallery run and draw."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
PICTURES = {
    "plot_1_first_stream": 1,
    "plot_2_distributions": 2,
    "plot_3_sequence": 2,
    "plot_4_own_system": 2,
    "plot_5_measured_data": 1,
}


def test_all_scripts_are_tested():
    assert {path.stem for path in GALLERY.glob("plot_*.py")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_script_draws_its_pictures(name, monkeypatch, tmp_path):
    monkeypatch.setenv("GALLERY_STEPS", "3")
    monkeypatch.chdir(tmp_path)
    backend = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    try:
        runpy.run_path(str(GALLERY / f"{name}.py"))
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        assert len(figures) == PICTURES[name]
        for figure in figures:
            for axis in figure.axes:  # every axis says what it shows, a colour bar aside
                shows_ticks = axis.get_xaxis().get_visible() and len(axis.get_xticks())
                is_bar = axis.get_label() == "<colorbar>"
                assert is_bar or axis.get_xlabel() or not shows_ticks
    finally:
        pyplot.close("all")
        pyplot.switch_backend(backend)


def test_without_the_measured_file_a_simulated_plane_is_shown(monkeypatch, tmp_path, capsys):
    from ipads_stream.data import named

    def unavailable(*args, **kwargs):
        raise named.DataUnavailable("no network")

    monkeypatch.setenv("GALLERY_STEPS", "1")
    monkeypatch.setattr(named, "find", unavailable)
    pyplot.switch_backend("agg")
    try:
        runpy.run_path(str(GALLERY / "plot_5_measured_data.py"))
    finally:
        pyplot.close("all")
    assert "a simulated plane is shown: no network" in capsys.readouterr().out
