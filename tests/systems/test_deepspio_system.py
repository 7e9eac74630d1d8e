"""The volumes of deepspio, their images, and what it makes of somebody's images."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.phantoms import RandomShapes

SMALL = ["shape=[16,14,12]"]
CLEAN = ["snr=1e6", "contrast=0", "receive_phase=0", "shim.peak=0"]
INDICES = np.arange(4, dtype=np.uint64)
KEYS = Keys(4, "train", INDICES)


def rendered(words=(), **parts):
    system = dataclasses.replace(load_system("deepspio", [*SMALL, *words]), **parts)
    params = system.draw(KEYS, INDICES.astype(float))
    return system, params, system.render(params, KEYS, np)


def test_no_iron_leaves_an_even_image():
    ball = RandomShapes(number=1, size=0.4, aspect=1, position=0, kinds={"ellipse": 1})
    _, _, sample = rendered([*CLEAN, "concentration=0", "shape=[16,16,16]"], body=ball)
    image, mask = sample.inputs["image"][0], sample.inputs["mask"][0]
    inner = np.zeros_like(mask)
    inner[6:11, 6:11, 6:11] = True
    assert mask[inner].all()
    assert np.ptp(abs(image[inner])) < 0.01
    assert abs(np.angle(image[inner])).max() < 0.01
    assert not sample.targets["concentration"].any()
    assert not image[~mask].any()


def test_the_phase_around_a_weak_ball_is_that_of_its_dipole():
    ball = RandomShapes(number=1, size=0.13, aspect=1, position=0, kinds={"ellipse": 1})
    body = RandomShapes(number=1, size=0.47, aspect=1, position=0, kinds={"ellipse": 1})
    words = [*CLEAN, "concentration=0.3", "shape=[32,32,32]", "T2s=10"]
    system, _, sample = rendered(words, spots=ball, body=body)
    x, y, z = system.grid.coordinates()
    r = np.sqrt(x**2 + y**2 + z**2)
    radius = 0.13 * 32 * 2e-3
    chi = 0.3 * 2.0e-6
    field = (
        chi / 3 * (radius / np.maximum(r, 1e-3)) ** 3 * (3 * z**2 / np.maximum(r, 1e-3) ** 2 - 1)
    )
    expected = -2 * math.pi * GAMMA_BAR_1H * 3.0 * field * system.TE
    shell = (r > radius + 4e-3) & (r < 0.4 * 64e-3)
    phase = np.angle(sample.inputs["image"][0])
    difference = (phase - expected)[shell] - np.mean((phase - expected)[shell])
    assert np.linalg.norm(difference) < 0.1 * np.linalg.norm(expected[shell])


def test_relaxivity_darkens_what_the_field_leaves():
    words = [*CLEAN, "concentration=5", "chi_ppm=1e-6", "T2s=1e3", "body.position=0"]
    ball = RandomShapes(number=1, size=0.3, aspect=1, position=0, kinds={"ellipse": 1})
    body = RandomShapes(number=1, size=0.49, aspect=1, position=0, kinds={"box": 1})
    system, _, sample = rendered(words, spots=ball, body=body)
    image = abs(sample.inputs["image"][0])
    iron = sample.targets["concentration"][0]
    ratio = image[8, 7, 6] / np.median(image[sample.inputs["mask"][0] & (iron == 0)])
    assert iron[8, 7, 6] == pytest.approx(5)
    assert ratio == pytest.approx(math.exp(-100 * 5 * system.TE), rel=0.05)


def test_noise_is_as_drawn():
    quiet, loud = (rendered(["concentration=0", f"snr={snr}"]) for snr in ("1e6", "20"))
    for row in range(len(INDICES)):
        mask = quiet[2].inputs["mask"][row]
        noise = (loud[2].inputs["image"] - quiet[2].inputs["image"])[row][mask]
        # Images are over a size that is that of the tissue but for the body's edge.
        assert noise.real.std() == pytest.approx(1 / 20, rel=0.15)


def test_a_field_along_another_axis_turns_the_images():
    _, _, along_z = rendered()
    _, _, along_x = rendered(["B0_direction=[1,0,0]"])
    assert np.array_equal(along_z.targets["concentration"], along_x.targets["concentration"])
    assert abs(along_z.inputs["image"] - along_x.inputs["image"]).max() > 0.1


def test_samples_do_not_depend_on_the_batch():
    system, _, whole = rendered()
    keys = Keys(4, "train", INDICES[2:3])
    alone = system.render(system.draw(keys, np.array([2.0])), keys, np)
    assert np.allclose(alone.inputs["image"][0], whole.inputs["image"][2], atol=1e-6)
    assert np.array_equal(alone.targets["concentration"][0], whole.targets["concentration"][2])


def test_the_quantity_and_the_stream():
    system = load_system("deepspio", SMALL)
    quantity = system.quantities["concentration"]
    assert (quantity.low, quantity.high, quantity.unit) == (0.0, 10.0, "mM")
    sample = Stream(system, device="cpu").sample(range(3))
    assert sample.inputs["image"].dtype == torch.complex64
    assert sample.targets["concentration"].shape == (3, 16, 14, 12)


def test_forward_is_differentiable():
    system = load_system("deepspio", ["shape=[8,8,6]"])
    iron = torch.zeros(1, 8, 8, 6, dtype=torch.float64)
    iron[0, 3:5, 3:5, 2:4] = 1.0
    ones = torch.ones_like(iron)
    leaf = iron.clone().requires_grad_()
    image = system.forward({"concentration": leaf, "M0": ones, "shim": 0 * ones})
    image.abs().square().sum().backward()

    def power(change):
        found = system.forward({"concentration": iron + change, "M0": ones, "shim": 0 * ones})
        return found.abs().square().sum().item()

    step = torch.zeros_like(iron)
    step[0, 4, 4, 3] = 1e-4
    assert leaf.grad[0, 4, 4, 3].item() == pytest.approx(
        (power(step) - power(-step)) / 2e-4, rel=1e-3
    )


class TestMeasured:
    system = load_system("deepspio", SMALL)
    random = np.random.default_rng(0)
    image = (random.normal(size=(9, 8, 7, 1)) + 1j).astype(np.complex64)
    image[0] = 0

    def test_unit_and_plane_of_the_phase_do_not_matter(self):
        found = self.system.measured(self.image, None)
        assert found["image"].shape == (1, 9, 8, 7)
        assert np.array_equal(found["mask"][0], self.image[..., 0] != 0)
        x, y, z = np.meshgrid(*(np.arange(n) for n in (9, 8, 7)), indexing="ij")
        plane = np.exp(1j * (2 + 0.4 * x - 1.1 * y + 0.9 * z))[..., None]
        same = self.system.measured(300 * self.image * plane, np.array([0.004]))
        assert np.allclose(same["image"], found["image"], atol=1e-4)

    def test_a_second_image_is_the_mask(self):
        mask = np.zeros_like(self.image)
        mask[3:6] = 1
        found = self.system.measured(np.concatenate([self.image, mask], axis=-1), None)
        assert np.array_equal(found["mask"][0], mask[..., 0].real > 0)
        assert not found["image"][~found["mask"]].any()

    def test_what_was_rendered_comes_back(self):
        _, _, sample = rendered()
        one = sample.inputs["image"][0][..., None] * np.complex64(50j)
        found = self.system.measured(one, None)
        assert np.allclose(found["image"][0], sample.inputs["image"][0], atol=1e-5)

    @pytest.mark.parametrize(
        ("change", "axis", "message"),
        [
            (abs, None, "real images"),
            (lambda x: x, np.array([0.01]), r"echo time \(s\) \[0.01\]"),
            (lambda x: np.repeat(x, 3, -1), None, "3 images"),
            (lambda x: 0 * x, None, "no signal"),
            (lambda x: x * np.nan, None, "not finite"),
            (lambda x: x[0], None, "2 space axes"),
        ],
    )
    def test_other_images_are_refused(self, change, axis, message):
        with pytest.raises(ConfigError, match=message):
            self.system.measured(change(self.image), axis)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("snr=0", r"snr=\(0.0, 0.0\)"),
        ("concentration=-1", r"concentration=\(-1.0, -1.0\)"),
        ("chi_ppm=0", "without a field"),
        ("TE=0.001", "second half"),
        ("relaxivity=-1", "relaxivity"),
        ("flip=0", "flip"),
        ("spacing=[1,1]", "spacing"),
        ("shape=[8,8,0]", "shape"),
        ("B0_direction=[0,0,0]", "B0_direction"),
        ("spots=3", "spots=3"),
    ],
)
def test_senseless_values_are_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        load_system("deepspio", [word])
