"""Images as samples and maps back in their place."""

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_maps, as_samples, check_axis, measured_samples
from ipads_stream.core.quantity import Quantity

CASES = [
    ("voxel", ()),
    ("voxel", (5,)),
    ("voxel", (3, 4)),
    ("voxel", (3, 4, 2)),
    ("slice", (3, 4)),
    ("slice", (3, 4, 2)),
    ("volume", (3, 4, 2)),
]


@pytest.mark.parametrize(("kind", "space"), CASES)
def test_every_map_value_stands_where_its_image_was(kind, space):
    images = np.arange(np.prod(space, dtype=int) * 2.0).reshape(*space, 2)
    samples = as_samples(images, kind)
    assert samples.ndim == {"voxel": 2, "slice": 4, "volume": 5}[kind]
    np.testing.assert_array_equal(as_maps(samples[..., 1], kind, space), images[..., 1])


def test_a_slice_is_a_sample_along_the_third_axis():
    images = np.zeros((3, 4, 2, 6))
    images[:, :, 1] = 1
    samples = as_samples(images, "slice")
    assert samples.shape == (2, 3, 4, 6)
    assert samples[1].all() and not samples[0].any()


@pytest.mark.parametrize(("kind", "space"), [("slice", (3,)), ("volume", (3, 4)), ("cube", (3,))])
def test_another_number_of_space_axes_is_refused(kind, space):
    with pytest.raises(ConfigError, match=r"kind|space axes"):
        as_samples(np.zeros((*space, 2)), kind)
    with pytest.raises(ConfigError):
        as_maps(np.zeros(space), kind, space)


@pytest.mark.parametrize(("kind", "space"), CASES[2:])
def test_maps_that_do_not_fit_are_refused(kind, space):
    with pytest.raises(ValueError, match="is needed"):
        as_maps(np.zeros((5, 5)), kind, space)


class TestMeasuredSamples:
    images = np.ones((3, 4, 2, 6))

    def test_images_become_samples(self):
        samples = measured_samples(self.images, "slice", counts=[6], content="six echoes")
        assert samples.shape == (2, 3, 4, 6)

    @pytest.mark.parametrize(
        ("images", "numbers", "message"),
        [
            (images[..., :5], "any", r"^data='5 images': six echoes, along the last axis$"),
            (images[0, 0, 0], "any", r"^data='images of \(6,\)': six echoes"),
            (images, "complex", r"^data='real images': complex images: six echoes$"),
            (images + 0j, "real", r"^data='complex images': real images: six echoes$"),
            (images * np.nan, "any", r"^data='values that are not finite': finite values$"),
            (images * 1e30, "any", r"^data='values of this size': finite numbers, the largest"),
            (images * 1e-30, "any", r"^data='values of this size': finite numbers, the largest"),
        ],
    )
    def test_others_are_refused(self, images, numbers, message):
        with pytest.raises(ConfigError, match=message):
            measured_samples(images, "slice", counts=[6], content="six echoes", numbers=numbers)


def test_an_axis_is_compared_where_it_is_known():
    TE = np.array([0.01, 0.02, 0.03])
    check_axis(None, TE, "echo times (s)")
    check_axis(1.005 * TE, TE, "echo times (s)", rtol=0.01)
    for axis in (1.02 * TE, TE[:2], 0.01):
        with pytest.raises(ConfigError, match=r"^data='echo times \(s\) .*those of the system"):
            check_axis(axis, TE, "echo times (s)", rtol=0.01)


def test_a_constant_has_a_range_of_its_own():
    assert Quantity.over((0.1, 3.0), "ms", "log") == Quantity(
        low=0.1, high=3.0, unit="ms", scale="log"
    )
    constant = Quantity.over((2.0, 2.0))
    assert (constant.low, constant.high) == pytest.approx((1.8, 2.2))
    assert Quantity.over((0.0, 0.0)).high == 0.01
