"""Tissue-class brains: where the tissues are, what values they have, and that they are keyed."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.phantoms.brain import TISSUES, TissueBrain, atlas_of
from ipads_stream.phantoms.grid import Grid

PLANE, SPACE = Grid((48, 48), (4.5e-3, 4.5e-3)), Grid((24, 28, 24), (9e-3, 9e-3, 9e-3))
KEYS = Keys(2, "test", np.arange(6))
PLAIN = {
    "extent": None, "deformation": None, "turn": 0.0, "stretch": 1.0, "shift": 0.0,
    "within": 0.0, "position": 0.0,
}  # fmt: skip


@pytest.fixture
def folder(data_folder):
    return str(data_folder / "brain")


def _one(value):
    return {t: {"T1": Constant(value=value * k)} for k, t in enumerate(("gm", "wm", "csf"), 1)}


@pytest.fixture
def small_atlas(tmp_path):
    """Balls one in the other in files of the atlas's names; 1 mm voxels."""
    import nibabel

    r = np.linalg.norm(np.indices((61, 61, 61)) - 30, axis=0)
    shares = {"gm": (r < 25) & (r >= 15), "wm": r < 15, "t1": r < 28}
    for name, where in shares.items():
        image = nibabel.Nifti1Image((255 * where).astype(np.uint8), np.eye(4))
        nibabel.save(image, tmp_path / f"mni_icbm152_{name}_tal_nlin_sym_09a.nii.gz")
    return str(tmp_path)


def test_the_volumes_of_tissues_are_those_of_the_maps(small_atlas):
    brain = TissueBrain(folder=small_atlas, values=_one(1.0), **PLAIN)
    maps = brain.draw(Keys(0, "t", np.arange(1)), Grid((64, 64, 64), (1e-3, 1e-3, 1e-3)))
    ball = lambda r: 4 / 3 * np.pi * r**3  # noqa: E731
    assert maps["wm"].sum() == pytest.approx(ball(15), rel=0.03)
    assert maps["gm"].sum() == pytest.approx(ball(25) - ball(15), rel=0.03)
    assert maps["csf"].sum() == pytest.approx(ball(28) - ball(25), rel=0.06)
    pure = [maps["T1"][0, 32, 32, at] for at in (32, 52, 58)]
    assert pure == pytest.approx([2.0, 1.0, 3.0], abs=1e-5)
    assert maps["T1"][0, 0, 0, 0] == 0


def test_coarser_grids_hold_the_same_volume(small_atlas):
    brain = TissueBrain(folder=small_atlas, values=_one(1.0), **PLAIN)
    keys = Keys(0, "t", np.arange(1))
    for n, d in ((32, 2e-3), (18, 4e-3)):
        shares = brain.draw(keys, Grid((n, n, n), (d, d, d)))
        assert shares["wm"][0].sum() * d**3 == pytest.approx(4 / 3 * np.pi * 15e-3**3, rel=0.03)


@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
def test_sample_n_is_the_same_in_any_batch(grid, small_atlas):
    brain = TissueBrain(folder=small_atlas)
    whole = brain.draw(KEYS, grid)
    assert set(whole) == {"gm", "wm", "csf", "T1", "T2", "PD"}
    part = brain.draw(Keys(2, "test", np.array([4])), grid)
    for name in whole:
        assert whole[name].shape == (6, *grid.shape)
        assert whole[name].dtype == np.float32
        scale = whole[name].max()
        # The deformation is a product of matrices; a voxel may lie 1e-5 of itself elsewhere.
        assert np.abs(part[name][0] - whole[name][4]).max() < 2e-3 * scale
    total = whole["gm"] + whole["wm"] + whole["csf"]
    assert total.max() < 1.01
    assert (whole["T1"][total <= 0.02] == 0).all()
    assert (whole["T2"][total > 0.03] > 0).all()
    assert len({m.tobytes() for m in whole["T1"]}) == 6


def test_values_vary_between_samples_and_within_tissue(small_atlas):
    still = {key: value for key, value in PLAIN.items() if key != "within"}
    values = {t: {"T2": Uniform(low=50 * k, high=80 * k, unit="ms")} for k, t in
              enumerate(("gm", "wm", "csf"), 1)}  # fmt: skip
    keys = Keys(0, "t", np.arange(40))
    for within in (0.0, 0.1):
        brain = TissueBrain(folder=small_atlas, values=values, within=within, **still)
        maps = brain.draw(keys, Grid((30, 30), (2e-3, 2e-3)))
        pure = maps["wm"] > 0.999
        means = np.array([m[p].mean() for m, p in zip(maps["T2"], pure, strict=True)])
        inside = np.array([m[p].std() / m[p].mean() for m, p in zip(maps["T2"], pure, strict=True)])
        assert means.std() > 0.01
        if within == 0:
            assert 0.0999 < means.min() < means.max() < 0.1601
            assert inside.max() < 1e-5
        else:
            assert 0.04 < inside.mean() < 0.12


def test_the_atlas(folder):
    atlas = atlas_of(folder)
    assert atlas is atlas_of(folder)
    assert atlas.voxels.nbytes < 20e6
    brain = TissueBrain(folder=folder, **PLAIN)
    maps = brain.draw(Keys(0, "t", np.arange(1)), Grid((80, 96, 80), (2e-3, 2e-3, 2e-3)))
    litres = {t: float(maps[t].sum()) * 8e-6 for t in ("gm", "wm", "csf")}
    assert 0.8 < litres["gm"] < 1.2  # the maps count all of grey matter
    assert 0.5 < litres["wm"] < 0.8
    assert 0.1 < litres["csf"] < 0.4
    # The two halves of a symmetric atlas.
    found = brain.draw(Keys(0, "t", np.arange(1)), Grid((81, 96, 80), (2e-3,) * 3))
    shares = np.concatenate([found[tissue] for tissue in TISSUES])
    assert np.abs(shares - shares[:, ::-1]).mean() < 0.05


def test_slices_of_all_planes(folder):
    keys = Keys(0, "t", np.arange(12))
    for plane in ("axial", "coronal", "sagittal"):
        maps = TissueBrain(folder=folder, planes={plane: 1}).draw(keys, PLANE)
        filled = (maps["T1"] > 0).mean(axis=(1, 2))
        assert filled.min() > 0.1
        assert filled.max() < 0.9


def test_refusals(tmp_path, monkeypatch):
    monkeypatch.delenv("IPADS_DATA", raising=False)
    with pytest.raises(ConfigError, match="IPADS_DATA"):
        TissueBrain().draw(KEYS, PLANE)
    with pytest.raises(ConfigError, match="a folder that holds mni_icbm152_gm"):
        TissueBrain(folder=str(tmp_path)).draw(KEYS, PLANE)
    with pytest.raises(ConfigError, match="the same quantities"):
        TissueBrain(values={"gm": {"T1": 1.0}, "wm": {"T2": 1.0}, "csf": {"T1": 1.0}})
    with pytest.raises(ConfigError, match="planes"):
        TissueBrain(planes={"oblique": 1.0})
    with pytest.raises(ConfigError, match=r"values\.gm\.T1\.unit|values.gm.T1"):
        TissueBrain(values={t: {"T1": "long"} for t in ("gm", "wm", "csf")})
