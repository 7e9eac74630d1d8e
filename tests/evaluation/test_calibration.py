"""Calibration of posteriors, and the verdict on data that are not what was simulated."""

from __future__ import annotations

import json

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
    from re import search

    from ipads_stream.baselines.relaxation import posterior_mean

    system = load_system("t2_map")
    inputs = voxels(system, second=second, noise=noise)
    found = misfit(system, inputs, posterior_mean(system)(inputs))
    assert search(words, found.sentence()), found.sentence()
    assert np.all(found.freedom == 6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = ["trainer.max_steps=30", "trainer.bar=false", "trainer.val_every=0", "logger=none",
             "device=cpu", "net.encoder.width=8", "stream.batch_size=64"]  # fmt: skip
    assert main(["train", "system=t2_map", *words, f"output={folder}"]) == 0
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


def test_apply_writes_posterior_misfit_and_verdict(run, tmp_path, capsys):
    rng = np.random.default_rng(0)
    clean = np.zeros((24, 24, 2, 8), np.float32)
    clean[6:18, 6:18] = 300 * np.exp(-TE / 0.08)
    noise = 5 * rng.normal(size=(2, *clean.shape))
    images = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
    images[0] = 0
    path = tmp_path / "sub-01_MESE.nii.gz"
    nibabel.save(nibabel.Nifti1Image(images, np.diag([2, 2, 3, 1])), path)
    (tmp_path / "sub-01_MESE.json").write_text(json.dumps({"EchoTime": TE.tolist()}))
    words = [f"checkpoint={run / 'run.ckpt'}", f"data={path}", f"output={tmp_path}", "device=cpu"]
    assert main(["apply", *words]) == 0
    assert "Verdict: " in capsys.readouterr().out
    maps = {p.name: nibabel.load(p).get_fdata() for p in tmp_path.glob("*map.nii.gz")}
    assert set(maps) == {"sub-01_MESE_T2map.nii.gz", "sub-01_MESE_desc-sd_T2map.nii.gz"}
    T2, sd = maps["sub-01_MESE_T2map.nii.gz"], maps["sub-01_MESE_desc-sd_T2map.nii.gz"]
    body = (slice(8, 16), slice(8, 16))
    assert np.median(T2[body]) == pytest.approx(0.08, rel=0.05)
    assert np.std(T2[body]) == pytest.approx(np.median(sd[body]), rel=0.4)
    assert np.isnan(T2[0]).all() and np.isfinite(T2[1:]).all()
    about = json.loads((tmp_path / "sub-01_MESE_T2map.json").read_text())
    assert about["Units"] == "s" and about["Verdict"]
    p = nibabel.load(tmp_path / "sub-01_MESE_desc-misfit_misfit.nii.gz").get_fdata()
    assert 0.2 < np.median(p[body]) < 0.8


def test_a_network_without_a_posterior_is_refused(tmp_path, capsys):
    from pathlib import Path

    before = Path(__file__).parents[1] / "before" / "ann_mwf.ckpt"
    np.save(tmp_path / "a.npy", np.ones((2, 2, 2, 32)))
    words = [f"checkpoint={before}", f"data={tmp_path / 'a.npy'}", f"output={tmp_path}"]
    assert main(["apply", *words]) == 2
    assert "answers posteriors" in capsys.readouterr().err
    assert isinstance(load_model(before).net, torch.nn.Module)
