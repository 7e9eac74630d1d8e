"""Textures: keyed, from 0 to 1, of the spectra they state; and how they are poured."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform, Uniform
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.pyramid import pyramid
from ipads_stream.phantoms.textures import (
    FractalTexture,
    ImageTexture,
    LatticeTexture,
    affine,
    by_rank,
    mixed,
    modulated,
)

PLANE, SPACE = Grid((32, 48), (4e-3, 3e-3)), Grid((12, 16, 20), (5e-3, 5e-3, 4e-3))
KEYS = Keys(2, "test", np.arange(10))


@pytest.fixture
def pictures(tmp_path):
    from matplotlib.image import imsave

    x, y = np.meshgrid(np.linspace(0, 1, 120), np.linspace(0, 1, 160), indexing="ij")
    imsave(tmp_path / "ramp.png", x, cmap="gray", vmin=0, vmax=1)
    imsave(tmp_path / "waves.png", 0.5 + 0.5 * np.sin(40 * y + 9 * x), cmap="gray")
    (tmp_path / "notes.txt").write_text("not an image")
    return str(tmp_path)


@pytest.mark.parametrize(
    "texture", [FractalTexture(), LatticeTexture()], ids=["fractal", "lattice"]
)
@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
def test_procedural_textures(texture, grid):
    whole = texture.draw(KEYS, grid, count=3)
    assert whole.shape == (10, 3, *grid.shape)
    assert whole.dtype == np.float32
    flat = whole.reshape(30, -1)
    assert (flat.min(axis=1) == 0).all()
    assert flat.max(axis=1) == pytest.approx(np.ones(30), abs=1e-6)
    part = texture.draw(Keys(2, "test", np.array([7, 2])), grid, count=3)
    assert np.abs(part - whole[[7, 2]]).max() < 2e-5
    assert np.corrcoef(flat).round(3).sum() < 30 + 60  # not one and the same
    assert not np.array_equal(texture.draw(KEYS, grid, name="b")[:, 0], whole[:, 0])


@pytest.mark.parametrize("exponent", [1.0, 2.5])
def test_a_fractal_has_its_exponent(exponent):
    grid = Grid((64, 64), (1e-3, 1e-3))
    drawn = FractalTexture(exponent=exponent).draw(Keys(0, "test", np.arange(50)), grid)[:, 0]
    power = np.abs(np.fft.fft2(drawn - drawn.mean(axis=(1, 2), keepdims=True))) ** 2
    power /= power.mean(axis=(1, 2), keepdims=True)
    f = np.fft.fftfreq(64) * 64
    k = np.hypot(f[:, None], f[None])
    ring = (k > 2) & (k < 30)
    slope = np.polyfit(np.log(k[ring]), np.log(power.mean(axis=0)[ring]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_a_lattice_joins_its_points_smoothly():
    """With one octave the lattice's points are reached and passed with slope 0."""
    grid = Grid((64, 64), (1e-3, 1e-3))
    drawn = LatticeTexture(cells=2, octaves=1).draw(KEYS, grid)[:, 0]
    steps = np.abs(np.diff(drawn, axis=1))
    assert steps[:, [0, 31, 62]].max() < 0.35 * steps.max()


def test_crops_of_images(pictures):
    texture = ImageTexture(folder=pictures, width=0.3)
    whole = texture.draw(KEYS, PLANE, count=2)
    assert whole.shape == (10, 2, *PLANE.shape)
    flat = whole.reshape(20, -1)
    assert (flat.min(axis=1) == 0).all()
    assert flat.max(axis=1) == pytest.approx(np.ones(20), abs=1e-6)
    part = texture.draw(Keys(2, "test", np.array([7])), PLANE, count=2)
    assert np.array_equal(part[0], whole[7])
    with pytest.raises(ConfigError, match="two axes"):
        texture.draw(KEYS, SPACE)


def test_a_crop_of_a_ramp_is_a_plane(tmp_path):
    """Turned and scaled, but linear where it does not reach the mirror."""
    from matplotlib.image import imsave

    ramp = np.tile(np.linspace(0, 1, 256)[:, None], (1, 256))
    imsave(tmp_path / "ramp.png", ramp, cmap="gray", vmin=0, vmax=1)
    drawn = ImageTexture(folder=str(tmp_path), width=0.2).draw(KEYS, Grid((24, 24), (1.0, 1.0)))
    x, y = np.meshgrid(np.arange(24), np.arange(24), indexing="ij")
    basis = np.stack([x.ravel(), y.ravel(), np.ones(576)], axis=1)
    left = []
    for picture in drawn[:, 0]:
        fit = np.linalg.lstsq(basis, picture.ravel(), rcond=None)[0]
        left.append(np.abs(basis @ fit - picture.ravel()).max())
    assert np.sum(np.array(left) < 0.06) >= 5


def test_no_images(tmp_path, monkeypatch):
    monkeypatch.delenv("IPADS_DATA", raising=False)
    with pytest.raises(ConfigError, match="folder of images, or IPADS_DATA"):
        ImageTexture().draw(KEYS, PLANE)
    with pytest.raises(ConfigError, match="a folder of images"):
        ImageTexture(folder=str(tmp_path / "empty")).draw(KEYS, PLANE)


def test_natural_images(data_folder):
    drawn = ImageTexture(folder=str(data_folder / "texture")).draw(KEYS, PLANE, count=4)
    assert np.isfinite(drawn).all()
    assert drawn.std(axis=(2, 3)).min() > 0.02


def test_a_pyramid_holds_means_of_pairs():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (2, 1, 8, 12)).astype(np.uint8)
    levels = pyramid([source, source[:, :, :6]], levels=3)
    offset, size = levels.offsets[0, 1], levels.sizes[0, 1]
    assert tuple(size) == (1, 4, 6)
    half = levels.voxels[offset : offset + 48].reshape(2, 4, 6)
    exact = source[:, 0].reshape(2, 4, 2, 6, 2).mean(axis=(2, 4))
    assert np.abs(half - exact).max() <= 0.5
    # A reduced level has its voxels where the means of the source lie.
    places = np.zeros((1, 3, 2), np.float32)
    places[0, 1], places[0, 2] = [0.5, 2.5], [0.5, 4.5]
    found = levels.sampled(np.array([0]), np.array([2.0]), places)
    assert found[0, :, 0] == pytest.approx(half[:, 0, 0] / 255, abs=1e-6)
    assert found[0, :, 1] == pytest.approx(half[:, 1, 2] / 255, abs=1e-6)


def test_by_rank_gives_the_histogram_of_a_distribution():
    texture = LatticeTexture().draw(KEYS, PLANE)[:, 0]
    wanted = LogUniform(low=20, high=700, unit="ms")
    poured = by_rank(texture, wanted)
    n = PLANE.num_voxels
    exact = wanted.quantile((np.arange(n) + 0.5) / n)
    for picture, source in zip(poured, texture, strict=True):
        assert np.sort(picture.ravel()) == pytest.approx(exact, rel=1e-6)
        order = np.argsort(source.ravel(), kind="stable")
        assert (np.diff(picture.ravel()[order]) >= 0).all()


def test_affine_and_modulated():
    texture = FractalTexture().draw(KEYS, PLANE)[:, 0]
    poured = affine(texture, 0.5, 2.0)
    assert poured == pytest.approx(0.5 + 1.5 * texture, abs=1e-6)
    maps = np.where(texture > 0.5, np.float32(1.0), np.float32(0.0))
    out = modulated(maps, texture, np.linspace(0, 0.9, 10), low=0.4, high=1.6)
    assert np.array_equal(out[0], maps[0])
    assert (out[maps == 0] == 0).all()
    assert out.max() <= 1.6
    inside = (maps[5] > 0) & (out[5] < 1.6)
    assert out[5][inside] == pytest.approx((1 + 0.5 * (2 * texture[5] - 1))[inside], abs=1e-6)


def test_mixed_textures_lie_where_their_share_is():
    shares = np.zeros((1, 2, 4, 4), np.float32)
    shares[0, 0, :2], shares[0, 1, 1:3] = 1.0, 1.0
    textures = np.stack([np.full((1, 4, 4), 0.2), np.full((1, 4, 4), 0.8)], 1).astype(np.float32)
    out = mixed(shares, textures)[0]
    assert out[:, 0] == pytest.approx([0.2, 0.5, 0.8, 0.0])


def test_refusals():
    for make, message in (
        (lambda: FractalTexture(exponent=-1.0), "exponent"),
        (lambda: LatticeTexture(cells=0), "cells=0: a whole number"),
        (lambda: LatticeTexture(persistence=Uniform(low=-1, high=0)), "persistence"),
        (lambda: ImageTexture(width=Constant(value=0.0)), "width"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
