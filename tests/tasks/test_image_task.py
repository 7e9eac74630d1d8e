"""Images: scores against an independent implementation, readers, what is refused."""

import json

import numpy as np
import pytest
from outside import comparison
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ipads_stream.core.errors import ConfigError
from ipads_stream.data.raw import read_kspace
from ipads_stream.evaluation.tasks.images import Images, nrmse, psnr, ssim


def images(rng, shape=(24, 30)):
    truth = rng.random(shape)
    return truth + 0.2 * rng.standard_normal(shape), truth


def test_ssim_is_that_of_scikit_image(rng):
    estimate, truth = images(rng)
    expected = structural_similarity(truth, estimate, win_size=7, data_range=truth.max())
    assert ssim(estimate, truth) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_a_volume_is_the_mean_over_its_slices(rng):
    estimate, truth = images(rng, (16, 12, 3))
    each = [
        structural_similarity(truth[..., z], estimate[..., z], win_size=7, data_range=truth.max())
        for z in range(3)
    ]
    assert ssim(estimate, truth) == pytest.approx(np.mean(each), rel=1e-9)


def test_psnr_is_that_of_scikit_image(rng):
    estimate, truth = images(rng)
    expected = peak_signal_noise_ratio(truth, estimate, data_range=truth.max())
    assert psnr(estimate, truth, np.ones(truth.shape, bool)) == pytest.approx(expected, rel=1e-9)


def test_perfect_and_empty_images():
    truth = np.zeros((10, 10))
    truth[3:6, 2:7] = 1
    everywhere = np.ones(truth.shape, bool)
    assert ssim(truth, truth) == pytest.approx(1.0)
    assert nrmse(truth, truth, everywhere) == 0
    assert np.isnan(psnr(truth, truth, everywhere))  # infinite: no number for a table
    assert np.isnan(ssim(truth, 0 * truth))
    assert np.isnan(nrmse(truth, 0 * truth, everywhere))


def test_the_phase_counts_in_nrmse_and_not_in_ssim(rng):
    _, truth = images(rng)
    turned = truth * np.exp(0.5j)
    assert nrmse(turned, truth + 0j, np.ones(truth.shape, bool)) == pytest.approx(2 * np.sin(0.25))
    assert ssim(np.abs(turned), truth) == pytest.approx(1.0)


def test_a_mask_bounds_what_counts(rng):
    _, truth = images(rng)
    mask = np.zeros((1, *truth.shape), bool)
    mask[0, 5:15, 5:15] = True
    wrong_outside = np.where(mask[0], truth, 7.0)
    made = comparison({"image": truth[None]}, {"network": {"image": wrong_outside[None]}}, mask)
    scores = Images().sample_scores(made, "image", "network")
    assert scores["nrmse"][0] == 0
    assert scores["ssim"][0] < 0.9


def test_rows_have_means_and_intervals_and_ratios_are_paired(rng):
    truth = rng.random((12, 16, 16))
    noise = rng.standard_normal(truth.shape)
    estimates = {
        "network": {"image": truth + 0.1 * noise},
        "half": {"image": truth[:6] + 0.2 * noise[:6]},
    }
    made = comparison({"image": truth}, estimates)
    network, half = Images().scores(made)
    assert network["nrmse_low"] < network["nrmse"] < network["nrmse_high"]
    assert network["samples"] == 12 and not network["is_partial"]
    assert half["samples"] == 6 and half["is_partial"]
    ratio = Images().ratios(made, "image")["half"]
    assert ratio["ratio"] == pytest.approx(0.5, rel=1e-6)
    assert ratio["low"] == pytest.approx(0.5, rel=1e-6)  # sample by sample the same
    json.dumps([network, half, ratio], allow_nan=False)


def test_bart_and_numpy_files_give_the_same(tmp_path, rng):
    kspace = (rng.standard_normal((3, 5, 4)) + 1j * rng.standard_normal((3, 5, 4))).astype("c8")
    np.save(tmp_path / "a.npy", kspace)
    np.moveaxis(kspace, 0, -1).flatten("F").tofile(tmp_path / "b.cfl")
    (tmp_path / "b.hdr").write_text("# Dimensions\n5 4 1 3 1 1\n# Command\nphantom -x5\n")
    assert np.array_equal(read_kspace(tmp_path / "a.npy"), kspace)
    assert np.array_equal(read_kspace(tmp_path / "b.cfl"), kspace)


@pytest.mark.parametrize(
    ("header", "message"),
    [("", "dimensions"), ("# Dimensions\n5 4 1 2\n", "as many numbers"),
     ("# Dimensions\n5 2 1 3 1 2\n", "one set of coils")],
)  # fmt: skip
def test_broken_bart_files_are_refused(header, message, tmp_path):
    np.zeros(60, np.complex64).tofile(tmp_path / "k.cfl")
    (tmp_path / "k.hdr").write_text(header)
    with pytest.raises(ConfigError, match=message):
        read_kspace(tmp_path / "k.cfl")


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 4, 4), np.complex64), np.ones((2, 4, 4)), np.ones((4, 4), np.complex64),
     np.full((2, 4, 4), np.nan + 0j)],
)  # fmt: skip
def test_what_is_no_k_space_is_refused(values, tmp_path):
    np.save(tmp_path / "k.npy", values)
    with pytest.raises(ConfigError, match="data="):
        read_kspace(tmp_path / "k.npy")
