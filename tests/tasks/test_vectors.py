"""Vectors: scores by hand, where they count, what is refused."""

import nibabel
import numpy as np
import pytest
from outside import comparison

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.data.nifti import stem_of_results, write_nifti
from ipads_stream.evaluation.tasks.vectors import Vectors, angular_error

MM = {"u": Quantity(low=-0.01, high=0.01, unit="mm")}


def field(u, v, shape=(4, 5)):
    return np.stack([np.full(shape, float(u)), np.full(shape, float(v))])[None]


def scores(estimate, truth, mask=None):
    made = comparison({"u": truth}, {"network": {"u": estimate}}, mask, quantities=MM)
    return {k: v[0] for k, v in Vectors().sample_scores(made, "u", "network").items()}


def test_end_point_error_and_components_in_the_unit_of_the_quantity():
    made = scores(field(4e-3, 0), field(1e-3, 4e-3))
    assert made["epe"] == pytest.approx(5.0)  # mm, of a 3-4-5 triangle
    assert made["epe_95"] == pytest.approx(5.0)
    assert (made["rmse_x"], made["rmse_y"]) == (pytest.approx(3.0), pytest.approx(4.0))


def test_the_percentile_is_that_of_the_points():
    truth, estimate = field(2e-3, 0, (10, 10)), field(2e-3, 0, (10, 10))
    estimate[0, 0].flat[:6] += 1e-3  # six points in a hundred are wrong by 1 mm
    made = scores(estimate, truth)
    assert made["epe"] == pytest.approx(0.06)
    assert made["epe_95"] == pytest.approx(1.0)


def test_angles_count_where_the_truth_is_long():
    truth, estimate = field(3e-3, 0), field(0, 5e-3)
    assert scores(estimate, truth)["angle"] == pytest.approx(90.0)
    truth[0, :, 0] = 1e-5  # shorter than a tenth of the range's end
    estimate[0, :, 1:] = truth[0, :, 1:]
    assert scores(estimate, truth)["angle"] == pytest.approx(0.0, abs=1e-5)
    assert np.isnan(scores(estimate, 0 * truth)["angle"])


def test_an_estimate_of_length_zero_has_no_direction():
    truth = field(3e-3, 0)[0]
    everywhere = np.ones(truth.shape[1:], bool)
    assert angular_error(0 * truth, truth, everywhere, 1e-3) == pytest.approx(90.0)


def test_only_the_mask_counts():
    truth, estimate = field(2e-3, 0), field(2e-3, 0)
    mask = np.ones((1, 4, 5), bool)
    mask[0, 0] = False
    estimate[0, :, 0] = 1.0
    assert scores(estimate, truth, mask)["epe"] == 0
    assert np.isnan(scores(estimate, truth, 0 * mask > 0)["epe"])


def test_three_components_have_three_columns():
    truth = np.zeros((2, 3, 4, 4, 4))
    made = comparison({"u": truth}, {"network": {"u": truth + 1e-3}}, quantities=MM)
    assert [m.key for m in Vectors().metrics(made, "u")][2:5] == ["rmse_x", "rmse_y", "rmse_z"]
    (row,) = Vectors().scores(made)
    assert row["epe"] == pytest.approx(np.sqrt(3))


def test_a_system_without_ranges_is_refused():
    class Bare:
        name, task = "bare", "vectors"

        def draw(self, keys, progress):
            return {}

        def render(self, params, keys, xp):
            return Sample({}, {}, params)

    with pytest.raises(ConfigError, match="quantities"):
        Vectors().targets(Bare())


def test_vectors_are_the_fifth_axis_of_a_nifti_file(tmp_path, rng):
    values = rng.random((4, 3, 2, 3)).astype(np.float32)
    write_nifti(tmp_path / "u.nii.gz", values, sidecar={"Units": "mm"}, is_vector=True)
    image = nibabel.load(tmp_path / "u.nii.gz")
    assert image.shape == (4, 3, 2, 1, 3)
    assert image.header.get_intent()[0] == "vector"
    assert np.array_equal(image.get_fdata()[:, :, :, 0], values)


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [("a.nii.gz", "", "a"), ("sub-1_echo-2_part-mag_T2w.nii", "", "sub-1_T2w"),
     ("k.npy", "CG-SENSE", "k_desc-CGSENSE")],
)  # fmt: skip
def test_results_are_named_after_the_data(name, description, expected, tmp_path):
    assert stem_of_results(tmp_path / name, description) == expected
