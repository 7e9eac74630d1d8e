"""Overlapping echoes: physics of the images, noise, targets, determinism, somebody's images."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from ipads_stream import ConfigError, Stream, load_system
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.phantoms import LatticeTexture
from ipads_stream.systems.oled import inputs_of

WORDS = ["sequence.matrix=32"]


@pytest.fixture(scope="module")
def system():
    return load_system("oled", WORDS)


def keys(indices):
    return Keys(0, "train", np.asarray(indices, dtype=np.uint64))


def sample(system, indices):
    return Stream(system, device="cpu", threads=0).sample(indices)


def test_a_sample_is_the_same_in_any_batch(system):
    together, alone = sample(system, range(4)), sample(system, [2])
    image = together.inputs["image"][2:3]
    assert torch.allclose(image, alone.inputs["image"], atol=2e-4)
    for name in ("T2", "mask"):
        assert torch.equal(together.targets[name][2:3], alone.targets[name])
    again = sample(system, range(4))
    assert torch.equal(again.inputs["image"], together.inputs["image"])


def test_inputs_and_targets_have_their_units(system):
    made = sample(system, range(3))
    image, T2, mask = made.inputs["image"], made.targets["T2"], made.targets["mask"]
    assert image.shape == (3, 2, 32, 32) and image.dtype == torch.float32
    assert T2.shape == mask.shape == (3, 32, 32) and mask.dtype == torch.bool
    assert T2.dtype == torch.float32
    assert image.square().sum(1).amax((1, 2)).numpy() == pytest.approx(1.0, rel=1e-4)
    inside = T2[mask]
    assert inside.min() > 0.0199 and inside.max() < 0.7001 and inside.std() > 0.05
    assert 0.2 < mask.float().mean() < 0.9


def test_the_noise_has_the_drawn_level(system):
    quiet = dataclasses.replace(system, noise=Constant(value=0.0), phase=Constant(value=0.0))
    loud = dataclasses.replace(quiet, noise=Constant(value=0.03))
    spread = []
    for n in range(4):
        clean, noisy = (sample(s, [n]).inputs["image"].numpy() for s in (quiet, loud))
        a, b = (x[:, 0] + 1j * x[:, 1] for x in (clean, noisy))
        factor = np.vdot(a, b) / np.vdot(a, a)  # of the new scale and phase
        spread.append(np.sqrt(np.mean(np.abs(b / factor - a) ** 2) / 2))
    assert np.mean(spread) == pytest.approx(0.03, rel=0.03)


def test_the_receivers_phase_is_taken_out(system):
    still = dataclasses.replace(system, noise=Constant(value=0.0), phase=Constant(value=0.0))
    turned = dataclasses.replace(still, phase=Constant(value=2.0))
    one, two = (sample(s, range(3)).inputs["image"] for s in (still, turned))
    assert torch.allclose(one, two, atol=1e-4)


def test_the_target_is_the_mean_of_log_T2_weighed_by_proton_density(system):
    maps = system.maps(keys(range(2)), np)
    made = sample(system, range(2))
    i, j = 15, 17
    rows, weights = (np.arange(2 * i - 1, 2 * i + 2), np.arange(2 * j - 1, 2 * j + 2)), [1, 2, 1]
    w = np.outer(weights, weights) * maps["PD"][:, rows[0][:, None], rows[1]]
    log = np.log(maps["T2"][:, rows[0][:, None], rows[1]])
    expected = np.exp((w * log).sum((1, 2)) / w.sum((1, 2)))
    counted = made.targets["mask"][:, i, j].numpy()
    assert counted.any()
    assert made.targets["T2"][:, i, j].numpy()[counted] == pytest.approx(
        expected[counted], rel=1e-4
    )
    assert np.array_equal(counted, w.sum((1, 2)) / 16 > 0.1)


def test_maps_are_averaged_over_voxels_about_the_same_centre(system):
    """A straight line stays one: no shift between template and image."""
    n = system.grid.shape[0]
    x = (np.arange(n, dtype=np.float32) - n // 2)[None, :, None] + np.zeros((1, n, n), np.float32)
    found = system.averaged(x)[0]
    m = system.matrix
    assert found[1:-1, 3] == pytest.approx(2.0 * (np.arange(m) - m // 2)[1:-1])


def test_echoes_decay_as_T2_says():
    """Of small excitations, without B0 and B1: later pulses hardly touch what earlier ones made."""
    system = load_system("oled", [*WORDS, "sequence.flip=0.05"])
    m, n = system.matrix, system.grid.shape[0]
    c = (np.arange(n) - n // 2) / n
    PD = (np.hypot(c[:, None], c) < 0.35)[None].astype(np.float32)

    def peaks(T2):
        of = {"PD": PD, "T2": np.full_like(PD, T2), "T1": np.full_like(PD, 2.0),
              "df": np.zeros_like(PD), "B1": np.ones_like(PD)}  # fmt: skip
        image, r = system.forward(of)[0], (np.arange(m) - m // 2) * system.fov / m
        turns = [np.exp(-2j * np.pi * system.shot.echoes[:, axis, None] * r) for axis in range(2)]
        return np.abs(np.einsum("ex,xy,ey->e", turns[0], image, turns[1]))

    short, long = peaks(0.06), peaks(0.3)
    slope = np.polyfit(system.shot.TE, np.log(short / long), 1)[0]
    assert slope == pytest.approx(-(1 / 0.06 - 1 / 0.3), rel=0.02)


def test_another_B1_leaves_templates_noise_and_B0_alone(system):
    other = dataclasses.replace(system, B1=None)
    one, two = (s.maps(keys(range(2)), np) for s in (system, other))
    for name in ("PD", "T1", "T2", "df"):
        assert np.array_equal(one[name], two[name])
    assert np.ptp(one["B1"]) > 0.1 and (two["B1"] == 1).all()
    assert np.abs(one["df"]).max() > 10


def test_textures_are_what_the_shapes_do_not_have(system):
    """Neighbours are alike between edges of shapes, and hardly ever with a texture on them."""
    plain = dataclasses.replace(
        system, templates=dataclasses.replace(system.templates, texture=None)
    )
    poured = dataclasses.replace(
        system,
        templates=dataclasses.replace(
            system.templates, texture=LatticeTexture(), share=Constant(value=0.5)
        ),
    )
    shares = []
    for of in (plain, poured):
        T2 = of.maps(keys(range(4)), np)["T2"]
        shares.append((np.abs(np.diff(np.log(T2), axis=1)) < 1e-5).mean())
    assert shares[0] > 0.5 > 0.05 > shares[1]


class TestMeasured:
    def image(self, system):
        made = sample(dataclasses.replace(system, noise=Constant(value=0.0)), range(2))
        parts = made.inputs["image"].numpy()
        return made, parts[:, 0] + 1j * parts[:, 1]

    def test_somebodys_images_become_the_same_inputs(self, system):
        made, images = self.image(system)
        theirs = np.moveaxis(300 * np.exp(0.7j) * images, 0, 2)[..., None]
        found = system.measured(theirs, None)["image"]
        assert found.dtype == np.float32
        assert found == pytest.approx(made.inputs["image"].numpy(), abs=1e-4)
        plane = system.measured(theirs[:, :, 1], None)["image"]
        assert plane == pytest.approx(found[1:], abs=1e-6)

    def test_an_empty_slice_stays_finite(self, system):
        found = system.measured(np.zeros((32, 32, 1), np.complex64), None)["image"]
        assert (found == 0).all()

    @pytest.mark.parametrize(
        ("images", "told"),
        [
            (np.ones((32, 32, 1)), "complex"),
            (np.ones((32, 32, 4), complex), "one image"),
            (np.ones((32, 48, 1), complex), "32 x 32"),
            (np.full((32, 32, 1), np.nan + 0j), "finite"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, system, images, told):
        with pytest.raises(ConfigError, match=told):
            system.measured(images, None)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"noise": Uniform(low=-0.1, high=0.1)}, "noise"),
            ({"finer": 0}, "finer"),
            ({"finer": 1.5}, "finer"),
            ({"T2_low": 1.0}, "T2_low"),
            ({"templates": None}, "templates"),
            ({"B0": 3.0}, "B0"),
        ],
    )
    def test_senseless_values_by_name(self, system, change, key):
        with pytest.raises(ConfigError, match=key):
            dataclasses.replace(system, **change)

    def test_echoes_that_lie_on_one_another(self):
        with pytest.raises(ConfigError, match="apart in k-space"):
            load_system("oled", [*WORDS, "sequence.offsets_x=[0.0,0.0,0.0,0.0]",
                                 "sequence.offsets_y=[0.0,0.0,0.0,0.0]"])  # fmt: skip

    def test_a_single_echo_tells_nothing_of_T2(self):
        words = [
            "sequence.pulse_times=[0.0]",
            "sequence.offsets_x=[0.0]",
            "sequence.offsets_y=[0.0]",
        ]
        with pytest.raises(ConfigError, match="T2 leaves no trace"):
            load_system("oled", [*WORDS, *words])

    def test_what_the_scanner_cannot_play(self):
        with pytest.raises(ConfigError, match=r"sequence\."):
            load_system("oled", ["sequence.matrix=256"])


def test_inputs_do_not_depend_on_scale_or_phase():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 8)) + 1j * rng.normal(size=(2, 8, 8))
    one = inputs_of(images, np)["image"]
    two = inputs_of(1e-4 * np.exp(1j * math.pi / 5) * images, np)["image"]
    assert one == pytest.approx(two, abs=1e-5)
