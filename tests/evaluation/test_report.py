"""The report: complete, self-contained, escaped; and the evaluation that leads to it."""

import json
import re

import numpy as np
import pytest
import scipy.io
import torch
from test_page import parsed
from test_synthetic import small_system

from ipads_stream.core.errors import ConfigError
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.recording import UnusableData
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation import tasks as settings
from ipads_stream.evaluation.evaluate import evaluate
from ipads_stream.evaluation.tasks import Settings, task_of
from ipads_stream.evaluation.tasks.signals import REFINED
from ipads_stream.evaluation.tasks.signals.reconstruction import Reconstruction
from ipads_stream.evaluation.tasks.signals.thresholds import RATES
from ipads_stream.report.figures import NETWORK


class Thresholds(torch.nn.Module):
    """A network that says of itself: in phase k, threshold k times the sampling rate."""

    def __init__(self, phases):
        super().__init__()
        self.phases = phases

    def forward(self, inputs):
        if not self.phases:
            return {"spectrum": inputs["fid"]}
        rate = inputs["mask"].float().mean(1)
        return {"thresholds": torch.stack([k * rate for k in range(1, self.phases + 1)])}


class Idle(Reconstruction):
    """Stands in for a network: gives back what it is given."""

    def __init__(self, net=None):
        self.config = {"seed": 0, "net": {"width": "<b>", "limit": float("inf")}}
        self.net = Thresholds(0) if net is None else net

    def __call__(self, fid, mask, *, batch_size=256):
        return np.where(mask, fid, 0)


@pytest.fixture(scope="module", autouse=True)
def patience():
    """Nothing is left out because the machine is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.SECONDS, "quick", 1e4)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    steps = [{"step": n, "loss": 1.0 / (n + 1), "stall": 0.01, "time": n} for n in range(30)]
    lines = [*steps, {"step": 29, "val/loss": 0.05, "loss": None}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    plane = simulated_plane(0, num_peaks=8, num_direct=24, num_indirect=48)
    np.save(folder / "plane<1>.npy", plane.fid)
    return folder


def config_of(run, **changes):
    return {"checkpoint": str(run / "run.ckpt"), "subset": "demo", "samples": 6, **changes}


@pytest.fixture(scope="module")
def measured(run):
    output = run / "measured"
    config = config_of(run, data=str(run / "plane<1>.npy"), rates=[0.25, 0.5])
    return output, evaluate(Idle(), small_system(), config, output)[0]


@pytest.mark.slow
def test_measured_evaluation_leaves_everything(measured):
    output, text = measured
    results = json.loads((output / "results.json").read_text())
    assert {row["rate"] for row in results["measured"]} == {0.25, 0.5}
    assert [row["rate"] for row in results["scores"]] == [0.25] * 5
    assert [row["method"] for row in results["scores"]][:2] == [NETWORK, REFINED]
    assert len(results["network_against_IST"]) == 2
    assert len((output / "samples.jsonl").read_text().splitlines()) == 6
    for name in (
        "plane", "slices", "measured_error", "spectra", "samples", "convergence",
        "measured_convergence", "training",
    ):  # fmt: skip
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert str(output / "report.html") in text
    assert "network" in text and "zero-filling" in text
    assert not list(output.glob(".*"))


def test_report_is_self_contained_and_escaped(measured):
    markup = (measured[0] / "report.html").read_text()
    found = parsed(markup)
    assert "script" not in found.tags and "link" not in found.tags
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in found.sources)
    assert found.tags.count("img") == 9
    assert "plane<1>.npy" in "".join(found.text)
    assert "plane<1>" not in markup
    assert '"<b>"' in "".join(found.text)
    assert "Measured data: plane" in "".join(found.text)
    assert "appear folded (0.7 Hz at -0.3 Hz with a dwell of 1 s)" in "".join(found.text)
    assert not re.search(r"https?://", markup)


@pytest.mark.slow
def test_synthetic_evaluation(run):
    output = run / "synthetic"
    net = Thresholds(2)
    text, _ = evaluate(Idle(net), small_system(), config_of(run, rates=[0.3, 0.5]), output)
    results = json.loads((output / "results.json").read_text())
    assert {row["rate"] for row in results["scores"]} == {0.3, 0.5}
    assert "measured" not in results
    assert (output / "synthetic_error.png").is_file()
    assert "Synthetic" in text
    assert [row["phase"] for row in results["thresholds"]] == [1, 2] * len(RATES)
    assert (output / "thresholds.png").is_file()
    assert "mean threshold changes by" in text and "falls in 0 of 2 phases" in text
    assert "first phase to the last by +100.0 %" in text
    parsed((output / "report.html").read_text())


@pytest.mark.slow
def test_unavailable_data_are_replaced_and_said_so(run, monkeypatch):
    def refuse(name, progress=True):
        raise datasets.DataUnavailable("not at hand")

    monkeypatch.setattr(datasets, "find", refuse)
    monkeypatch.setitem(settings.SECONDS, "quick", 1e-6)
    config = config_of(run, data="ubiquitin", rates=[0.5], schedules=1)
    text, _ = evaluate(Idle(), small_system(), config, run / "replaced")
    assert "stands in for ubiquitin: not at hand" in text
    for name in ("LRHM", REFINED):
        assert text.count(f"{name} is left out: ") == 2  # on the plane, and on synthetic signals
    assert not (run / "replaced" / "convergence.png").exists()
    markup = (run / "replaced" / "report.html").read_text()
    assert "Simulated plane: simulated protein" in markup
    assert "Measured data" not in markup


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", "ubiqutin"),
        ("subset", "half"),
        ("rates", [0.2, 1.5]),
        ("rates", []),
        ("rates", ["a"]),
        ("schedules", 0),
        ("samples", 1),
        ("samples", 2.5),
        ("seed", -1),
    ],
)
def test_wrong_values_are_named(key, value):
    with pytest.raises(ConfigError) as error:
        settings_of({key: value})
    assert error.value.key.partition("[")[0] == key


def settings_of(config):
    system = small_system()
    return Settings.of(config, task_of(system, config), system)


@pytest.mark.slow
def test_short_signals_are_not_refined(run):
    system = small_system(points=6)
    text, _ = evaluate(Idle(), system, config_of(run, rates=[0.5]), run / "short")
    assert f"{REFINED} is left out: " in text and "8 or more points" in text
    assert not (run / "short" / "convergence.png").exists()


@pytest.mark.slow
def test_the_step_after_the_network_is_not_one_of_the_others(run):
    output = run / "lead"
    text, _ = evaluate(Idle(), small_system(), config_of(run, rates=[0.5]), output)
    rows = json.loads((output / "results.json").read_text())["scores"]
    error = {row["method"]: row["rlne_median"] for row in rows}
    best = min((name for name in error if name not in (NETWORK, REFINED)), key=error.get)
    lead = text.partition("\n")[0]
    assert f"of the best other method compared ({best} {error[best]:.3f}" in lead
    assert lead.endswith(f"A low-rank step after it: {error[REFINED]:.3f}.")
    assert error[REFINED] < error[NETWORK]


def test_a_bad_folder_does_not_cost_the_evaluation(run, tmp_path):
    (tmp_path / "file").touch()

    class Busy(Idle):
        def __call__(self, fid, mask, *, batch_size=256):
            raise AssertionError("work begun")

    for output in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(OSError, match="file"):
            evaluate(Busy(), small_system(), config_of(run), output)


def plane_of(keys):
    return task_of(small_system(), keys)._plane(settings_of(keys), [])


def test_the_file_is_read_as_the_keys_say(tmp_path):
    rows = simulated_plane(0, num_peaks=4, num_direct=16, num_indirect=24).fid
    path = tmp_path / "two.npz"
    np.savez(path, one=rows, two=2 * rows)
    keys = {"data": str(path), "variable": "two"}
    assert np.array_equal(plane_of(keys).fid, 2 * rows)
    with pytest.raises(UnusableData, match=r"two.npz: no single complex array; .*variable="):
        plane_of({"data": str(path)})
    struct = {"fid": {"pos": rows, "neg": rows.conj()}}
    scipy.io.savemat(tmp_path / "struct.mat", struct)
    keys = {"data": str(tmp_path / "struct.mat"), "mode": "states"}
    assert plane_of(keys).mode == "states"


@pytest.mark.parametrize(
    ("key", "value", "data"),
    [
        ("mode", "dqd", "."),
        ("mode", "states", "synthetic"),
        ("mode", "states", "ubiquitin"),
        ("variable", 3, "."),
        ("variable", "", "."),
        ("variable", "rows", "15N13C"),
    ],
)
def test_keys_of_a_file_are_refused_by_name(key, value, data):
    with pytest.raises(ConfigError) as error:
        settings_of({key: value, "data": data})
    assert error.value.key == key
