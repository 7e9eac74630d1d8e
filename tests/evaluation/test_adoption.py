"""What is written for measured data trains, says where it is from, and is what the data hold."""

from __future__ import annotations

import dataclasses
import functools
import json

import nibabel
import numpy as np
import pytest
import yaml

from ipads_stream import load_system
from ipads_stream.__main__ import main
from ipads_stream.acquisition.noise_level import of_repeats, residual
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.hierarchical import deconvolved
from ipads_stream.config import compose, recommended
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform, Mixture, Uniform
from ipads_stream.evaluation.adoption import adopt

TE = 0.01 * np.arange(1, 9)


def written(folder, name="sub-01_MESE", shape=(8, 8, 2), axis=TE, **sidecar):
    """Magnitudes of decays of 80 ms, signal-to-noise ratio 100, with a background."""
    random = np.random.Generator(np.random.Philox(key=7))
    clean = np.zeros((*shape, len(axis)))
    clean[2:] = 1000 * np.exp(-np.asarray(axis) / 0.08)
    noise = 10 * random.standard_normal((2, *clean.shape))
    values = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
    told = {"EchoTime": list(axis)} | sidecar
    (folder / f"{name}.json").write_text(json.dumps({k: x for k, x in told.items() if x}))
    return folder / f"{name}.nii.gz"


@functools.cache
def systems():
    return {
        name: load_system(name) for name in ("t1_map", "t2_map", "t2star_map", "dlnmr", "drone")
    }


def test_spin_echoes_become_the_system_that_knows_of_stimulated_ones(tmp_path):
    path = written(tmp_path, shape=(16, 16, 2), ScanningSequence="SE")
    both = {name: lambda name=name: load_system(name) for name in ("t2_map", "t2_cpmg")}
    config = defaults() | {"data": str(path), "output": str(tmp_path / "conf"), "voxels": 100}
    said = "\n".join(adopt(config, None, both, recommended))
    assert "t2_cpmg, the only system that they fit, or in place of t2_map" in said
    system = load_system("mine", conf=tmp_path / "conf")
    assert system.spacing.support == pytest.approx((0.01, 0.01))
    assert system.refocusing.support == load_system("t2_cpmg").refocusing.support
    low, high = system.T2.cdf(np.array([0.062, 0.1]))
    assert high - low > 0.7
    late = written(tmp_path, axis=TE + 0.005, ScanningSequence="SE")
    said = "\n".join(adopt(config | {"data": str(late)}, None, both, recommended))
    assert "t2_map, the only system that they fit;" not in said and "t2_map, the only" in said


@functools.cache
def defaults():
    return compose(["data=x", "name=mine"], name="adopt")


def adopted(path, folder, system=None, **given):
    """What `ipads-stream adopt` says, of the systems above."""
    config = defaults() | {"data": str(path), "output": str(folder)} | given
    candidates = {name: lambda name=name: systems()[name] for name in systems()}
    return "\n".join(adopt(config, system, candidates, recommended))


def test_echo_times_noise_and_decays_become_a_system(tmp_path):
    path = written(tmp_path, shape=(16, 16, 2), ScanningSequence="SE", MagneticFieldStrength=3)
    said = adopted(path, tmp_path / "conf", voxels=100)
    for word in ("t2_map, the only system", "ScanningSequence", "background", "B0 is 3 T"):
        assert word in said
    text = (tmp_path / "conf" / "system" / "mine.yaml").read_text()
    assert "EchoTime of the sidecar" in text
    system = load_system("mine", conf=tmp_path / "conf")
    assert system.num_echoes.support == (8, 8)
    assert system.first_echo.support == pytest.approx((0.01, 0.01))
    assert system.spacing.support == pytest.approx((0.01, 0.01))
    # 10 % of the prior is even over the range; the rest is about the truth.
    low, high = system.T2.cdf(np.array([0.062, 0.1]))
    assert high - low > 0.8
    low, high = system.snr.cdf(np.array([80.0, 125.0]))
    assert high - low > 0.8
    system.measured(np.asarray(nibabel.load(path).dataobj), TE)


def test_a_second_measurement_gives_the_noise(tmp_path):
    random = np.random.Generator(np.random.Philox(key=3))
    clean = 100 * np.exp(-TE / 0.1) * np.ones((500, 1))
    one, other = (clean + 2 * random.standard_normal(clean.shape) for _ in range(2))
    assert of_repeats(one, other) == pytest.approx(2, rel=0.05)
    assert of_repeats(one, other + 30) == pytest.approx(2, rel=0.05)
    np.save(tmp_path / "a.npy", np.abs(one).reshape(50, 10, 8))
    np.save(tmp_path / "b.npy", np.abs(other).reshape(50, 10, 8))
    given = {"axis": TE.tolist(), "repeats": str(tmp_path / "b.npy"), "voxels": 60}
    said = adopted(tmp_path / "a.npy", tmp_path / "conf", "t2_map", **given)
    assert "difference from b.npy" in said
    assert "Assumed: spin echoes" in said


@pytest.mark.parametrize("count", [3, 4, 8])
def test_what_no_decay_explains_is_the_noise_of_few_echoes_too(count):
    random = np.random.Generator(np.random.Philox(key=4))
    clean = 300 * np.exp(-TE[:count] / random.uniform(0.03, 0.2, (2000, 1)))
    decays = np.exp(-TE[:count] / np.geomspace(0.01, 1.0, 400)[:, None])
    found = residual(clean + 3 * random.standard_normal(clean.shape), decays)
    assert found == pytest.approx(3, rel=0.06)


def test_the_noise_of_estimation_is_taken_out_of_the_prior():
    """Of two kinds of voxels at a low signal: nearer to the truth than a histogram of fits."""
    truth = Mixture(components=[Uniform(low=52, high=66, unit="ms"),
                                Uniform(low=100, high=125, unit="ms")],
                    weights=[0.6, 0.4])  # fmt: skip
    base = load_system("t2_map", ["num_echoes=8", "snr=10"])
    protocol = {name: Constant(value=0.01) for name in ("first_echo", "spacing")}
    keys = Keys(7, "prior", np.arange(300, dtype=np.uint64))
    system = dataclasses.replace(base, **protocol, T2=truth)
    params = system.draw(keys, np.zeros(300))
    sample = system.render(params, keys, np)
    wide = dataclasses.replace(base, **protocol, T2=LogUniform(low=0.02, high=0.7),
                               snr=LogUniform(low=4, high=40))  # fmt: skip
    inputs = {name: np.asarray(x) for name, x in sample.inputs.items()}
    edges = {name: np.geomspace(*wide.distributions()[name].support, 37) for name in ("T2", "snr")}
    shares = deconvolved(wide, inputs, edges)
    fits = classical_methods(wide)["maximum likelihood"](inputs)["T2"]
    of_fits = np.histogram(fits, edges["T2"])[0] / len(fits)
    expected = np.diff(truth.cdf(edges["T2"]))

    def distance(found):  # of the mass, in bins
        return np.abs(np.cumsum(found - expected)).sum()

    assert shares["T2"].sum() == pytest.approx(1)
    assert distance(shares["T2"]) < 0.75 * distance(of_fits)
    middle = np.sqrt(edges["snr"][1:] * edges["snr"][:-1])
    assert np.exp(shares["snr"] @ np.log(middle)) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(
    ("told", "system", "given", "message"),
    [
        ({"ScanningSequence": "GR"}, None, {}, "one kind of echoes"),
        ({"name": "echoes"}, None, {}, "system=None: one of t2_map, t2star_map"),
        ({}, "t2star_map", {}, "not of gradient echoes but of spin echoes"),
        ({}, "drone", {}, "system='drone': one that adopts data"),
        ({}, "dlnmr", {}, "a recording of signals"),
        ({"RepetitionTime": 2000}, None, {}, "is the unit ms?"),
        ({"RepetitionTime": 0.05}, None, {}, "longer than the last echo time"),
        ({"EchoTime": None}, None, {}, "no echo times"),
        ({"InversionTime": 0.4}, "t2_map", {}, "InversionTime is 0.4 s"),
        ({"MagneticFieldStrength": 3, "ImagingFrequency": 64}, None, {}, "about 127.7 MHz"),
        ({"MagneticFieldStrength": "3"}, None, {}, "MagneticFieldStrength 3'?: a number"),
        ({"axis": TE**2 / 0.01}, None, {}, "equally spaced"),
        ({"FlipAngle": [90, 80] * 4}, None, {}, "the same in every file"),
        ({}, None, {"voxels": 1}, "voxels=1"),
        ({}, None, {"broad": 2}, "broad=2"),
        ({}, None, {"bins": 1}, "bins=1"),
        ({}, None, {"name": "a-b"}, "name='a-b'"),
        ({}, None, {"name": "t2_map"}, "another name than a system has"),
        ({}, None, {"axis": 3}, "axis=3: a list"),
        ({}, None, {"mode": "sates"}, "mode='sates'"),
        ({}, None, {"repeats": "nowhere.nii"}, "nowhere.nii"),
    ],
    ids=str,
)
def test_what_contradicts_itself_or_does_not_fit_is_refused(told, system, given, message, tmp_path):
    path = written(tmp_path, **told)
    with pytest.raises(ConfigError, match=message):
        adopted(path, tmp_path / "conf", system, **given)
    assert not (tmp_path / "conf").exists()


def test_flip_angles_of_several_files(tmp_path):
    for number, flip in enumerate((3, 9, 15), 1):
        stem = tmp_path / f"sub-01_flip-{number}_VFA"
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 1), np.float32), np.eye(4)), f"{stem}.nii")
        told = {"FlipAngle": flip, "RepetitionTimeExcitation": 0.015, "EchoTime": 0.002}
        (tmp_path / f"{stem}.json").write_text(json.dumps(told))
    said = adopted(tmp_path / "sub-01_flip-1_VFA.nii", tmp_path / "conf")
    assert "t1_map, the only system" in said
    system = load_system("mine", conf=tmp_path / "conf")
    assert system.TR.support == pytest.approx((0.015, 0.015))
    assert system.largest_flip.support == pytest.approx(np.deg2rad([15, 15]))
    assert system.T1.support == load_system("t1_map").T1.support


def test_names_of_files_write_nothing_but_comments(tmp_path):
    path = written(tmp_path, name="x\nsystem: {_target_: os.system}\n_MESE")
    adopted(path, tmp_path / "conf", voxels=50)
    text = (tmp_path / "conf" / "system" / "mine.yaml").read_text()
    assert yaml.safe_load(text)["system"]["_target_"].startswith("ipads_stream.systems")
    assert "os.system}" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")
def test_measured_echoes_from_adopt_to_maps(data_folder, tmp_path, capsys):
    """The echo times are those of the file's publisher's own test."""
    values = np.asarray(nibabel.load(data_folder / "gre" / "gre_small_Mag.nii").dataobj)
    image = nibabel.Nifti1Image(values[:20, :20, 20:24], np.eye(4))
    nibabel.save(image, tmp_path / "sub-01_MEGRE.nii.gz")
    (tmp_path / "sub-01_MEGRE.json").write_text(json.dumps({"EchoTime": [0.004, 0.008, 0.012]}))
    path = tmp_path / "sub-01_MEGRE.nii.gz"
    assert main(["adopt", f"data={path}", f"output={tmp_path / 'conf'}", "name=mine"]) == 0
    train = capsys.readouterr().out.splitlines()[-1].split()[1:]
    quick = ["trainer.max_steps=3", "trainer.val_every=0", "trainer.bar=false", "logger=none"]
    assert main([*train, *quick, "device=cpu", f"output={tmp_path / 'run'}"]) == 0
    checkpoint, maps = f"checkpoint={tmp_path / 'run' / 'run.ckpt'}", tmp_path / "maps"
    assert main(["apply", checkpoint, f"data={path}", f"output={maps}", "device=cpu"]) == 0
    found = np.asarray(nibabel.load(maps / "sub-01_T2starmap.nii.gz").dataobj)
    assert 0.02 < np.median(found) < 0.06
    assert "Verdict" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")
def test_a_measured_plane_from_adopt_to_training(data_folder, tmp_path, capsys):
    words = ["data=ubiquitin", "system=modern", f"output={tmp_path / 'conf'}", "name=mine"]
    assert main(["adopt", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any("2000 Hz" in line and "15N at 50.667 MHz" in line for line in said)
    text = (tmp_path / "conf" / "system" / "mine.yaml").read_text()
    assert "override /net: modern" in text
    quick = ["trainer.max_steps=1", "trainer.val_every=0", "trainer.bar=false", "logger=none"]
    output = [f"output={tmp_path / 'run'}", "device=cpu", "stream.batch_size=2"]
    assert main([*said[-1].split()[1:], *quick, *output]) == 0
