"""Calibration of posteriors, and the verdict on data that are not what was simulated."""

from __future__ import annotations

import json
import os
from pathlib import Path
from re import search

import nibabel
import numpy as np
import pytest
import torch

from ipads_stream import load_model, load_system
from ipads_stream.__main__ import main
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.misfit import misfit
from ipads_stream.evaluation.tasks.quantities.calibration import calibration

TE = 0.01 * np.arange(1, 9)


def test_coverage_and_ranks_of_right_and_wrong_posteriors():
    u = (np.arange(4000) + 0.5) / 4000
    right = calibration(u)
    assert right["coverage_90"] == pytest.approx(0.9, abs=1e-3)
    assert right["rank_p"] > 0.99
    narrow = calibration(np.clip(0.5 + 1.3 * (u - 0.5), 0, 1))
    assert narrow["coverage_90"] == pytest.approx(0.9 / 1.3, abs=1e-3)
    assert narrow["rank_p"] < 1e-6
    shifted = calibration(u**2)
    assert shifted["rank_p"] < 1e-6


def voxels(system, count=600, second=0.0, noise=1.0):
    """Decays of T2 = 80 ms and SNR 100 with a share of a second pool of 15 ms."""
    keys = Keys(0, "verdict", np.arange(count, dtype=np.uint64))
    rng = np.random.default_rng(0)
    times = np.zeros((count, 32), np.float32)
    times[:, :8] = TE
    signal = 100 * ((1 - second) * np.exp(-TE / 0.08) + second * np.exp(-TE / 0.015))
    measured = np.abs(signal + noise * rng.normal(size=(count, 8))).astype(np.float32)
    rows = np.pad(measured, ((0, 0), (0, 24)))
    mask = np.broadcast_to(np.arange(32) < 8, rows.shape)
    assert len(keys.indices) == count
    return system.inputs(rows, {"TE": times}, mask)


@pytest.mark.parametrize(
    ("second", "noise", "words"),
    [
        (0.0, 1.0, "the data are what was simulated"),
        (0.0, 2.0, r"the noise is (1\.9|2\.0)\d times what was taken$"),
        (0.25, 1.0, "the noise is|signal model does not hold"),
    ],
)
def test_the_verdict(second, noise, words):
    from ipads_stream.baselines.relaxation import posterior_mean

    system = load_system("t2_map")
    inputs = voxels(system, second=second, noise=noise)
    found = misfit(system, inputs, posterior_mean(system)(inputs))
    assert search(words, found.sentence()), found.sentence()
    assert np.all(found.freedom == 6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(folder, "t2_map")
    return folder


def test_evaluate_reports_the_calibration(run, capsys):
    assert main(["evaluate", f"checkpoint={run / 'run.ckpt'}", "samples=60", "device=cpu"]) == 0
    text = capsys.readouterr().out
    assert "Calibration" in text and "network and likelihood" in text
    results = json.loads((run / "report" / "results.json").read_text())
    rows = {(row["quantity"], row["method"]): row for row in results["calibration"]}
    corrected = rows["T2", "network and likelihood"]
    # A network of 30 steps proposes badly; what the likelihood makes of it is the posterior.
    assert corrected["over_exact"] < 1.1 < rows["T2", "network"]["over_exact"]
    assert 0.7 < corrected["coverage_90"] <= 1
    assert (run / "report" / "ranks.png").is_file()
    assert sum(results["importance"][name] for name in results["importance"] if name !=
               "effective_share") == pytest.approx(1)  # fmt: skip


def noisy(shape, noise=5.0, key=0):
    """Magnitudes of a block of T2 = 80 ms in air, (*shape, 8)."""
    rng = np.random.default_rng(key)
    clean = np.zeros((*shape, 8), np.float32)
    clean[6:18, 6:18] = 300 * np.exp(-TE / 0.08)
    real, imaginary = noise * rng.normal(size=(2, *clean.shape))
    return np.hypot(clean + real, imaginary).astype(np.float32)


def saved(path, images, **sidecar):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(images, np.diag([2, 2, 3, 1])), path)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return path


def test_apply_writes_posterior_misfit_and_verdict(run, tmp_path, capsys):
    images = noisy((24, 24, 2))
    images[0] = 0
    path = saved(tmp_path / "sub-01_MESE.nii.gz", images, EchoTime=TE.tolist())
    words = [f"checkpoint={run / 'run.ckpt'}", f"data={path}", f"output={tmp_path}", "device=cpu"]
    assert main(["apply", *words]) == 0
    text = capsys.readouterr().out
    assert "Verdict: " in text and "of the background" in text
    maps = {p.name: nibabel.load(p).get_fdata() for p in tmp_path.glob("*map.nii.gz")}
    assert set(maps) == {"sub-01_T2map.nii.gz", "sub-01_desc-sd_T2map.nii.gz"}
    T2, sd = maps["sub-01_T2map.nii.gz"], maps["sub-01_desc-sd_T2map.nii.gz"]
    body = (slice(8, 16), slice(8, 16))
    assert np.median(T2[body]) == pytest.approx(0.08, rel=0.05)
    assert np.std(T2[body]) == pytest.approx(np.median(sd[body]), rel=0.4)
    assert np.isnan(T2[0]).all() and np.isfinite(T2[1:]).all()
    about = json.loads((tmp_path / "sub-01_T2map.json").read_text())
    assert about["Units"] == "s" and about["Verdict"]
    sigma = float(search(r"noise ([\d.]+), of the background", about["InputUnits"])[1])
    assert sigma == pytest.approx(5, rel=0.03)
    p = nibabel.load(tmp_path / "sub-01_desc-misfit_misfit.nii.gz").get_fdata()
    assert 0.2 < np.median(p[body]) < 0.8


def test_apply_says_where_the_noise_is_from_and_what_that_hides(run, tmp_path, capsys):
    cut = noisy((24, 24, 1))[8:16, 8:16]  # no background
    path = saved(tmp_path / "a_MESE.nii.gz", cut, EchoTime=TE.tolist())
    words = [f"checkpoint={run / 'run.ckpt'}", f"data={path}", f"output={tmp_path}", "device=cpu"]
    assert main(["apply", *words]) == 0
    text = capsys.readouterr().out
    sigma = float(search(r"noise ([\d.]+), what no signal of the model explains", text)[1])
    assert sigma == pytest.approx(5, rel=0.15)
    assert "neither an underestimated noise nor a misfit" in text
    assert main(["apply", *words, "noise=2.5"]) == 0
    text = capsys.readouterr().out
    assert "noise 2.5, given" in text and "neither" not in text
    assert search(r"the noise is (1\.9|2\.\d)\d times what was taken", text)
    for given in ("-1", "abc", "[1]", "inf", "true"):
        assert main(["apply", *words, f"noise={given}"]) == 2
        assert "ipads-stream: noise=" in capsys.readouterr().err
    assert main(["apply", *words, f"B1={path}"]) == 2
    assert "takes no map of B1" in capsys.readouterr().err


def test_apply_takes_a_data_set_of_several_participants(run, tmp_path, capsys):
    for name, key in (("01", 1), ("02/ses-1", 2), ("03", 3)):
        folder = tmp_path / f"sub-{name}" / "anat"
        stem = f"sub-{name.replace('/', '_')}"
        images, times = noisy((24, 24, 1), key=key), 0.1 * TE if name == "03" else TE
        if name == "01":
            for i in range(8):
                echo = folder / f"{stem}_echo-{i + 1}_MESE.nii.gz"
                saved(echo, images[..., i : i + 1], EchoTime=float(TE[i]))
        else:
            saved(folder / f"{stem}_MESE.nii.gz", images, EchoTime=times.tolist())
        saved(folder / f"{stem}_T1w.nii.gz", images[..., 0])
    words = [f"checkpoint={run / 'run.ckpt'}", f"data={tmp_path}", "device=cpu"]
    assert main(["apply", *words]) == 2  # for the third, whose echo times were not trained
    said = capsys.readouterr()
    assert said.out.count("Verdict: ") == 2 and "2 of 3 series" in said.out
    assert "sub-03_MESE.nii.gz" in said.err and "range of the training" in said.err
    output = tmp_path / "derivatives" / "ipads_stream"
    about = json.loads((output / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative" and about["GeneratedBy"][0]["Name"]
    maps = {str(path.relative_to(output)) for path in output.rglob("*_T2map.nii.gz")}
    first, second = "sub-01/anat/sub-01", "sub-02/ses-1/anat/sub-02_ses-1"
    assert maps == {f"{stem}{desc}_T2map.nii.gz" for stem in (first, second)
                    for desc in ("", "_desc-sd")}  # fmt: skip
    T2 = nibabel.load(output / f"{first}_T2map.nii.gz").get_fdata()
    assert np.median(T2[8:16, 8:16]) == pytest.approx(0.08, rel=0.05)
    sources = json.loads((output / f"{first}_T2map.json").read_text())["Sources"]
    assert len(sources) == 8
    assert main(["apply", *words]) == 2  # maps of before are not taken for images
    assert "2 of 3 series" in capsys.readouterr().out
    assert main(["apply", words[0], f"data={output}", "device=cpu"]) == 2
    assert "_MESE.nii.gz" in capsys.readouterr().err


def trained(folder, system, *words):
    quick = ["trainer.max_steps=30", "trainer.bar=false", "trainer.val_every=0", "logger=none",
             "device=cpu", "net.encoder.width=8", "stream.batch_size=64"]  # fmt: skip
    assert main(["train", f"system={system}", *quick, *words, f"output={folder}"]) == 0
    return folder / "run.ckpt"


def test_apply_maps_T1_of_flip_angles_with_a_map_of_B1(tmp_path, capsys):
    checkpoint = trained(tmp_path / "run", "t1_map")
    rng = np.random.default_rng(0)
    angles, TR, T1, shape = (3, 8, 20), 0.015, 0.9, (20, 20, 1)
    B1 = np.broadcast_to(np.linspace(0.8, 1.2, 20)[:, None, None], shape)
    E = np.exp(-TR / T1)
    for i, degrees in enumerate(angles):
        flip = B1 * np.radians(degrees)
        clean = 20_000 * np.sin(flip) * (1 - E) / (1 - E * np.cos(flip))
        noise = 10 * rng.normal(size=(2, *shape))
        name = tmp_path / "sub-01" / "anat" / f"sub-01_flip-{i + 1}_VFA.nii.gz"
        measured = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
        saved(name, measured, FlipAngle=degrees, RepetitionTimeExcitation=TR)
    words = [f"checkpoint={checkpoint}", f"data={tmp_path}", "device=cpu", "noise=10"]
    output = tmp_path / "derivatives" / "ipads_stream" / "sub-01" / "anat"
    found = {}
    for given in ("3", "[1]", "true", "{a: 1}", str(tmp_path / "no.nii")):
        assert main(["apply", *words, f"B1={given}"]) == 2
        assert "ipads-stream: " in capsys.readouterr().err
    for known in (False, True):
        if known:
            map_of_B1 = (100 * B1).astype(np.float32)
            saved(tmp_path / "sub-01" / "fmap" / "sub-01_TB1map.nii.gz", map_of_B1)
        assert main(["apply", *words]) == 0
        text = capsys.readouterr().out
        assert ("B1 of sub-01_TB1map.nii.gz, %" if known else "no map of B1") in text
        found[known] = nibabel.load(output / "sub-01_T1map.nii.gz").get_fdata()
    assert np.median(abs(found[True] / T1 - 1)) < 0.03
    assert np.median(abs(found[False] / T1 - 1)) > 0.1
    (tmp_path / "sub-01" / "anat" / "sub-01_flip-2_VFA.json").write_text('{"FlipAngle": 8}')
    assert main(["apply", *words]) == 2
    assert "RepetitionTimeExcitation" in capsys.readouterr().err


def test_apply_maps_T2star_of_measured_gradient_echoes(tmp_path, capsys):
    folder = os.environ.get("IPADS_DATA")
    images = Path(folder or ".") / "gre" / "gre_small_Mag.nii"
    if not images.is_file():
        pytest.skip("gre/gre_small_Mag.nii of MriResearchTools.jl (MIT) is not in IPADS_DATA")
    checkpoint = trained(tmp_path / "run", "t2star_map")
    part = nibabel.load(images).slicer[20:30, 20:30, 20:22]
    path = tmp_path / "part.nii.gz"
    nibabel.save(part, path)
    words = [f"checkpoint={checkpoint}", f"data={path}", f"output={tmp_path}", "device=cpu"]
    assert main(["apply", *words, "axis=[4,8,12]", "axis_unit=ms"]) == 0
    text = capsys.readouterr().out
    # Three echoes, two unknowns, and a noise that is found by the fit.
    assert "1 degree of freedom a voxel" in text and "from 2.6 times the noise" in text
    assert "neither an underestimated noise" in text or "of the background" in text
    T2s = nibabel.load(tmp_path / "part_T2starmap.nii.gz").get_fdata()
    assert 0.01 < np.nanmedian(T2s) < 0.1


def test_a_network_without_a_posterior_is_refused(tmp_path, capsys):
    before = Path(__file__).parents[1] / "before" / "ann_mwf.ckpt"
    np.save(tmp_path / "a.npy", np.ones((2, 2, 2, 32)))
    words = [f"checkpoint={before}", f"data={tmp_path / 'a.npy'}", f"output={tmp_path}"]
    assert main(["apply", *words]) == 2
    assert "answers posteriors" in capsys.readouterr().err
    assert isinstance(load_model(before).net, torch.nn.Module)
