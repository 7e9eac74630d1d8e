"""Shift studies of tasks other than signals: the same laboratory, by the error of the task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ipads_stream import load_model, load_system
from ipads_stream.config import compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.comparison import compare
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.tasks import task_of
from ipads_stream.shift import run_study
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.scoring import TaskScoring, scoring_of
from ipads_stream.shift.study import Adapted
from ipads_stream.shift.task import _of_network

NARROW = {
    "_target_": "ipads_stream.distributions.LogUniform",
    "low": 100,
    "high": 500,
    "unit": "ms",
}


def study(output: Path, **changes) -> dict:
    config = compose(["shift=tiny", "logger=none", f"output={output}"], name="shift")
    config["trusted"] = []
    config["shift"] = {
        "title": "Fingerprints",
        "seeds": [0],
        "steps": 5,
        "samples": 60,
        "resamples": 50,
        "reference": "wide",
        "common": {
            "system": "drone",
            "system.schedule.num_frames": 40,
            "net.widths": [16, 16],
            "stream": {"batch_size": 32, "threads": 0},
        },
        "arms": {"wide": {}, "narrow": {"system.T1": NARROW}},
        "methods": {"dictionary": 20},
        "tests": {"as trained": {}, "short T1": {"system.T1": NARROW}},
    } | changes
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = study(tmp_path_factory.mktemp("study"))
    return config, run_study(config)


@pytest.mark.slow
def test_a_study_of_quantities_runs_and_reports(finished):
    config, ran = finished
    assert ran.failures == {}
    output = Path(config["output"])
    results = json.loads((output / "results.json").read_text())
    assert {row["arm"] for row in results["cells"]} == {"dictionary", "wide", "narrow"}
    metrics = {row["metric"] for row in results["cells"]}
    assert {name.partition("_")[2] for name in metrics} >= {"T1", "T2"} and len(metrics) == 3
    assert all(np.isfinite(row["mean"]) for row in results["cells"])
    verdicts = {row["verdict"] for row in results["comparisons"] if row["arm"] == "narrow"}
    assert verdicts == {"no verdict below 5 seeds"}
    page = (output / "report.html").read_text()
    assert "T1 (s)" in page and "nothing differs" in page
    assert "<script" not in page
    assert (output / "curve_T1.png").is_file()


@pytest.mark.slow
def test_a_job_gives_what_a_sweep_minimises(finished):
    config, _ = finished
    ran = run_study(config | {"arm": "wide", "seed": 0})
    results = json.loads((Path(config["output"]) / "results.json").read_text())
    key = task_of(load_system("drone")).metric.key
    values = [
        row["by_seed"]["0"]
        for row in results["cells"]
        if (row["arm"], row["metric"]) == ("wide", key)
    ]
    assert ran.objective == pytest.approx(np.mean(values))


class TestScoring:
    def test_scores_are_the_errors_of_the_task(self):
        system = load_system("ann_mwf")
        scoring = scoring_of(system)
        assert isinstance(scoring, TaskScoring)
        sample = scoring.draw(system, samples=12, seed=3)
        truths = {name: np.asarray(x) for name, x in sample.targets.items()}

        def method(inputs):
            return {name: 1.1 * x[: len(inputs["decay"])] for name, x in truths.items()}

        scores = scoring.scores(method, system, sample, None)
        comparison = compare(system, {"it": method}, samples=12, seed=3)
        key = scoring.errors
        assert np.array_equal(scores[key], task_of(system).errors(comparison, "it"))
        assert set(scores) == {key} | {f"{key}_{name}" for name in system.quantities}
        few = scoring.scores(method, system, sample, 5)
        assert np.array_equal(few[key], scores[key][:5])

    def test_facts_are_the_drawn_parameters_with_their_units(self):
        system = load_system("ann_mwf")
        scoring = scoring_of(system)
        sample = scoring.draw(system, samples=4, seed=0)
        assert np.array_equal(scoring.facts(sample)["MWF"], sample.params["MWF"])
        assert scoring.parameters["T2_myelin"].label == "T2_myelin (s)"

    def test_what_a_method_does_not_estimate_is_missing(self):
        system = load_system("drone")
        scoring = scoring_of(system)
        sample = scoring.draw(system, samples=3, seed=0)
        truth = np.asarray(sample.targets["T1"])
        scores = scoring.scores(lambda x: {"T1": truth[: len(x["signal"])]}, system, sample, None)
        assert np.isfinite(scores[f"{scoring.errors}_T1"]).all()
        assert np.isnan(scores[f"{scoring.errors}_T2"]).all()
        assert scoring.metrics[f"{scoring.errors}_T2"].pool(scores, {}) is None


def test_adapted_networks_have_the_noise_limit_of_evaluation(tmp_path):
    """On data cleaner than the training; adapted by steps so short that nothing else changes."""
    drone = Path(__file__).parents[1] / "before" / "drone.ckpt"
    clean = {"clean": {"system.snr": 1e5, "system.schedule.num_frames": 200}}
    asked = read_study(study(tmp_path, tests=clean, samples=20))
    adapted = Adapted(arm="wide", samples=4, steps=1, rate=1e-12, loss="supervised")
    free = load_model(drone)
    free.limit = None
    with expected():
        errors = {
            "as trained": _of_network(asked, "clean", load_model(drone), None),
            "adapted": _of_network(asked, "clean", load_model(drone), adapted),
            "free": _of_network(asked, "clean", free, None),
        }
    key = asked.scoring.errors
    np.testing.assert_allclose(errors["adapted"][key], errors["as trained"][key], rtol=1e-4)
    assert not np.allclose(errors["free"][key], errors["as trained"][key], rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["rlne"]}, r"^shift.metrics='rlne': of "),
        ({"methods": {"IST": None}}, r"^shift.methods.IST='IST': one of .*dictionary"),
        ({"after": {"x": {"arm": "wide", "solver": "lines"}}}, r"^shift.after.x='wide': null"),
        ({"after": {"x": {"arm": "wide", "loss": "hidden"}}}, r"^shift.after.x='wide': null"),
        ({"measured": {"names": ["ubiquitin"]}}, r"^shift.measured="),
    ],
)
def test_what_belongs_to_signals_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_study(study(tmp_path, **changes)).check()
