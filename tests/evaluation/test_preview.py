"""Previews of any system."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_synthetic import small_system

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Constant, Distribution, LogUniform, Uniform
from ipads_stream.evaluation.preview import parameter_histograms, present_values, preview_system
from ipads_stream.stream.stream import Stream


@dataclass(frozen=True, kw_only=True)
class Images:
    """A system of another kind: an image in, a number and a line out."""

    name: ClassVar[str] = "images"
    T2: Distribution
    B1: Distribution

    def draw(self, keys, progress):
        return {
            "T2": self.T2.draw(keys["T2"], (), progress),
            "B1": self.B1.draw(keys["B1"], (), progress),
        }

    def render(self, params, keys, xp):
        image = np.ones((8, 9), dtype=np.complex64) * params["T2"][:, None, None]
        return Sample(
            inputs={"image": image.astype(np.complex64)},
            targets={"T2": params["T2"], "line": np.abs(image[:, 0]).astype(np.float32)},
            params=params,
        )


def preview(system, folder, samples=40):
    return preview_system(Stream(system, threads=0, device="cpu"), folder, samples)


def test_spectra_get_three_pictures(tmp_path):
    paths = preview(small_system(), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["parameters.png", "samples.png", "masks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_other_systems_get_plain_pictures(tmp_path):
    system = Images(T2=Uniform(low=20, high=700, unit="ms"), B1=Constant(value=1.0))
    paths = preview(system, tmp_path)
    assert [path.name for path in paths] == ["parameters.png", "samples.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_absent_peaks_are_left_out():
    params = {"num_peaks": np.array([1, 3]), "amplitude": np.array([[1, 0, 0], [2, 3, 4]])}
    assert present_values(params, params["amplitude"]).tolist() == [1, 2, 3, 4]
    assert present_values(params, params["num_peaks"]).tolist() == [1, 3]


@pytest.mark.parametrize("samples", [0, -5])
def test_wrong_number_of_samples(tmp_path, samples):
    with pytest.raises(ConfigError, match="samples"):
        preview(small_system(), tmp_path, samples)


def test_only_log_uniform_parameters_get_a_logarithmic_axis(tmp_path, monkeypatch):
    scales = {}

    class Kept(Figure):
        def savefig(self, *args, **kwargs):
            super().savefig(*args, **kwargs)
            scales.update({a.get_xlabel(): a.get_xscale() for a in self.axes if a.get_xlabel()})

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    system = Images(
        T2=LogUniform(low=20, high=100, unit="ms"), B1=Uniform(low=0, high=360, unit="deg")
    )
    params = system.draw(Keys(0, "train", np.arange(500)), np.zeros(500))
    parameter_histograms(system, params, tmp_path / "parameters.png")
    assert scales == {"T2 (ms)": "log", "B1 (deg)": "linear"}
