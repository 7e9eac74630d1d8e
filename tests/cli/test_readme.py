"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ipads_stream.__main__ import main

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands_of(program):
    """Words after the program, of every line of the shell blocks that calls it."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(program)]


def test_the_python_example(tmp_path, monkeypatch):
    (example,) = [block for block in blocks("python") if "load_model" in block]
    words = ["logger=none", "trainer.bar=false", "trainer.max_steps=1", "trainer.val_every=0"]
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words, "net.phases=1", "output=runs/demo"]) == 0
    from ipads_stream import Stream, load_system
    from ipads_stream.nets.dlnmr import DLNMR

    sample = Stream(load_system("dlnmr"), device="cpu").sample(range(4)).inputs
    names = {"net": DLNMR(phases=1), "fid": sample["fid"].numpy(), "mask": sample["mask"].numpy()}
    exec(example, names)
    assert names["rows"].shape == names["fid"].shape
    assert len(names["far"]) == 3
    assert names["state"]["step"] == 1
    assert np.isfinite(names["rows"]).all()


def test_the_example_of_a_sequence(tmp_path, monkeypatch):
    (example,) = [block for block in blocks("python") if "write_pulseq" in block]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(example, names)
    image, disc = np.abs(names["image"]).T, names["disc"]
    assert np.corrcoef(image.ravel(), disc.ravel())[0, 1] > 0.99
    assert (tmp_path / "epi.seq").is_file()


def test_a_system_of_ones_own(tmp_path):
    (module,) = [block for block in blocks("python") if "class Decay" in block]
    (yaml,) = [block for block in blocks("yaml") if "mylab.decay" in block]
    commands = [words for words in commands_of("ipads-stream") if "system=decay" in words]
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").touch()
    (tmp_path / "mylab" / "decay.py").write_text(module)
    (tmp_path / "myconf" / "system").mkdir(parents=True)
    (tmp_path / "myconf" / "system" / "decay.yaml").write_text(yaml)
    assert len(commands) == 2
    script = Path(sys.executable).with_name("ipads-stream")  # as a user calls it
    for words in commands:
        quick = ["seconds=0.05"] if words[0] == "bench" else ["samples=50"]
        line = [str(script), *words, *quick]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "samples.png" in done.stdout or words[0] == "bench"


def test_the_study_of_ones_own(tmp_path):
    from ipads_stream.config import compose
    from ipads_stream.shift.reading import read_study

    (yaml,) = [block for block in blocks("yaml") if "test_seed" in block]
    (tmp_path / "shift").mkdir()
    (tmp_path / "shift" / "decays.yaml").write_text(yaml)
    study = read_study(compose(["shift=decays"], name="shift", conf=tmp_path))
    for test in study.tests:
        study.test_system(test)
    assert list(study.arms) == ["slow", "wide", "slow, fine-tuned"]


def test_every_command_names_a_verb_and_keys_that_exist():
    from ipads_stream.__main__ import VERBS
    from ipads_stream.config import compose

    commands = commands_of("ipads-stream")
    assert len(commands) >= 8
    for verb, *words in commands:
        assert verb in VERBS
        if verb != "doctor" and not any(word.startswith("conf=") for word in words):
            compose(words, name=verb.replace("-", "_"))


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_exist(target):
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", makefile, re.M)
