"""What somebody measured goes through systems of other packages, and comes back in its format."""

import json

import nibabel
import numpy as np
import pytest

from ipads_stream.__main__ import main


def evaluate(run, name, data, output, *words):
    base = [f"checkpoint={run / 'run.ckpt'}", f"trusted=[{name}]", f"data={data}", "device=cpu"]
    return main(["evaluate", *base, f"output={output}", *words])


def test_echoes_become_a_map_of_T2(runs, tmp_path):
    TE, T2 = 0.01 * np.arange(1, 11), np.full((6, 5, 2), 0.08)
    images = 1000 * np.exp(-TE / T2[..., None])
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    path = tmp_path / "sub-1_MESE.nii.gz"
    nibabel.save(nibabel.Nifti1Image(images.astype(np.float32), affine), path)
    path.with_name("sub-1_MESE.json").write_text(json.dumps({"EchoTime": TE.tolist()}))
    assert evaluate(runs("t2_mapping"), "t2_mapping", path, tmp_path / "out", "methods=all") == 0
    made = nibabel.load(tmp_path / "out" / "sub-1_desc-nonlinearfit_T2map.nii.gz")
    assert np.allclose(made.affine, affine)
    np.testing.assert_allclose(made.get_fdata(), T2, rtol=1e-3)  # BIDS has T2 in s
    assert (tmp_path / "out" / "sub-1_T2map.nii.gz").is_file()


def test_other_echo_times_are_refused_by_name(runs, tmp_path, capsys):
    np.save(tmp_path / "echoes.npy", np.ones((4, 4, 10)))
    axis = f"axis={[5.0 * n for n in range(1, 11)]}".replace(" ", "")
    run, data = runs("t2_mapping"), tmp_path / "echoes.npy"
    assert evaluate(run, "t2_mapping", data, tmp_path / "out", axis, "axis_unit=ms") == 2
    assert "echo times (s)" in capsys.readouterr().err


@pytest.mark.slow
def test_k_space_of_a_brain_becomes_an_image(runs, tmp_path, data_folder, capsys):
    data = data_folder / "multicoil" / "brain_8ch_cartesian_ksp.npy"
    out = tmp_path / "out"
    assert evaluate(runs("parallel_imaging"), "parallel_imaging", data, out, "methods=all") == 0
    sense = [
        nibabel.load(out / f"brain_8ch_cartesian_ksp_desc-CGSENSE_part-{part}.nii.gz").get_fdata()
        for part in ("mag", "phase")
    ]
    assert sense[0].shape == (230, 180, 1)
    head, corner = sense[0][60:160, 60:120].mean(), sense[0][:15, :15].mean()
    assert head > 10 * corner
    assert np.abs(sense[1]).max() <= np.pi + 1e-6
    assert (out / "brain_8ch_cartesian_ksp.png").is_file()
    assert "230 x 180 points" in capsys.readouterr().out


def test_k_space_with_gaps_in_its_middle_is_refused(runs, tmp_path, capsys):
    kspace = np.ones((4, 32, 32), np.complex64)
    kspace[:, 16, 16] = 0
    np.save(tmp_path / "kspace.npy", kspace)
    run = runs("parallel_imaging")
    assert evaluate(run, "parallel_imaging", tmp_path / "kspace.npy", tmp_path / "out") == 2
    assert "without gaps" in capsys.readouterr().err


def test_encoded_images_become_vectors(runs, tmp_path):
    u = np.array([2e-3, -1e-3])  # m
    images = np.ones((32, 32, 1, 3), np.complex64)
    images[..., 1:] *= np.exp(2j * np.pi * 100 * u)
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    path = tmp_path / "slice.nii"
    nibabel.save(nibabel.Nifti1Image(images, affine), path)
    assert (
        evaluate(runs("displacement"), "displacement", path, tmp_path / "out", "methods=all") == 0
    )
    made = nibabel.load(tmp_path / "out" / "slice_desc-phase_displacement.nii.gz")
    assert made.header.get_intent()[0] == "vector"
    assert made.shape == (32, 32, 1, 1, 2)
    assert np.allclose(made.affine, affine)
    np.testing.assert_allclose(made.get_fdata()[5, 7, 0, 0], 1e3 * u, rtol=1e-4)  # mm
    sidecar = json.loads((tmp_path / "out" / "slice_desc-phase_displacement.json").read_text())
    assert sidecar["Units"] == "mm"


@pytest.mark.parametrize("name", ["parallel_imaging", "displacement"])
def test_real_images_are_refused(name, runs, tmp_path, capsys):
    np.save(tmp_path / "real.npy", np.ones((32, 32, 3), np.float32))
    assert evaluate(runs(name), name, tmp_path / "real.npy", tmp_path / "out") == 2
    assert "complex" in capsys.readouterr().err
