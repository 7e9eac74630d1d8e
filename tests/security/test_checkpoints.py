"""Checkpoints that somebody else wrote: refused in one line, soon, and without much memory."""

from __future__ import annotations

import resource
import zipfile
from pathlib import Path

import pytest
import torch

from ipads_stream.__main__ import main

BEFORE = Path(__file__).parents[1] / "before" / "dlnmr.ckpt"


@pytest.fixture(scope="module")
def load():
    """A fresh copy of what a sound checkpoint holds."""
    return lambda: torch.load(BEFORE, map_location="cpu", weights_only=True)


def _first(content):
    return next(name for name in content["state_dict"] if name.startswith("net."))


def _nan(content):
    content["state_dict"][_first(content)].view(-1)[0] = float("nan")


def _stretched(content):
    """A tensor of 4 TB that repeats the one number which the file holds."""
    content["state_dict"][_first(content)] = torch.zeros(1).expand(10**12)


def _sparse(content):
    empty = torch.zeros(1, 0, dtype=torch.long), torch.zeros(0)
    content["state_dict"][_first(content)] = torch.sparse_coo_tensor(
        *empty, (10**12,), check_invariants=True
    )


def _laughs(content):
    """A billion words by thirty references."""
    node = ["ha", "ha"]
    for _ in range(30):
        node = [node, node]
    content["ipads_stream"]["config"]["net"]["outputs"] = node


def _deep(content):
    node = []
    for _ in range(400):
        node = [node]
    content["ipads_stream"]["config"]["net"]["outputs"] = node


def _set(*path):
    *keys, last, value = path

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


CONFIG = ("ipads_stream", "config")
CHANGES = {
    "nan": _nan,
    "stretched": _stretched,
    "sparse": _sparse,
    "meta": lambda c: c["state_dict"].update({_first(c): torch.empty(10**12, device="meta")}),
    "no tensor": lambda c: c["state_dict"].update({_first(c): 3}),
    "missing weight": lambda c: c["state_dict"].pop(_first(c)),
    "no weights": _set("state_dict", {}),
    "laughs": _laughs,
    "deep": _deep,
    "future": _set("ipads_stream", "version", "99"),
    "version of no number": _set("ipads_stream", "version", "new"),
    "version of another type": _set("ipads_stream", "version", [1]),
    "steps": _set("global_step", -1),
    "steps of infinity": _set("global_step", float("inf")),
    "time": _set("callbacks", {"Timer": {"time_elapsed": {"train": float("nan")}}}),
    "words": _set(*CONFIG, "overrides", "seed=1"),
    "no net": lambda c: c["ipads_stream"]["config"].pop("net"),
    "net is a list": _set(*CONFIG, "net", [1]),
    "no system": lambda c: c["ipads_stream"]["config"].pop("system"),
    "system is null": _set(*CONFIG, "system", None),
    "huge net": _set(*CONFIG, "net", "phases", 10**9),
    "wide net": _set(*CONFIG, "net", "growth", 10**5),
    "no network": _set(
        *CONFIG, "net", {"_target_": "ipads_stream.distributions.Constant", "value": 1}
    ),
    "config": _set(*CONFIG, 3),
    "stream": _set("ipads_stream", "stream", 3),
    "callbacks": _set("callbacks", 3),
    "key of another type": _set(*CONFIG, "net", 5, 5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_foreign_checkpoint_is_one_line(name, load, one_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = load()
    CHANGES[name](content)
    torch.save(content, "run.ckpt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["evaluate", "checkpoint=run.ckpt", "device=cpu", "samples=4"]) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # 0.5 GB
    one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]


def _moment(value):
    def change(content):
        content["optimizer_states"][0]["state"][0]["exp_avg"] = value

    return change


TRAINING = {  # what evaluation does without
    "no moments": lambda c: c.pop("optimizer_states"),
    "moments of another type": _set("optimizer_states", 3),
    "no groups": _set("optimizer_states", [{"state": {}, "param_groups": []}]),
    "a moment of another shape": _moment(torch.zeros(3)),
    "a moment of 4 TB": _moment(torch.zeros(1).expand(10**12)),
    "a moment that is not finite": lambda c: c["optimizer_states"][0]["state"][0]["exp_avg"].fill_(
        float("nan")
    ),
    "no loops": lambda c: c.pop("loops"),
    "loops of another type": _set("loops", {"fit_loop": 3}),
    "laughs in the stream": lambda c: c["ipads_stream"]["stream"].update(
        table=[[[["ha"] * 40] * 40] * 40] * 40
    ),
    "a step beyond all samples": lambda c: c["ipads_stream"]["stream"].update(step=2**62),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one step, small."""
    run = tmp_path_factory.mktemp("run")
    words = ["system.points=32", "net.phases=1", "net.growth=4", "net.memory=2", "logger=none"]
    words += ["stream.batch_size=4", "trainer.bar=false", "trainer.val_every=0", "device=cpu"]
    assert main(["train", *words, "trainer.max_steps=1", f"output={run}"]) == 0
    return run / "run.ckpt"


@pytest.mark.parametrize("name", TRAINING)
def test_a_checkpoint_without_sound_training_is_one_line(
    name, trained, one_line, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content = torch.load(trained, weights_only=True)
    TRAINING[name](content)
    torch.save(content, "run.ckpt")
    assert main(["train", "resume=run.ckpt", "output=on", "trainer.max_steps=3"]) == 2
    one_line()
    assert not (tmp_path / "on" / "run.ckpt").exists()


@pytest.mark.parametrize("name", ["nan", "future", "stretched"])
def test_such_a_checkpoint_is_not_gone_on_with(name, load, one_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = load()
    CHANGES[name](content)
    torch.save(content, "run.ckpt")
    assert main(["train", "resume=run.ckpt", "output=on", "device=cpu", "trainer.max_steps=9"]) == 2
    one_line()


def test_a_storage_larger_than_its_record_is_refused(load, one_line, tmp_path, monkeypatch):
    """What a storage claims to hold beyond its record would be read from foreign memory."""
    monkeypatch.chdir(tmp_path)
    torch.save(load(), "sound.ckpt")
    with zipfile.ZipFile("sound.ckpt") as sound, zipfile.ZipFile("run.ckpt", "w") as archive:
        for entry in sound.infolist():
            data = sound.read(entry)
            archive.writestr(entry.filename, data[:4] if "/data/" in entry.filename else data)
    assert main(["evaluate", "checkpoint=run.ckpt", "device=cpu"]) == 2
    one_line()


def test_a_zip_bomb_is_not_unpacked(one_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("run.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/data.pkl", bytes(1 << 26))
    assert Path("run.ckpt").stat().st_size < 1 << 20
    assert main(["evaluate", "checkpoint=run.ckpt"]) == 2
    assert "compressed" in one_line()
