"""Command lines that nobody means: one line and an exit code, soon, and in little memory."""

from __future__ import annotations

import re
import subprocess
import sys

import fuzz
import pytest
from fuzz import fault

from ipads_stream.__main__ import main

LINES = [
    ["bench", "~seed", "+x=1"],
    ["bench", "~device"],
    ["bench", "batch_size=[1]"],
    ["bench", "batch_size=1e9"],
    ["bench", "system.snr.low.x=1"],
    ["bench", "system=[1]"],
    ["bench", "seconds=nan"],
    ["bench", "seconds=1e300"],
    ["bench", "device=3"],
    ["train", "+stream.foo=1"],
    ["train", "~seed"],
    ["train", "system=t2_map", "loss=deep_supervision", "trainer.max_steps=1", "logger=none"],
    ["train", "system=qsmnet", "net=deepspio", "trainer.max_steps=1", "logger=none"],
    ["shift", "shift=tiny", "shift.methods=1e9"],
    ["shift", "shift=tiny", "+shift.measured.schedules=3"],
    ["train", "~logger"],
    ["train", "~system"],
    ["train", "~trainer"],
    ["evaluate", "~logger"],
    ["bench", "~system"],
    ["train", "seed=1e400"],
    ["train", "stream=[1]"],
    ["train", "stream=null"],
    ["train", "net=[1,2]"],
    ["train", "net={_target_: ipads_stream.distributions.Constant, value: 1}"],
    ["train", "trainer={_target_: ipads_stream.distributions.Constant, value: 1}"],
    ["train", "loss={_target_: ipads_stream.distributions.Constant, value: 1}"],
    ["train", "stream={_target_: 5}"],
    ["train", "trainer=nothing"],
    ["train", "logger=3"],
    ["train", "+logger={_target_: 5}"],
    ["train", "callbacks=3"],
    ["train", "+x=1"],
    ["train", "trainer.max_time=1e18"],
    ["train", "output=/dev/null/x", "trainer.max_steps=1"],
    ["evaluate", "checkpoint=3"],
    ["preview", "system=deepspio", "system.body.kinds=1e9"],
    ["preview", "progress=[[1]]"],
    ["preview", "phantoms=x"],
    ["shift", "vary=3"],
    ["shift", "objective=3"],
    ["shift", "shift.arms=3"],
    ["fit-prior", "data=[[1]]"],
    ["replay", "run=3", "index=[1]"],
    ["config", "train", "~seed"],
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_wrong_values_are_one_line(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fault(words) is None


ASKED = [
    (["train", "trainer.devices=4096", "output=o"], "trainer.devices"),
    (["train", "trainer.num_threads=4096"], "trainer.num_threads"),
    (["train", "stream.depth=1000000000"], "stream.depth"),
    (["train", "stream.batch_size=1000000000"], "stream.batch_size"),
    (["train", "stream.threads=100000"], "stream.threads"),
    (["train", "net.growth=100000"], "net"),
    (["train", "trainer.max_steps=1000000000000"], "trainer.max_steps"),
    (["train", "system.points=16384", "stream.batch_size=65536"], "stream.batch_size"),
    (["freeze", "path=set", "system.points=1000000000"], "system.points"),
    (["freeze", "path=set", "system=drone", "system.schedule.num_frames=1000000000"], "num_frames"),
    (["freeze", "path=set", "system=ann_mwf", "system.num_echoes=1000000000"], "num_echoes"),
    (["freeze", "path=set", "system=qsmnet", "system.shape=[1000000,64,64]"], "system.shape"),
    (["freeze", "path=set", "system=oled", "system.finer=1000000000"], "system.finer"),
    (["freeze", "path=set", "system=oled", "system.sequence.matrix=1000000000"], "matrix"),
    (["train", "net.phases=1000000000"], "net"),
    (["freeze", "path=set", "num_samples=1000000000", "batch_size=1000000000"], "batch_size"),
    (["bench", "batch_size=1000000000"], "batch_size"),
    (["bench", "threads=100000"], "threads"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name"), ASKED, ids=lambda x: " ".join(x) if isinstance(x, list) else ""
)
def test_what_does_not_fit_is_refused_by_name(words, name, one_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    is_dlnmr = not any(word.startswith("system") for word in words)
    words = [*words, *(["system.points=64"] if is_dlnmr else []), "device=cpu"]
    assert main([*words, "logger=none"] if words[0] == "train" else words) == 2
    text = one_line()
    assert name in text
    assert re.search(r"\d GB|at most", text)


@pytest.mark.slow
def test_random_lines_are_one_line():
    """In a process of their own: forks of this one would wait for its threads."""
    done = subprocess.run(
        [sys.executable, fuzz.__file__, "40", "13"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
