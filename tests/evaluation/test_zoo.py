"""Networks of the package: card, weights and stream belong together, and apply works."""

from __future__ import annotations

import json
import pickletools
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from ipads_stream import ConfigError, Stream, load_model, load_system, zoo
from ipads_stream.__main__ import main
from ipads_stream.config import build_system
from ipads_stream.listing import listing
from ipads_stream.train.checkpoint import read_checkpoint

NAMES = zoo.names()


def test_the_zoo_is_small_and_each_network_has_a_card():
    assert {"t2_map", "t2_cpmg", "t2star_map", "t1_map", "t1_inversion"} <= set(NAMES)
    assert {path.stem for path in zoo.FOLDER.glob("*.json")} == set(NAMES)
    assert sum(path.stat().st_size for path in zoo.FOLDER.iterdir() if path.is_file()) < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_card_and_weights_belong_together(name):
    card, path = zoo.card(name), zoo.located(f"zoo:{name}")
    assert zoo.sha256(path) == card["sha256"]
    held = read_checkpoint(path)
    config = held["config"]
    assert config["system"] == card["ranges"]
    assert config["net"]["outputs"] == card["quantities"]
    for key in ("seed", "steps", "version"):
        assert {**config, **held}[key] == card[key]
    assert sum(tensor.numel() for tensor in held["weights"].values()) == card["parameters"]
    assert {tensor.dtype for tensor in held["weights"].values()} == {torch.float32}
    assert card["command"] == f"ipads-stream train {' '.join(config['overrides'])}"
    assert not Path(config["output"]).is_absolute()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_weights_is_held(name):
    """No optimizer, no callbacks, and nothing that could run code."""
    path = zoo.located(f"zoo:{name}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    assert set(content) == {"ipads_stream", "global_step", "state_dict"}
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [x for x in archive.namelist() if x.endswith("data.pkl")]
        text = archive.read(pickled)
    called = {arg for code, arg, _ in pickletools.genops(text) if code.name == "GLOBAL"}
    assert called <= {"torch._utils _rebuild_tensor_v2", "torch FloatStorage",
                      "collections OrderedDict"}  # fmt: skip
    assert not [c for c, *_ in pickletools.genops(text) if c.name in ("STACK_GLOBAL", "INST")]


@pytest.mark.parametrize("name", NAMES)
def test_the_stream_makes_again_what_the_network_saw(name):
    seen, config = zoo.card(name)["stream"], read_checkpoint(f"zoo:{name}")["config"]
    stream = Stream(build_system(config), seed=seen["seed"], split=seen["split"], batch_size=256,
                    device="cpu", threads=0)  # fmt: skip
    sample = stream.sample(range(seen["samples"]))
    assert seen["samples"] == zoo.SEEN
    assert zoo.digest(sample.params) == seen["params"]
    rendered = {**sample.inputs, **{f"target {key}": x for key, x in sample.targets.items()}}
    found = zoo.glimpse(rendered)
    assert found.keys() == seen["values"].keys()
    for key, values in seen["values"].items():
        np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-6)
    other = stream.sample([*range(1, zoo.SEEN), 0])
    assert zoo.digest(other.params) != seen["params"]


def test_a_digest_of_six_digits_forgives_the_last_bit_and_no_more():
    values = np.linspace(0.1234567, 3.0, 50)
    before = zoo.digest({"T2": values})
    assert zoo.digest({"T2": np.nextafter(values, 9.0)}) == before
    assert zoo.digest({"T2": values * (1 + 1e-5)}) != before
    assert zoo.digest({"T1": values}) != before


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_unseen_voxels_are_near_those_of_the_card(name):
    """The card's are of 20 protocols: of those drawn here the error is alike, not the same."""
    model = load_model(name)
    sample = Stream(load_system(name), seed=3, split="test", batch_size=4, device="cpu",
                    threads=0).sample(range(2000))  # fmt: skip
    inputs = {key: np.asarray(x) for key, x in sample.inputs.items()}
    first = next(iter(zoo.card(name)["quantities"]))
    error = np.log(model(inputs)[first] / np.asarray(sample.targets[first]))
    (told,) = [row["log_rmse"] for row in zoo.card(name)["scores"]
               if (row["quantity"], row["method"]) == (first, "network")]  # fmt: skip
    assert 0.5 < np.sqrt(np.mean(error**2)) / told < 2.0


def test_apply_without_training(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times, T2 = 0.01 * np.arange(1, 11), np.array([0.04, 0.08, 0.12, 0.2])
    noise = np.random.default_rng(0).normal(0.0, 1.0, (2, 4, 2, 2, 10))
    echoes = 100 * np.exp(-times / T2[:, None])[:, None, None] + noise[0]
    np.save("echoes.npy", np.abs(echoes + 1j * noise[1]))
    axis = ["axis=[10,20,30,40,50,60,70,80,90,100]", "axis_unit=ms", "noise=1"]
    assert main(["apply", "checkpoint=zoo:t2_map", "data=echoes.npy", "device=cpu", *axis]) == 0
    assert "Verdict: " in capsys.readouterr().out
    found = nibabel.load("maps/echoes_T2map.nii.gz").get_fdata().reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(found, T2, rtol=0.1)


def test_evaluation_takes_no_log_of_the_working_directory_for_its_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = {"step": 1, "loss": 1.0, "wait_share": 0.0, "samples_per_second": 1.0}
    Path("metrics.jsonl").write_text(json.dumps(log) + "\n")
    assert main(["evaluate", "checkpoint=zoo:t1_map", "samples=20", "device=cpu"]) == 0
    assert Path("report/report.html").is_file() and not Path("report/training.png").exists()


def test_names_are_those_of_the_zoo_and_files_keep_their_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in ("zoo:t2map", "zoo:"):
        with pytest.raises(ConfigError, match=r"checkpoint='zoo:.*one of zoo:t1_inversion, zoo:t1"):
            load_model(named)
    with pytest.raises(ConfigError, match=r"did you mean zoo:t2_map\?"):
        load_model("zoo:t2map")
    with pytest.raises(ConfigError, match=r"ipads-stream train`, or one of zoo:"):
        load_model("runs/t2_map")
    weights = load_model("zoo:t2_map").net.state_dict()
    for key, tensor in load_model("t2_map").net.state_dict().items():
        assert torch.equal(tensor, weights[key])
    Path("t2_map").write_bytes(zoo.located("zoo:t1_map").read_bytes())
    assert load_model("t2_map").system.name == "t1_map"
    assert load_model("zoo:t2_map").system.name == "t2_map"


def test_what_weights_alone_cannot_do_is_refused(capsys):
    assert main(["replay", "checkpoint=zoo:t2_map", "index=3"]) == 2
    assert "the zoo keeps no log of samples" in capsys.readouterr().err
    assert main(["train", "resume=zoo:t2_map", "device=cpu"]) == 2
    assert "the zoo keeps weights alone" in capsys.readouterr().err


def test_fine_tuning_starts_from_it(tmp_path):
    words = ["train", "system=t2_map", "trainer=transfer", "checkpoint=zoo:t2_map", "logger=none",
             "device=cpu", "trainer.bar=false", "trainer.samples=0", "trainer.fresh=[]",
             "trainer.target={coils:4}", f"output={tmp_path / 'run'}"]  # fmt: skip
    assert main(words) == 0
    before = read_checkpoint("zoo:t2_map")["weights"]
    after = read_checkpoint(tmp_path / "run" / "run.ckpt")["weights"]
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_the_list_names_each_with_ranges():
    text = listing(["zoo"])
    assert all(f"  zoo:{name} " in text for name in NAMES)
    assert "T2 20 to 700 ms" in text
