"""What the README says of itself: its size, its links, its system and its study work.

Its code blocks are executed with those of the guides, in tests/docs.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from ipads_stream.__main__ import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(language, words, text=README):
    """The one block of a language that holds some words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    (found,) = [each for each in blocks if words in each]
    return found


def test_it_is_read_to_the_end():
    assert len(README.splitlines()) <= 250


def test_files_that_it_links_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("target", ["demo", "test", "docs"])
def test_the_commands_exist(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_nothing_is_installed_that_is_not_on_the_index():
    text = README + "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    assert not re.search(r"pip install '?ipads", text)


@pytest.mark.slow
def test_its_system_trains_and_evaluates(tmp_path, monkeypatch, capsys):
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "decay.py").write_text(block("python", "class Decay"))
    (tmp_path / "myconf" / "system").mkdir(parents=True)
    (tmp_path / "myconf" / "system" / "decay.yaml").write_text(block("yaml", "mylab.decay"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = block("sh", "system=decay").splitlines()
    quick = {
        "preview": ["samples=100"],
        "train": ["trainer.max_steps=300", "trainer.bar=false", "trainer.val_every=0",
                  "logger=none", "device=cpu"],
        "evaluate": ["samples=500"],
    }  # fmt: skip
    verbs = []
    for line in lines:
        verb, *words = shlex.split(line)[1:]
        assert main([verb, *words, *quick[verb]]) == 0, line
        verbs.append(verb)
    assert verbs == ["preview", "train", "evaluate"]
    text = capsys.readouterr().out
    assert "log-linear fit" in text
    error = float(re.search(r"network's log-RMSE is ([\d.]+)", text)[1])
    assert error < 0.25  # of 1 for a network that has learned nothing
    for name in [n for n in sys.modules if n.startswith("mylab")]:
        del sys.modules[name]


def test_the_study_of_ones_own(tmp_path):
    from ipads_stream.config import compose
    from ipads_stream.shift.reading import read_study

    guide = (ROOT / "docs" / "guides" / "shift.md").read_text()
    (tmp_path / "shift").mkdir()
    (tmp_path / "shift" / "decays.yaml").write_text(block("yaml", "test_seed", guide))
    study = read_study(compose(["shift=decays"], name="shift", conf=tmp_path))
    for test in study.tests:
        study.test_system(test)
    assert list(study.arms) == ["slow", "wide", "slow, fine-tuned"]
