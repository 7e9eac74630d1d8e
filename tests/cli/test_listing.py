"""What there is to choose from, what a verb composes, and words that a shell completes."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from ipads_stream.__main__ import COMPOSED, VERBS, main
from ipads_stream.config import compose, conf_dir
from ipads_stream.listing import GROUPS, annotated, completion, listing


def test_every_name_is_listed_with_a_line_on_it(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for group in GROUPS:
        assert f"{group}\n" in text
    for folder in ("system", "net", "loss", "trainer", "sequence"):
        for path in (conf_dir() / folder).glob("*.yaml"):
            assert f"  {path.stem} " in text
    for line in text.splitlines():
        assert not line.startswith("  ") or len(line.split()) > 1, line


def test_a_group_alone_and_one_that_is_not_there(capsys):
    assert main(["list", "distributions"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("distributions\n")
    assert "systems" not in text
    assert main(["list", "sistems"]) == 2
    assert "did you mean systems?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", COMPOSED)
def test_what_is_printed_is_what_is_composed(verb):
    name = verb.replace("-", "_")
    assert yaml.safe_load(annotated(verb, [])) == compose(name=name)


def test_comments_and_sources_stand_beside_the_keys(capsys):
    assert main(["config", "train", "system=drone", "trainer.max_steps=7"]) == 0
    text = capsys.readouterr().out
    assert "# from system/drone.yaml\nsystem:\n" in text
    assert "# from trainer/muon.yaml, trainer/supervised.yaml\n" in text
    assert "adam_rate: 0.002  # of Adam" in text
    assert "max_steps: 7" in text
    assert yaml.safe_load(text)["net"]["widths"] == [128, 128, 128]
    assert main(["config", "fly"]) == 2
    assert "config='fly': one of train" in capsys.readouterr().err


@pytest.mark.slow
def test_words_for_a_shell():
    script = completion("bash", list(VERBS))
    for word in ("trainer.max_steps=", "system=drone", "checkpoint=", "fit-prior"):
        assert word in script
    assert "bashcompinit" in completion("zsh", list(VERBS))
    assert "__fish_use_subcommand" in completion("fish", list(VERBS))
    assert main(["completion", "tcsh"]) == 2
    assert listing(["data"]).startswith("data\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "split", "expected"),
    [
        ("ipads-stream ev", ["ipads-stream", "ev"], "evaluate"),
        ("ipads-stream train trainer.max_st", ["ipads-stream", "train", "trainer.max_st"],
         "trainer.max_steps="),
        ("ipads-stream train system=dro", ["ipads-stream", "train", "system", "=", "dro"], "drone"),
    ],
)  # fmt: skip
def test_bash_completes(line, split, expected, tmp_path):
    (tmp_path / "script").write_text(completion("bash", list(VERBS)))
    words = " ".join(f"'{word}'" for word in split)
    program = (
        f"source {tmp_path / 'script'}; COMP_LINE='{line}'; COMP_POINT={len(line)};"
        f"COMP_WORDS=({words}); COMP_CWORD={len(split) - 1};"
        '_ipads_stream 2>/dev/null; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == expected
