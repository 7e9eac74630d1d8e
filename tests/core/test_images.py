"""Images as samples and maps back in their place."""

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_maps, as_samples

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
