"""The volumes of qsmnet, their field, and what it makes of somebody's field map."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.phantoms import RandomShapes
from ipads_stream.physics.fields import dipole

SMALL = ["shape=[16,14,12]", "regions.number=12"]
INDICES = np.arange(6, dtype=np.uint64)
KEYS = Keys(4, "train", INDICES)


def rendered(words=()):
    system = load_system("qsmnet", [*SMALL, *words])
    params = system.draw(KEYS, INDICES.astype(float))
    return system, params, system.render(params, KEYS, np)


def test_the_field_is_that_of_the_susceptibility_with_the_drawn_noise():
    system, params, sample = rendered(["shape=[24,24,24]"])
    chi, mask = sample.targets["chi_ppm"], sample.inputs["mask"]
    clean = dipole.field(chi, system.spacing, system.B0_direction)
    assert np.array_equal(system.forward({"chi_ppm": chi}), clean)
    noise = sample.inputs["field_ppm"] - clean
    for row, sigma in enumerate(params["noise"]):
        assert noise[row][mask[row]].std() == pytest.approx(sigma, rel=0.1)
    assert not sample.inputs["field_ppm"][~mask].any()
    assert not chi[~mask].any()
    assert 0.05 < mask.mean() < 0.5


def test_the_object_lies_inside_the_volume():
    _, _, sample = rendered(["shape=[24,24,24]"])
    mask = sample.targets["mask"]
    for axis in (1, 2, 3):
        assert not np.take(mask, [0, -1], axis=axis).any()


def test_a_sphere_has_the_field_of_a_sphere():
    one = ["within=0", "noise=0", "enhanced=0", "chi_ppm=1", "body=null", "shape=[32,32,32]"]
    ball = RandomShapes(number=1, size=0.2, aspect=1, position=0, kinds={"ellipse": 1})
    system = dataclasses.replace(load_system("qsmnet", one), regions=ball)
    sample = system.render(system.draw(KEYS, INDICES.astype(float)), KEYS, np)
    x, y, z = (along * 1e3 for along in system.grid.coordinates())
    r = np.sqrt(x**2 + y**2 + z**2)
    radius = 0.2 * 32
    expected = (radius / np.maximum(r, 1)) ** 3 * (3 * z**2 / np.maximum(r, 1) ** 2 - 1) / 3
    out = r > radius + 1.5
    found = sample.inputs["field_ppm"][0]
    assert np.linalg.norm((found - expected)[out]) < 0.02 * np.linalg.norm(expected[out])
    assert sample.inputs["mask"].all()


def test_enhancement_multiplies_regions_and_leaves_the_rest_as_it_is():
    _, narrow, plain = rendered(["enhanced=0", "within=0"])
    _, wide, all_of_them = rendered(["enhanced=1", "factor=5", "within=0"])
    assert np.array_equal(narrow["chi_ppm"], wide["chi_ppm"])
    ratio = 5 * plain.targets["chi_ppm"]
    assert np.allclose(all_of_them.targets["chi_ppm"], ratio, atol=1e-5)
    _, _, some = rendered(["enhanced=0.5", "factor=5", "within=0"])
    changed = ~np.isclose(some.targets["chi_ppm"], plain.targets["chi_ppm"], atol=1e-6)
    assert 0.2 < changed[plain.targets["chi_ppm"] != 0].mean() < 0.8
    assert np.array_equal(some.targets["mask"], plain.targets["mask"])


def test_the_quantity_covers_what_is_drawn():
    quantity = load_system("qsmnet").quantities["chi_ppm"]
    assert (quantity.low, quantity.high, quantity.unit) == (-2.0, 2.0, "ppm")
    assert quantity.bids == "Chimap"
    narrow = load_system("qsmnet", ["enhanced=0", "factor=1"])
    assert narrow.quantities["chi_ppm"].high == 0.2


def test_the_stream_delivers_tensors():
    sample = Stream(load_system("qsmnet", SMALL), device="cpu").sample(range(3))
    assert sample.inputs["mask"].dtype == torch.bool
    assert sample.inputs["field_ppm"].shape == (3, 16, 14, 12)


class TestMeasured:
    system = load_system("qsmnet", SMALL)
    ppm = np.zeros((8, 7, 6, 1), np.float32)
    ppm[2:6, 2:5, 1:5] = np.random.default_rng(0).normal(0, 0.05, (4, 3, 4, 1))

    def test_ppm_without_and_hertz_with_the_scanner_s_frequency(self):
        found = self.system.measured(self.ppm, None)
        assert np.array_equal(found["field_ppm"][0], self.ppm[..., 0])
        assert np.array_equal(found["mask"][0], self.ppm[..., 0] != 0)
        same = self.system.measured(self.ppm * 127.7, np.array([127.7e6]))
        assert np.allclose(same["field_ppm"], found["field_ppm"], rtol=1e-5)

    def test_a_second_image_is_the_mask(self):
        mask = np.zeros_like(self.ppm)
        mask[3:5] = 1
        found = self.system.measured(np.concatenate([self.ppm, mask], axis=-1), None)
        assert np.array_equal(found["mask"][0], mask[..., 0] > 0)
        assert not found["field_ppm"][0][mask[..., 0] == 0].any()

    @pytest.mark.parametrize(
        ("change", "axis", "message"),
        [
            (lambda x: x * 127.7, None, "a field of .* ppm if it is in ppm"),
            (lambda x: x, np.array([127.7e6]), "if it is in Hz"),
            (lambda x: x * 0, None, "a field of 0 ppm"),
            (lambda x: np.repeat(x, 3, -1), None, "3 images"),
            (lambda x: x + 0j, None, "complex images"),
            (lambda x: x[0], None, "2 space axes"),
            (lambda x: x[:, :, 2:3], None, "a volume, not a plane"),
        ],
    )
    def test_other_images_are_refused(self, change, axis, message):
        with pytest.raises(ConfigError, match=message):
            self.system.measured(change(self.ppm), axis)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("noise=-1", r"noise=\(-1.0, -1.0\)"),
        ("enhanced=2", r"enhanced=\(2.0, 2.0\)"),
        ("spacing=[1,1]", "spacing"),
        ("shape=[8,8,0]", "shape"),
        ("B0_direction=[0,0,0]", "B0_direction"),
        ("regions=3", "regions=3"),
        ("variation=3", "variation=3"),
    ],
)
def test_senseless_values_are_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        load_system("qsmnet", [word])
