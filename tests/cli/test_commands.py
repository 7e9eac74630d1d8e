"""The verbs, as a user types them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ipads_stream import Frozen, __version__
from ipads_stream.__main__ import VERBS, main


def test_without_a_verb_the_verbs_are_shown(capsys):
    assert main([]) == 2
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"ipads-stream {verb}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tarin"], "did you mean train?"),
        (["evaluate"], "checkpoint"),
        (["evaluate", "checkpoint=nothing.ckpt"], "checkpoint='nothing.ckpt'"),
        (["freeze"], "path"),
        (["freeze", "path=x", "format=zip"], "format='zip'"),
        (["bench", "seconds=0"], "seconds"),
        (["bench", "threads=x"], "threads"),
        (["bench", "speed=3"], "speed"),
        (["preview", "--fast"], "argument='--fast'"),
        (["preview", "conf=nowhere"], "conf='nowhere'"),
        (["preview", "samples=-1"], "samples"),
        (["replay"], "run"),
        (["replay", "run=nowhere", "index=1"], "nowhere"),
        (["doctor", "x=1"], "argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_words_are_one_line_and_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_doctor_tells_versions_devices_and_kernels(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in (__version__, "numpy", "devices", "cpu", "kernels", "philox.cu", "folders"):
        assert word in text


def test_bench_prints_a_table_and_writes_json(tmp_path, capsys):
    out = tmp_path / "rates.json"
    words = ["seconds=0.05", "batch_size=32", "system.points=32", f"out={out}"]
    assert main(["bench", *words]) == 0
    assert "hand-over of a ready batch" in capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 5
    assert all(row["ms_per_batch"] > 0 for row in rows)


def test_freeze_writes_a_set(tmp_path, capsys):
    path = tmp_path / "set.h5"
    words = [f"path={path}", "format=hdf5", "num_samples=50", "system.points=32", "batch_size=16"]
    assert main(["freeze", *words]) == 0
    assert str(path) in capsys.readouterr().out
    assert Frozen(path).manifest["num_samples"] == 50


def test_a_simulator_that_fails_is_one_line_and_1(tmp_path, capsys, monkeypatch):
    (tmp_path / "conf" / "system").mkdir(parents=True)
    (tmp_path / "broken.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Broken:\n"
        "    name = 'broken'\n"
        "    def draw(self, keys, progress): return {}\n"
        "    def render(self, params, keys, xp): raise ZeroDivisionError('no field')\n"
    )
    (tmp_path / "conf" / "system" / "broken.yaml").write_text(
        "# @package _global_\nsystem:\n  _target_: broken.Broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [f"conf={tmp_path / 'conf'}", "system=broken", "trusted=[broken]"]
    assert main(["freeze", *words, f"path={tmp_path / 'set'}"]) == 1
    error = capsys.readouterr().err
    assert "sample 0: ZeroDivisionError: no field" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_terminal_without_unicode_loses_signs_not_work(tmp_path):
    (tmp_path / "näme").mkdir()
    words = ["-m", "ipads_stream", "freeze", f"path={tmp_path / 'näme' / 'set'}", "num_samples=2"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, *words], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"n?me" in done.stdout


def test_files_that_cannot_be_written_are_one_line_and_1(tmp_path, capsys):
    assert main(["preview", "samples=10", f"output={tmp_path / ('x' * 300)}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_before_training_starts_is_130(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "ipads_stream", "bench", "seconds=60"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell that started the tests in the background told them to ignore interrupts.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            # A library that is being imported may swallow an interrupt: as a user, press again.
            time.sleep(8)
            for _ in range(6):
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=8)
                    break
            _, error = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "words",
    [["train"], ["preview"], ["adopt", "data=x"], ["apply", "checkpoint=x", "data=x"],
     ["design"], ["diagnose", "checkpoint=x", "data=x"], ["evaluate", "checkpoint=x"],
     ["fit-prior", "data=x"], ["replay", "checkpoint=x", "index=1"], ["shift", "shift=tiny"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_an_output_that_is_no_folder_is_refused_before_any_work(words, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert main([*words, f"output={output}"]) == 2
        assert "file is none" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_table_of_rates_is_a_file(tmp_path, capsys):
    for out in (tmp_path, tmp_path / "rates.json" / "deeper"):
        (tmp_path / "rates.json").write_text("mine")
        assert main(["bench", "seconds=0.01", f"out={out}"]) == 2
        assert "ipads-stream: out=" in capsys.readouterr().err
