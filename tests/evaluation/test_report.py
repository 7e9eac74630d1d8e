"""The report: complete, self-contained, escaped; and the evaluation that leads to it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.io
import torch
from test_synthetic import small_system

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import write_text
from ipads_stream.evaluation import affordable, curve_figures, datasets, evaluate, report
from ipads_stream.evaluation.evaluate import Settings, evaluate_model
from ipads_stream.evaluation.methods import LRHM, NETWORK, REFINED
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.planes_recording import UnusableData
from ipads_stream.evaluation.simulated_plane import simulated_plane
from ipads_stream.evaluation.tables import Column, best_cells, html_table, text_table
from ipads_stream.evaluation.thresholds import RATES

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Parser(HTMLParser):
    """Collects tags and fails where they are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(markup):
    parser = Parser()
    parser.feed(markup)
    parser.close()
    assert parser.open == []
    return parser


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


class Idle(Model):
    """Stands in for a network: gives back what it is given."""

    def __init__(self, net=None):
        self.config = {"seed": 0, "net": {"width": "<b>", "limit": float("inf")}}
        self.net = Thresholds(0) if net is None else net

    def __call__(self, fid, mask, *, batch_size=256):
        return np.where(mask, fid, 0)


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
    return output, evaluate_model(Idle(), small_system(), config, output)


def test_measured_evaluation_leaves_everything(measured):
    output, text = measured
    results = json.loads((output / "results.json").read_text())
    assert {row["rate"] for row in results["measured"]} == {0.25, 0.5}
    assert [row["rate"] for row in results["synthetic"]] == [0.25] * 5
    assert [row["method"] for row in results["synthetic"]][-2:] == [NETWORK, REFINED]
    assert len(results["network_against_IST"]) == 2
    assert len((output / "samples.jsonl").read_text().splitlines()) == 6
    for name in (
        "plane", "slices", "measured_error", "spectra", "samples", "convergence", "training",
    ):  # fmt: skip
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert str(output / "report.html") in text
    assert "network" in text and "zero-filling" in text
    assert not list(output.glob(".*"))


def test_report_is_self_contained_and_escaped(measured):
    markup = (measured[0] / "report.html").read_text()
    found = parsed(markup)
    assert "script" not in found.tags and "link" not in found.tags
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert found.tags.count("img") == 8
    assert "plane<1>.npy" in "".join(found.text)
    assert "plane<1>" not in markup
    assert '"<b>"' in "".join(found.text)
    assert "Measured data: plane" in "".join(found.text)
    assert "appear folded (0.7 Hz at -0.3 Hz with a dwell of 1 s)" in "".join(found.text)
    assert not re.search(r"https?://", markup)


def test_synthetic_evaluation(run):
    output = run / "synthetic"
    net = Thresholds(2)
    text = evaluate_model(Idle(net), small_system(), config_of(run, rates=[0.3, 0.5]), output)
    results = json.loads((output / "results.json").read_text())
    assert {row["rate"] for row in results["synthetic"]} == {0.3, 0.5}
    assert results["measured"] == []
    assert (output / "synthetic_error.png").is_file()
    assert "Synthetic" in text
    assert [row["phase"] for row in results["thresholds"]] == [1, 2] * len(RATES)
    assert (output / "thresholds.png").is_file()
    assert "mean threshold changes by" in text and "falls in 0 of 2 phases" in text
    assert "first phase to the last by +100.0 %" in text
    parsed((output / "report.html").read_text())


def test_unavailable_data_are_replaced_and_said_so(run, monkeypatch):
    def refuse(name, progress=True):
        raise datasets.DataUnavailable("not at hand")

    monkeypatch.setattr(datasets, "find", refuse)
    monkeypatch.setattr(affordable, "SECONDS", {"demo": 1e-6})
    config = config_of(run, data="ubiquitin", rates=[0.5], schedules=1)
    text = evaluate_model(Idle(), small_system(), config, run / "replaced")
    assert "stands in for ubiquitin: not at hand" in text
    assert "LRHM is left out on the plane" in text
    assert "LRHM is left out on synthetic signals" in text
    assert "network + low rank is left out on the plane" in text
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
        Settings.of({key: value})
    assert error.value.key == key


def test_a_slow_method_gets_fewer_signals_and_is_told_apart(monkeypatch):
    methods = {LRHM: lambda fid, mask: fid, NETWORK: lambda fid, mask: fid}
    monkeypatch.setattr(affordable, "timed", lambda method, fid, mask: (fid, 0.6))
    used, fewer, notes = affordable.on_signals(methods, small_system(), 100, 4, "demo")
    assert (set(used), fewer, notes) == ({LRHM, NETWORK}, {LRHM: 25}, [])
    assert affordable.on_signals(methods, small_system(), 100, 1, "demo")[1] == {}
    records = [
        {"rate": 0.25, "rlne": {"LRHM": 0.1, "network": 0.2}},
        {"rate": 0.25, "rlne": {"network": 0.9}},
    ]
    (note,) = affordable.on_the_same_signals(records, {"LRHM": 1})
    assert "LRHM 0.100, network 0.200" in note


def test_two_slow_methods_are_tried_and_compared_each_on_its_own(monkeypatch):
    seconds = {LRHM: 3.0, REFINED: 0.3}
    methods = {name: (lambda fid, mask, name=name: (fid, name)) for name in (*seconds, NETWORK)}
    monkeypatch.setattr(
        affordable, "timed", lambda method, fid, mask: (fid, seconds[method(fid, mask)[1]])
    )
    used, fewer, notes = affordable.on_signals(methods, small_system(), 30, 10, "demo")
    assert (set(used), fewer) == ({REFINED, NETWORK}, {REFINED: 20})
    assert notes == ["LRHM is left out on synthetic signals: one takes about 3 s."]
    plane = simulated_plane(0, num_peaks=2, num_direct=10, num_indirect=16)
    used, notes = affordable.on_plane(methods, plane, 10, "demo")
    assert (set(used), len(notes)) == ({REFINED, NETWORK}, 1)
    errors = [{LRHM: 0.1, REFINED: 0.2, NETWORK: 0.4}, {REFINED: 0.6, NETWORK: 0.8}]
    records = [{"rate": 0.5, "rlne": error} for error in errors]
    first, second = affordable.on_the_same_signals(records, {LRHM: 1, REFINED: 2})
    assert "LRHM 0.100, network + low rank 0.200, network 0.400" in first
    assert "at 50 % network + low rank 0.400, network 0.600" in second


def test_short_signals_are_not_refined():
    methods = dict.fromkeys((NETWORK, REFINED), lambda fid, mask: fid)
    plane = simulated_plane(0, num_peaks=1, num_direct=8, num_indirect=6)
    used, notes = affordable.on_plane(methods, plane, 1, "demo")
    assert list(used) == [NETWORK]
    assert notes == ["network + low rank is left out: it needs signals of 8 points, these have 6."]


def test_the_step_after_the_network_is_not_one_of_the_others(run):
    output = run / "lead"
    text = evaluate_model(Idle(), small_system(), config_of(run, rates=[0.5]), output)
    rows = json.loads((output / "results.json").read_text())["synthetic"]
    error = {row["method"]: row["rlne_median"] for row in rows}
    best = min((name for name in error if name not in (NETWORK, REFINED)), key=error.get)
    lead = text.partition("\n")[0]
    assert f"of the best other method compared ({best} {error[best]:.3f}" in lead
    assert lead.endswith(f"A low-rank step after it: {error[REFINED]:.3f}.")
    assert error[REFINED] < error[NETWORK]


def test_tables_mark_the_best_and_all_that_equal_it():
    columns = (Column("method", "method"), Column("error", "error", ".2f", best="low"))
    rows = [
        {"method": "<a>", "error": 0.101, "rate": 1},
        {"method": "b", "error": 0.099, "rate": 1},
        {"method": "c", "error": 0.01, "rate": 1, "is_partial": True},
        {"method": "d", "error": 0.5, "rate": 2},
        {"method": "e", "error": None, "rate": 2},
    ]
    assert best_cells(columns, rows, "rate") == {(0, 1), (1, 1)}
    text = text_table(columns, rows, "rate")
    assert text.count("*") == 2 and "–" in text
    markup = html_table(columns, rows, "rate", "all & sundry")
    assert markup.count("class=best") == 2
    assert "&lt;a&gt;" in markup and "all &amp; sundry" in markup
    parsed(markup)


def test_page_is_written_whole(tmp_path):
    path = tmp_path / "page.html"
    write_text(path, report.page("a < b", [report.paragraph("x & y", is_note=True)]))
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert "a < b" in "".join(parsed(path.read_text()).text)


def test_a_bad_folder_does_not_cost_the_evaluation(run, tmp_path):
    (tmp_path / "file").touch()

    class Busy(Idle):
        def __call__(self, fid, mask, *, batch_size=256):
            raise AssertionError("work begun")

    for output in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(OSError, match="file"):
            evaluate_model(Busy(), small_system(), config_of(run), output)


def test_the_file_is_read_as_the_keys_say(tmp_path):
    rows = simulated_plane(0, num_peaks=4, num_direct=16, num_indirect=24).fid
    path = tmp_path / "two.npz"
    np.savez(path, one=rows, two=2 * rows)
    keys = {"data": str(path), "variable": "two"}
    assert np.array_equal(evaluate._plane(Settings.of(keys), []).fid, 2 * rows)
    with pytest.raises(UnusableData, match=r"two.npz: no single complex array; .*variable="):
        evaluate._plane(Settings.of({"data": str(path)}), [])
    struct = {"fid": {"pos": rows, "neg": rows.conj()}}
    scipy.io.savemat(tmp_path / "struct.mat", struct)
    keys = {"data": str(tmp_path / "struct.mat"), "mode": "states"}
    assert evaluate._plane(Settings.of(keys), []).mode == "states"


@pytest.mark.parametrize(
    ("key", "value", "data"),
    [
        ("mode", "tppi", "."),
        ("mode", "states", "synthetic"),
        ("mode", "states", "ubiquitin"),
        ("variable", 3, "."),
        ("variable", "", "."),
        ("variable", "rows", "15N13C"),
    ],
)
def test_keys_of_a_file_are_refused_by_name(key, value, data):
    with pytest.raises(ConfigError) as error:
        Settings.of({key: value, "data": data})
    assert error.value.key == key


def test_repeated_steps_are_drawn_once():
    log = [{"step": step, "loss": float(step)} for step in (0, 1, 2, 3)]
    log += [{"step": step, "loss": 10.0 + step} for step in (2, 3, 4)] + [{"step": 5}]
    steps, values = curve_figures._series(log, "loss")
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert values.tolist() == [0, 1, 12, 13, 14]
