"""Who may run code: the one who types the command, and nobody who wrote a file."""

from __future__ import annotations

import sys

import pytest

from ipads_stream.__main__ import main
from ipads_stream.config import compose, load_system
from ipads_stream.core.errors import ConfigError

POPEN = "{_target_: subprocess.Popen, args: [touch, mark]}"
WAYS = {  # files of a folder -> words that choose them
    "system": ({"system/evil.yaml": "# @package _global_\ntrusted: [subprocess]\n"
                f"system: {POPEN}\n"}, "system=evil"),
    "sequence": ({"sequence/evil.yaml": "# @package _global_\ntrusted: [subprocess]\n"
                  f"sequence: {POPEN}\n"}, "sequence=evil"),
    "recommended": ({"system/evil.yaml": POPEN,
                     "recommended/evil.yaml": "# @package _global_\ntrusted: [subprocess]\n"},
                    "system=evil"),
    "interpolation": ({"system/evil.yaml": "# @package _global_\nlist: [subprocess]\n"
                       f"trusted: ${{list}}\nsystem: {POPEN}\n"}, "system=evil"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", ["train", "preview", "freeze", "bench"])
def test_yaml_cannot_trust(verb, way, conf_folder, one_line, tmp_path):
    files, word = WAYS[way]
    if (way == "sequence") != (verb == "preview") or (way == "recommended" and verb != "train"):
        pytest.skip("this verb has no such group")
    words = {"freeze": ["path=set"]}.get(verb, [])
    assert main([verb, f"conf={conf_folder(files)}", word, *words]) == 2
    assert "trusted" in one_line()
    assert not (tmp_path / "mark").exists()


def test_what_the_command_line_trusts_yaml_need_not_repeat(conf_folder):
    text = "# @package _global_\ntrusted: [mylab]\nsystem: {_target_: mylab.System}\n"
    conf = conf_folder({"system/mine.yaml": text})
    assert compose(["system=mine", "trusted=[mylab]"], conf=conf)["trusted"] == ["mylab"]
    assert compose(["system=mine", "trusted=[others]"], conf=conf)["trusted"] == ["others"]
    with pytest.raises(ConfigError, match="trusted"):
        compose(["system=mine"], conf=conf)


@pytest.mark.parametrize(
    "word",
    ["trusted=os", "trusted=1", "trusted={a: 1}", "trusted=[1]", "trusted=['a b']", "trusted=true",
     "trusted=[${oc.env:HOME}]", "trusted=${seed}", "trusted.x=1", "+trusted.0=os",
     "trusted=[[os]]", "trusted=['']"],
)  # fmt: skip
def test_trusted_is_a_list_of_packages(word, one_line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert main(["bench", word]) == 2
    assert "trusted" in one_line()
    assert sys.path == path


def test_a_call_trusts_a_list_alone():
    for wrong in ("os", [1], {"os": 1}):
        with pytest.raises(ConfigError, match="trusted"):
            load_system("dlnmr", trusted=wrong)


def test_the_working_directory_is_searched_for_trusted_packages_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "wandb.py").write_text("raise SystemExit('somebody else ran')\n")
    words = ["bench", "seconds=0.01", "batch_size=4", "system.points=32"]
    assert main([*words, "trusted=[mylab]"]) == 0
    assert str(tmp_path) not in sys.path  # no such package lies there
    (tmp_path / "mylab.py").touch()
    assert main([*words, "trusted=[mylab]"]) == 0
    assert sys.path[-1] == str(tmp_path)  # behind all that is installed: nothing is hidden by it


@pytest.mark.parametrize(
    "text",
    ["# @package _global_\nhydra: {mode: MULTIRUN}\n", "defaults: [pkg://somebody/system]\n",
     "defaults: [{override /hydra/launcher: joblib}]\n", "# @package hydra.run\ndir: /\n"],
    ids=["hydra", "pkg", "launcher", "package"],
)  # fmt: skip
def test_yaml_of_a_folder_does_not_configure_hydra(text, conf_folder, one_line):
    conf = conf_folder({"system/evil.yaml": text})
    assert main(["bench", f"conf={conf}", "system=evil"]) == 2
    assert "conf" in one_line()


DOUBLED = (f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))
UNREADABLE = {
    "bytes": "# " + "x" * (1 << 18), "aliases": "\n".join(["a0: &a0 [1, 1]", *DOUBLED]),
    "itself": "a: &a [*a]", "deep": "[" * 99_999,
    "open": "a: [1", "tab": "a:\n\t- 1", "list": "- 1", "number": "3", "tag": "a: !!set 3",
    "object": "a: !!python/object/apply:os.system [touch mark]", "twice": "a: 1\na: 2",
    "zero": "a: \0",
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("verb", ["train", "config"])
def test_what_is_no_yaml_of_keys_is_one_line(verb, name, conf_folder, one_line, tmp_path):
    conf = conf_folder({"system/evil.yaml": UNREADABLE[name]})
    words = [verb, "bench"] if verb == "config" else [verb, "output=out"]
    assert main([*words, f"conf={conf}", "system=evil"]) == 2
    assert "evil" in one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize(
    "word",
    ["hydra.mode=MULTIRUN", "hydra.searchpath=[file:///tmp]", "+hydra.x=1", "hydra/launcher=joblib",
     "~hydra", "hydra=null"],
)  # fmt: skip
def test_the_command_line_does_not_configure_hydra(word, one_line):
    assert main(["bench", word]) == 2
    assert word.split("=")[0].lstrip("+~") in one_line()


def test_the_environment_does_not_end_in_what_is_recorded(
    conf_folder, one_line, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOKEN", "s3cret")
    text = "# @package _global_\nlogger: {notes: '${oc.env:TOKEN}'}\n"
    conf = conf_folder({"recommended/mine.yaml": text, "system/mine.yaml": "defaults: [dlnmr]\n"})
    words = ["system=mine", f"conf={conf}", "output=run", "trainer.max_steps=1"]
    indirect = ["seed=${oc.decode:${oc.env:TOKEN}}", "+x=${ oc.env:TOKEN}", "+x=${oc.create:'a'}",
                "+x='${oc.${y}env:TOKEN}'"]  # fmt: skip
    for changes in (["device=cpu"], *([*words[1:], word] for word in indirect)):
        assert main(["train", *words, *changes]) == 2
        assert "s3cret" not in one_line()
    assert not (tmp_path / "run").exists()
