"""A whole study of two small arms: trained, tested, reported, interrupted and gone on with."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ipads_stream.config import compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.shift import run_study
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.run import _reason, run_all
from ipads_stream.shift.statistics import ANY_SEED
from ipads_stream.shift.study import Task
from ipads_stream.shift.task import (
    CHECKPOINT,
    TRAINED,
    BusyError,
    _locked,
    is_finished,
    read_scores,
    run_task,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def tiny(output: Path, *words: str) -> dict:
    config = compose(["shift=tiny", "logger=none", f"output={output}", *words], name="shift")
    config["trusted"] = []
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[dict, object]:
    """A study with one arm that cannot be built and one that dies, run two at a time."""
    config = tiny(tmp_path_factory.mktemp("study"), "processes=2")
    config["shift"]["arms"] |= {
        "not there yet": {"net": {"_target_": "ipads_stream.nets.nothing.Net"}},
        "overflows": {"system.amplitude": 3e38},  # beyond single precision: no sample is finite
    }
    config["shift"]["after"] = {
        "refined": {"arm": "uniform", "solver": "low-rank"},
        "adapted": {"arm": "uniform", "samples": 4, "steps": 1},
    }
    config["shift"]["seeds"] = [0, 1]
    return config, run_study(config)


def test_one_arm_that_fails_does_not_lose_the_others(finished):
    config, ran = finished
    assert set(ran.failures) == {
        f"{a}, seed {s}" for a in ("not there yet", "overflows") for s in (0, 1)
    }
    wanted = "shift.arms.not there yet.net._target_='ipads_stream.nets.nothing.Net'"
    assert ran.failures["not there yet, seed 0"].startswith(wanted)
    reason = ran.failures["overflows, seed 0"]
    assert reason.startswith("SimulationError: ") and reason.endswith("log.txt)")
    study = read_study(config)
    for task in study.tasks():
        assert is_finished(study, task) == (task.arm in ("IST", "uniform", "log-uniform"))


def test_a_process_that_is_killed_is_said_to_be(finished):
    study = read_study(finished[0])
    task = Task("uniform", 0)
    assert _reason(study, task, -signal.SIGKILL).startswith("killed by signal 9 (")
    assert _reason(study, task, 130).startswith("interrupted (")


def test_the_report_holds_every_arm_and_says_what_is_missing(finished):
    config, ran = finished
    output = Path(config["output"])
    found = json.loads((output / "results.json").read_text())
    arms = {row["arm"] for row in found["cells"]}
    assert arms == {"IST", "uniform", "log-uniform", "refined", "adapted"}
    assert len(found["cells"]) == 5 * 2 * 4 and not [r for r in found["cells"] if r["mean"] is None]
    assert set(found["failures"]) == set(ran.failures)
    page = (output / "report.html").read_text()
    for text in ("no verdict below 5 seeds", "not there yet, seed 0", "data:image/png"):
        assert text in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    for name in ("matrix_low", "matrix_rlne", "curve_amplitude"):
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {row["steps"] for row in found["budgets"] if "steps" in row} == {20}


def test_results_agree_with_the_tests_own_numbers(finished):
    """RLNE of an arm, from its checkpoint, without the laboratory."""
    from ipads_stream import Stream, load_model
    from ipads_stream.evaluation.metrics import rlne
    from ipads_stream.physics.spectroscopy.spectrum import spectrum

    config, _ = finished
    study = read_study(config)
    system = study.test_system("II")
    batch = Stream(system, seed=0, split="test", batch_size=40, device="cpu", threads=0).batch(0)
    values = []
    for seed in study.seeds:
        model = load_model(study.folder(Task("uniform", seed)) / CHECKPOINT)
        estimate = spectrum(model(batch.inputs["fid"].numpy(), batch.inputs["mask"].numpy()))
        values.append(np.median(rlne(estimate, batch.targets["spectrum"].numpy(), axis=-1)))
    rows = json.loads((study.output / "results.json").read_text())["cells"]
    row = next(r for r in rows if (r["arm"], r["test"], r["metric"]) == ("uniform", "II", "rlne"))
    assert row["mean"] == pytest.approx(np.mean(values), rel=1e-6)
    assert list(row["by_seed"].values()) == pytest.approx(values, rel=1e-6)


def test_arms_saw_the_same_samples_except_for_what_they_change(finished):
    from ipads_stream import Stream
    from ipads_stream.config import build_system

    config, _ = finished
    study = read_study(config)
    one, two = (
        Stream(build_system(study.training(Task(arm, 1))), seed=1, batch_size=8, device="cpu",
               threads=0).batch(5)
        for arm in ("uniform", "log-uniform")
    )  # fmt: skip
    assert not np.array_equal(one.params["amplitude"], two.params["amplitude"])
    for name in ("frequency", "phase", "decay", "num_peaks"):
        assert np.array_equal(one.params[name], two.params[name])
    assert np.array_equal(one.inputs["mask"], two.inputs["mask"])
    # The same ranks: where one amplitude is larger, so is the other.
    order = [np.argsort(s.params["amplitude"][s.params["amplitude"] > 0]) for s in (one, two)]
    assert np.array_equal(*order)


def test_what_is_finished_is_not_repeated(finished):
    config, _ = finished
    study = read_study(config)
    times = {path: path.stat().st_mtime_ns for path in study.output.rglob("*.npz")}
    times |= {path: path.stat().st_mtime_ns for path in study.output.rglob(CHECKPOINT)}
    some = [task for task in study.tasks() if task.arm in ("IST", "uniform", "log-uniform")]
    assert run_all(config, some) == {}
    assert times == {path: path.stat().st_mtime_ns for path in times}
    # Scores that are missing are made again, without training again.
    lost = study.scores_file(Task("uniform", 0), "uniform", "I")
    kept = read_scores(lost)
    lost.unlink()
    assert not is_finished(study, Task("uniform", 0))
    run_task(study, Task("uniform", 0))
    again = read_scores(lost)
    assert all(np.array_equal(kept[key], again[key], equal_nan=True) for key in kept)
    checkpoint = study.folder(Task("uniform", 0)) / CHECKPOINT
    assert checkpoint.stat().st_mtime_ns == times[checkpoint]


def test_a_job_is_one_arm_and_gives_what_a_sweep_minimises(finished):
    config, _ = finished
    ran = run_study(config | {"arm": "uniform", "seed": 1, "objective": {"metric": "rlne"}})
    rows = json.loads((Path(config["output"]) / "results.json").read_text())["cells"]
    values = [r["by_seed"]["1"] for r in rows if (r["arm"], r["metric"]) == ("uniform", "rlne")]
    assert ran.objective == pytest.approx(np.mean(values)) and not ran.failures
    for key, value in (("arm", "nobody"), ("seed", 7)):
        with pytest.raises(ConfigError, match=f"^{key}="):
            run_study(config | {key: value})
    with pytest.raises(ConfigError, match=r"objective\.metric"):
        run_study(config | {"arm": "uniform", "seed": 1, "objective": {"metric": "mse"}})


def test_two_processes_do_not_train_the_same_arm(finished):
    config, _ = finished
    study = read_study(config)
    with _locked(study, Task("uniform", 0)), pytest.raises(BusyError, match="another process"):
        run_task(study, Task("uniform", 0))
    run_task(study, Task("uniform", 0))  # and afterwards it is free


def test_an_arm_starts_from_the_network_of_another(tmp_path):
    config = tiny(tmp_path)
    config["shift"]["arms"]["tuned"] = {
        "start": "uniform",
        "trainer": "transfer",
        "trainer.max_steps": 2,
        "trainer.val_every": 2,
        "trainer.val_samples": 8,
        "trainer.samples": 4,
        "trainer.target": {"rate": 0.5},
    }
    config["shift"]["methods"] = {}
    study = read_study(config)
    assert study.needs(Task("tuned", 1)) == Task("uniform", 1)
    run_task(study, Task("tuned", 1))  # trains what it needs
    assert (study.folder(Task("uniform", 1)) / TRAINED).is_file()
    other = copy.deepcopy(config)
    other["shift"]["common"]["net"]["phases"] = 3
    assert read_study(other).folder(Task("tuned", 1)).name != study.folder(Task("tuned", 1)).name
    spent = json.loads((study.folder(Task("tuned", 1)) / TRAINED).read_text())
    assert spent["steps"] == 2
    config["shift"]["arms"]["uniform"] = {"net": {"_target_": "ipads_stream.nets.nothing.Net"}}
    failures = run_all(config, [Task("uniform", 1), Task("tuned", 1)])
    assert "which it starts from, failed" in failures[Task("tuned", 1)]


def test_an_interrupted_study_goes_on(tmp_path):
    words = ["shift=tiny", "shift.steps=300", "shift.seeds=[0]", "logger=none",
             f"output={tmp_path / 'o'}", f"hydra.run.dir={tmp_path / 'h'}"]  # fmt: skip
    command = [sys.executable, str(ROOT / "experiments" / "shift.py"), *words, "arm=uniform"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = list((tmp_path / "o").rglob("metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > 20:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130, text
    assert "the same command goes on" in text
    config = tiny(tmp_path / "o", "shift.steps=300", "shift.seeds=[0]")
    study, task = read_study(config), Task("uniform", 0)
    assert not is_finished(study, task)
    steps = [json.loads(line)["step"] for line in logs[0].read_text().splitlines()]
    done = max(steps)
    assert 20 <= done < 299
    run_task(study, task)
    assert is_finished(study, task)
    after = [json.loads(line)["step"] for line in logs[0].read_text().splitlines()]
    assert after[: len(steps)] == steps and after[len(steps)] == done + 1 and after[-1] == 299
    # An uninterrupted training gives the same network, bit for bit.
    other = read_study(config | {"output": str(tmp_path / "whole")})
    run_task(other, task)
    one, two = (read_scores(s.scores_file(task, "uniform", "I")) for s in (study, other))
    assert np.array_equal(one["rlne"], two["rlne"])


def test_methods_run_without_training(tmp_path):
    config = tiny(tmp_path)
    config["shift"]["methods"] = {"zero-filling": None, "LRHM": 5}
    study = read_study(config)
    for name in study.methods:
        run_task(study, Task(name, ANY_SEED))
    few = read_scores(study.scores_file(Task("LRHM", ANY_SEED), "LRHM", "I"))
    all_of_them = read_scores(
        study.scores_file(Task("zero-filling", ANY_SEED), "zero-filling", "I")
    )
    assert len(few["rlne"]) == 5 and len(all_of_them["rlne"]) == 40
    assert np.nanmedian(few["peaks"]) < np.nanmedian(all_of_them["peaks"])
    assert np.nanmedian(all_of_them["peaks"]) < 1.0
