"""Galleries of samples that are no spectra: how each kind of array is seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Uniform
from ipads_stream.phantoms import Grid, RandomShapes, moled_b0
from ipads_stream.preview.phantoms import grid_of, phantoms_of
from ipads_stream.report.galleries import Labels, views
from ipads_stream.report.signals import sample_gallery

MS = {"T2": Quantity(low=0.02, high=0.5, unit="ms", scale="log")}


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "expected"),
    [
        ((3,), "f4", "voxel", ["x"]),
        ((3, 1), "f4", None, ["x"]),
        ((3, 40), "f4", "voxel", ["x"]),
        ((3, 40), "c8", None, ["x"]),
        ((3, 2, 40), "f4", "voxel", ["x, 1 of 2", "x, 2 of 2"]),
        ((3, 8, 9), "f4", "slice", ["x"]),
        ((3, 8, 9), "c8", None, ["|x|", "phase of x"]),
        ((3, 2, 8, 9), "f4", "slice", ["x, 1 of 2", "x, 2 of 2"]),
        ((3, 32, 8, 9), "f4", "slice", ["x, 1 of 32", "x, 11 of 32", "x, 22 of 32", "x, 32 of 32"]),
        ((3, 4, 8, 9), "c8", None, [f"|x, {k} of 4|" for k in (1, 2, 3, 4)]),
        ((3, 10, 8, 9), "f4", "volume", ["x\nsagittal", "x\ncoronal", "x\naxial"]),
        ((3, 10, 8, 9), "f4", None, ["x\nsagittal", "x\ncoronal", "x\naxial"]),
        ((3, 1, 10, 8, 9), "f4", "volume", ["x\nsagittal", "x\ncoronal", "x\naxial"]),
    ],
)
def test_what_is_seen_of_an_array(shape, dtype, kind, expected):
    assert [one.title for one in views("x", np.ones(shape, dtype), Labels(kind=kind))] == expected


def test_slices_cross_in_the_middle():
    volume = np.arange(2 * 4 * 6 * 8, dtype=np.float32).reshape(2, 4, 6, 8)
    sagittal, coronal, axial = (one.values for one in views("x", volume, Labels(kind="volume")))
    assert (sagittal.shape, coronal.shape, axial.shape) == ((2, 6, 8), (2, 4, 8), (2, 4, 6))
    assert sagittal[1, 3, 4] == coronal[1, 2, 4] == axial[1, 2, 3] == volume[1, 2, 3, 4]


def test_phase_is_seen_where_there_is_something():
    image = np.array([[[1j, 0], [1e-4, -1]]], dtype=np.complex64)
    phase = views("x", image, Labels(kind="slice"))[1].values
    np.testing.assert_allclose(phase[0], [[np.pi / 2, np.nan], [np.nan, np.pi]], rtol=1e-6)


@pytest.fixture
def axes_of(monkeypatch):
    kept = []

    class Kept(Figure):
        def savefig(self, *args, **kwargs):
            super().savefig(*args, **kwargs)
            kept.extend(self.axes)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return kept


def test_maps_are_in_their_unit_inside_the_mask(tmp_path, axes_of):
    T2 = torch.full((2, 8, 9), 0.1)
    T2[:, 0] = 0.2
    mask = torch.ones(2, 8, 9, dtype=torch.bool)
    mask[:, -1] = False
    sample = Sample(
        inputs={"image": torch.rand(2, 8, 9)}, targets={"T2": T2, "mask": mask}, params={}
    )
    path = sample_gallery(
        sample, tmp_path / "x.png", labels=Labels(kind="slice", quantities=MS), titles=["a", "b"]
    )
    assert path.exists()
    images = [np.ma.filled(i.get_array(), np.nan) for axis in axes_of for i in axis.images]
    assert len(images) == 4  # no column for the mask
    shown = images[-1]
    assert np.isnan(shown[-1]).all() and np.nanmax(shown) == pytest.approx(200)
    assert "ms" in [axis.get_xlabel() for axis in axes_of]


def test_images_of_one_column_share_their_scale(tmp_path, axes_of):
    image = torch.zeros(2, 4, 4)
    image[1] = torch.arange(16.0).reshape(4, 4)
    sample_gallery(Sample(inputs={"x": image}, targets={}, params={}), tmp_path / "x.png")
    limits = {image.get_clim() for axis in axes_of for image in axis.images}
    assert len(limits) == 1


def test_voxels_tell_their_quantities(tmp_path, axes_of):
    sample = Sample(
        inputs={"signal": torch.rand(4, 30, dtype=torch.complex64), "sigma": torch.rand(4)},
        targets={"T2": torch.tensor([0.1, 0.02, 0.3, 0.05])},
        params={},
    )
    sample_gallery(sample, tmp_path / "x.png", labels=Labels(kind="voxel", quantities=MS), count=4)
    drawn = [axis for axis in axes_of if axis.lines]
    assert len(drawn) == 4
    titles = [axis.get_title(loc="left").replace("\xa0", " ") for axis in drawn]
    assert [title.partition("\n")[2] for title in titles] == [
        "T2 100 ms", "T2 20 ms", "T2 300 ms", "T2 50 ms",
    ]  # fmt: skip
    assert {line.get_label() for line in drawn[0].lines} >= {"signal, real", "signal, imaginary"}
    assert "sigma" in drawn[0].texts[0].get_text()


def test_curves_of_other_length_have_panels_of_their_own(tmp_path, axes_of):
    sample = Sample(
        inputs={"decay": torch.rand(3, 32), "features": torch.rand(3, 12)},
        targets={"T2": torch.rand(3)},
        params={},
    )
    sample_gallery(sample, tmp_path / "x.png", labels=Labels(kind="voxel"), count=3)
    labels = [axis.get_ylabel() for axis in axes_of if axis.lines]
    assert labels == ["decay (a.u.)", "features (a.u.)"] * 3


def test_samples_of_numbers_alone_are_told(tmp_path):
    sample = Sample(inputs={"a": torch.rand(2)}, targets={"T2": torch.rand(2)}, params={})
    assert sample_gallery(sample, tmp_path / "x.png").stat().st_size > 3000


def test_images_beside_numbers_and_curves(tmp_path, axes_of):
    sample = Sample(
        inputs={"image": torch.rand(2, 5, 5)},
        targets={"T2": torch.rand(2), "line": torch.rand(2, 7)},
        params={},
    )
    sample_gallery(sample, tmp_path / "x.png", labels=Labels(quantities=MS))
    assert any("ms" in text.get_text() for axis in axes_of for text in axis.texts)


def test_a_sample_that_is_not_finite_is_drawn_as_far_as_it_goes(tmp_path):
    sample = Sample(
        inputs={"image": torch.full((1, 5, 5), torch.nan)},
        targets={"T2": torch.full((1, 5, 5), torch.inf)},
        params={},
    )
    assert sample_gallery(sample, tmp_path / "x.png", count=1).exists()


@dataclass(frozen=True)
class System:
    B0: Any
    shapes: Any
    rate: Any
    voxels: Any


def test_phantoms_and_grids_are_found():

    system = System([moled_b0()], RandomShapes(), Uniform(low=0, high=1), Grid((4, 6), (0.1, 0.1)))
    assert list(phantoms_of(system)) == ["B0.0", "shapes"]
    assert grid_of(system).shape == (4, 6)
    assert grid_of(object()).shape == (96, 96)


def test_the_mask_of_the_measurement_is_seen_once(tmp_path, axes_of):
    """In the field, which is 0 outside it, and in the targets; ppm is said in the name."""
    mask = torch.ones(2, 9, 9, 9, dtype=torch.bool)
    sample = Sample(
        inputs={"field_ppm": torch.rand(2, 9, 9, 9), "mask": mask},
        targets={"chi_ppm": torch.rand(2, 9, 9, 9), "mask": mask},
        params={},
    )
    sample_gallery(sample, tmp_path / "x.png", labels=Labels(kind="volume"))
    assert sum(len(axis.images) for axis in axes_of) == 2 * 6
    assert [axis.get_xlabel() for axis in axes_of].count("ppm") == 6
