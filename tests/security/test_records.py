"""Logs and configurations of runs that somebody else wrote: rebuilt, or refused in one line."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from ipads_stream.__main__ import main
from ipads_stream.config import compose
from ipads_stream.core.files import file_name, from_json, json_text
from ipads_stream.stream import estimate

SAMPLE = {"seed": 0, "split": "test", "index": 3, "errors": {"network": 0.1}}
WRONG = [
    {"split": ["a"]}, {"split": None}, {"split": {"a": 1}}, {"index": -1}, {"index": 1.5},
    {"index": "3"}, {"index": 10**30}, {"index": None}, {"index": True}, {"seed": -1},
    {"seed": "x"}, {"seed": None}, {"seed": 10**30}, {"errors": [1]}, {"errors": {"network": "x"}},
    {"errors": "x"}, {"errors": {"network": [1]}}, {"overrides": [1]}, {"overrides": {"x": 1}},
    {"overrides": {"rate": "x"}}, {"overrides": {"points": 1e9}},
    {"shares": [1]}, {"metric": 3}, {"policy": "x"}, {"policy": 3}, {"on_nonfinite": "x"},
    {"config_hash": 3}, {"config_hash": "0" * 16}, {"digest": 3}, {"step": "x"}, {"loss": "x"},
]  # fmt: skip


@pytest.fixture(scope="module")
def config_text():
    return json_text(compose(["device=cpu", "system.points=32", "logger=none"]))


@pytest.fixture
def replayed(config_text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/config.json").write_text(config_text)

    def replay(record):
        Path("run/log.jsonl").write_text(json.dumps(record) + "\n")
        return main(["replay", "run=run", "log=run/log.jsonl"])

    return replay


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_malformed_record_is_one_line(change, replayed, one_line):
    assert replayed(SAMPLE | change) == 2
    one_line()


@pytest.mark.parametrize("key", ["seed", "split", "index"])
def test_a_record_that_lacks_a_key_is_one_line(key, replayed, one_line):
    assert replayed({name: value for name, value in SAMPLE.items() if name != key}) == 2
    assert key in one_line()


@pytest.mark.parametrize("row", [{"worst/index": "x"}, {"worst/index": -1, "worst/loss": "x"},
                                 {"worst/index": [1], "worst/loss": {}}], ids=str)  # fmt: skip
def test_a_malformed_row_of_training_is_one_line(row, replayed, one_line):
    assert replayed({"worst/index": 1, "worst/loss": 1.0, "step": 1} | row) == 2
    one_line()


@pytest.mark.parametrize("split", ["../../../x", "/tmp/x", "..", ".", "a/b"])
def test_what_is_rebuilt_stays_in_its_folder(split, replayed, tmp_path):
    before = {path for path in tmp_path.parent.iterdir() if path != tmp_path}
    assert replayed(SAMPLE | {"split": split}) == 0
    assert {path for path in tmp_path.parent.iterdir() if path != tmp_path} == before
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4  # config.json, log.jsonl, the arrays and their picture
    assert {path.parent.name for path in written} == {"run", "replay"}


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"seed": 0, "system": 3}', "[" * 5000, '{"seed": 0, "stream": 3}',
             "\0", '{"seed": "x"}',
             '{"seed": 0, "system": {"_target_": "os.system", "command": "ls"}}'],
    ids=range(9),
)  # fmt: skip
def test_a_malformed_configuration_of_a_run_is_one_line(text, replayed, one_line):
    Path("run/config.json").write_text(text)
    assert replayed(SAMPLE) == 2
    one_line()


def test_a_configuration_of_huge_samples_takes_no_memory(replayed, one_line, monkeypatch):
    monkeypatch.setattr(estimate, "free_memory", lambda: 2_000_000_000)
    huge = compose(["device=cpu", "logger=none", "system=qsmnet", "system.shape=[2048,2048,2048]"])
    Path("run/config.json").write_text(json_text(huge))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert replayed(SAMPLE) == 1
    assert "more memory than is free" in one_line()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 21  # 2 GB


def test_names_of_files_and_json_are_bounded():
    for name in ("../x", "/etc/x", "..", "", ".hidden", "a\\b", "x" * 999, "\n"):
        path = Path("/here") / file_name(name)
        assert path.resolve().parent == Path("/here")
        assert len(path.name) <= 200
    assert file_name("fig. 4, rate=0.25") == "fig._4__rate=0.25"
    for text in ("[" * 200 + "]" * 200, "[" * 100_000):
        with pytest.raises(ValueError, match="deeper"):
            from_json(text)
