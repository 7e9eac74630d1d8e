"""From a short training to the report of a system of quantities, and its parts."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import toy_decay
from test_page import parsed
from toy_decay import Decay, DecaySlices, log_linear

from ipads_stream import load_model
from ipads_stream.__main__ import main
from ipads_stream.config import build_run
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation import comparison as trials
from ipads_stream.evaluation.comparison import NETWORK, affordable, compare, generated
from ipads_stream.evaluation.evaluate import baselines
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.tasks import Settings, quantities, task_of
from ipads_stream.evaluation.tasks.quantities import figures
from ipads_stream.evaluation.tasks.quantities.scores import BOUND, scores
from ipads_stream.report.figures import VERMILION, colours
from ipads_stream.train.run import train_run
from ipads_stream.train.tracker import WandB


@pytest.fixture(scope="module", params=["Decay", "DecaySlices"])
def run(request, tmp_path_factory):
    """Checkpoint of a few steps of training, and the system."""
    output = tmp_path_factory.mktemp("run") / request.param
    settings = {"max_steps": 12, "val_every": 6, "val_samples": 64, "learning_rate": 0.02}
    finished, _ = train_run(build_run(toy_decay.config(output, request.param, **settings)))
    assert finished
    return output / "run.ckpt", getattr(toy_decay, request.param)()


def truth(system):
    """A method that knows: it reads the samples' numbers from the drawn parameters."""

    def method(inputs):
        count = len(inputs["signal"])
        _, targets, _ = generated(system, samples=count, seed=0)
        return {name: targets[name] for name in system.quantities}

    return method


def test_a_run_logs_every_quantity_of_the_held_out_samples(run):
    lines = (run[0].parent / "metrics.jsonl").read_text().splitlines()
    held = [row for row in map(json.loads, lines) if "val/loss" in row]
    assert [row["step"] for row in held] == [5, 11]
    for row in held:
        terms = row["val/loss/T2"], row["val/loss/M0"]
        assert row["val/loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_the_model_is_the_network_in_batches_of_any_size(run):
    checkpoint, system = run
    model = load_model(checkpoint, trusted=["toy_decay"])
    assert isinstance(model, Model)
    inputs = compare(system, {"fit": log_linear}, samples=9, seed=1).inputs
    threads = torch.get_num_threads()
    whole = model(inputs)
    assert torch.get_num_threads() == threads
    with torch.no_grad():
        direct = model.net({"signal": torch.from_numpy(inputs["signal"])})
    assert set(whole) == {"T2", "M0"}
    for name, values in whole.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, direct[name], rtol=1e-5)
        np.testing.assert_allclose(model(inputs, batch_size=2)[name], values, rtol=1e-5)
    assert len(model({"signal": inputs["signal"][:0]})["T2"]) == 0
    with pytest.raises(ValueError, match="one number for all"):
        model({"a": np.zeros(3), "b": np.zeros(4)})


def test_everyone_sees_the_same_samples_however_they_are_made(monkeypatch):
    system = DecaySlices(snr=20.0)
    seen = {}

    def spy(name):
        def method(inputs):
            seen[name] = inputs["signal"]
            return log_linear(inputs)

        return method

    whole = compare(system, {"a": spy("a"), "b": spy("b")}, samples=7, seed=3, fewer={"b": 2})
    np.testing.assert_array_equal(seen["a"][:2], seen["b"])
    assert (whole.num_samples("a"), whole.num_samples("b")) == (7, 2)
    assert whole.mask is not None and not whole.bounds and len(whole) == 7
    monkeypatch.setitem(quantities.AT_ONCE, "slice", 3)
    parts = compare(system, {"a": log_linear}, samples=7, seed=3)
    np.testing.assert_array_equal(parts.truths["T2"], whole.truths["T2"])
    np.testing.assert_array_equal(parts.inputs["signal"], whole.inputs["signal"])
    other = compare(system, {"a": log_linear}, samples=7, seed=4)
    assert not np.array_equal(other.truths["T2"], whole.truths["T2"])


def test_the_truth_has_no_error_and_the_fit_reaches_the_bound():
    system = Decay(snr=400.0)
    comparison = compare(system, {"truth": truth(system), "fit": log_linear}, samples=3000, seed=0)
    rows = {(row["quantity"], row["method"]): row for row in scores(comparison)}
    assert rows["T2", "truth"]["rmse"] == rows["M0", "truth"]["rmse"] == 0
    assert rows["T2", "truth"]["r"] == pytest.approx(1)
    # Weighted log-linear least squares is efficient where noise is small against the signal.
    assert rows["M0", "fit"]["bound_ratio"] == pytest.approx(1, abs=0.06)
    assert rows["T2", "fit"]["bound_ratio"] == pytest.approx(1, abs=0.15)
    assert rows["T2", "fit"]["log_rmse"] == pytest.approx(rows["T2", BOUND]["log_rmse"], rel=0.15)


def test_a_shifted_test_is_one_on_another_system():
    errors = [
        scores(compare(dataclasses.replace(Decay(), snr=snr), {"fit": log_linear}, samples=500,
                       seed=0))[0]["log_rmse"]
        for snr in (200.0, 100.0)
    ]  # fmt: skip
    assert errors[1] == pytest.approx(2 * errors[0], rel=0.1)


def test_other_shapes_and_other_systems_are_refused():
    shapes = r"bad.T2.shape=\(5, 1\): \(5,\), the shape of the truth"
    with pytest.raises(ConfigError, match=shapes):
        compare(Decay(), {"bad": lambda i: {"T2": np.zeros((5, 1))}}, samples=5, seed=0)
    with pytest.raises(ConfigError, match="bad='T1': estimates of T2, M0"):
        compare(Decay(), {"bad": lambda i: {"T1": np.zeros(5)}}, samples=5, seed=0)

    class Bare(Decay):
        quantities = None

    with pytest.raises(ConfigError, match="a system with kind and quantities"):
        compare(Bare(), {"fit": log_linear}, samples=5, seed=0)


def test_classical_methods_are_those_of_the_system_and_of_the_configuration():
    assert baselines(Decay()) == {"log-linear fit": log_linear}
    node = {"_target_": "toy_decay.twice", "factor": 2.0}
    further = {"log-linear fit": None, "twice": node}
    (method,) = baselines(Decay(), further, ["toy_decay"]).values()
    inputs, _, _ = generated(Decay(), samples=3, seed=0)
    np.testing.assert_array_equal(method(inputs)["T2"], 2 * log_linear(inputs)["T2"])
    for trusted, refused, message in (
        ([], node, "a package listed under trusted"),
        (["toy_decay"], node | {"width": 3}, "width"),
        (["toy_decay"], {"_target_": "toy_decay.dataclass"}, "a package listed under trusted"),
        (["toy_decay"], {"_target_": "toy_decay.missing"}, "a name that exists"),
        (["toy_decay"], 3, "_target_"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            baselines(Decay(), {"mine": refused}, trusted)
        assert error.value.key.startswith("baselines.mine")


@pytest.mark.slow
def test_the_verb_leaves_a_report(run, capsys):
    checkpoint, system = run
    words = [f"checkpoint={checkpoint}", "trusted=[toy_decay]", "samples=40"]
    assert main(["evaluate", *words]) == 0
    text, messages = capsys.readouterr()
    assert "40 samples, 2 methods: about" in messages
    output = checkpoint.parent / "report"
    assert str(output / "report.html") in text
    assert (
        "T2: the network's log-RMSE" in text and "the best other method (log-linear fit, " in text
    )
    assert ("Cramer-Rao bound is" in text) == (system.kind == "voxel")
    results = json.loads((output / "results.json").read_text())
    methods = {(row["quantity"], row["method"]) for row in results["scores"]}
    assert {("T2", NETWORK), ("M0", "log-linear fit")} <= methods
    assert results["network_over"]["T2"]["log-linear fit"]["ratio"] > 1
    assert results["training_config"]["seed"] == 0
    found = parsed((output / "report.html").read_text())
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in found.sources)
    records = [json.loads(line) for line in (output / "samples.jsonl").read_text().splitlines()]
    assert len(records) == 40 and set(records[0]["errors"]) == {NETWORK, "log-linear fit"}
    names = {"T2_scatter", "T2_differences", "M0_scatter", "training"}
    names |= {"T2_error"} if system.kind == "voxel" else {"T2_median", "T2_largest"}
    for name in names:
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(output.glob(".*"))


@pytest.mark.slow
def test_the_table_and_the_page_go_to_the_logger_asked_for(run, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "ipads_stream.train.tracker.log_evaluation", lambda *given: calls.append(given)
    )
    words = [f"checkpoint={run[0]}", "trusted=[toy_decay]", "samples=4", f"output={tmp_path}"]
    assert main(["evaluate", *words, "logger=wandb", "logger.mode=disabled"]) == 0
    ((logger, _, output, rows, page),) = calls
    assert isinstance(logger, WandB) and output == tmp_path and page.is_file()
    assert {row["method"] for row in rows} >= {NETWORK, "log-linear fit"}


def settings_of(config, system=None):
    system = Decay() if system is None else system
    return Settings.of(config, task_of(system, config), system)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rates", [0.2]),
        ("schedules", 2),
        ("mode", "states"),
        ("variable", "x"),
        ("data", "nothing.nii.gz"),
        ("subset", "half"),
        ("samples", 1),
        ("samples", 2.5),
        ("seed", -1),
        ("methods", "all"),
        ("axis", [1.0]),
        ("axis_unit", "ms"),
    ],
)
def test_wrong_values_are_named(key, value):
    with pytest.raises(ConfigError) as error:
        settings_of({key: value})
    assert error.value.key == key


@pytest.mark.parametrize(("key", "value"), [("methods", "some"), ("axis", "1,2"), ("axis", 3)])
def test_wrong_values_of_images_are_named(key, value, tmp_path):
    (tmp_path / "x.npy").touch()
    with pytest.raises(ConfigError) as error:
        settings_of({"data": str(tmp_path / "x.npy"), key: value})
    assert error.value.key.partition("[")[0] == key


def test_samples_are_as_many_as_the_kind_allows():
    for subset in ("demo", "quick", "full"):
        voxels, slices = (
            settings_of({"subset": subset}, system).samples for system in (Decay(), DecaySlices())
        )
        assert voxels > slices >= 2


def test_a_slow_method_gets_fewer_samples_or_is_left_out(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(trials.time, "perf_counter", lambda: clock[0])

    def takes(seconds):
        def method(inputs):
            clock[0] += seconds * len(inputs["signal"])
            return {}

        return method

    def refuses(inputs):
        raise ValueError("it needs ten echoes")

    methods = {
        NETWORK: takes(1e-4), "slow": takes(0.1), "endless": takes(60), "choosy": refuses
    }  # fmt: skip
    inputs, _, _ = generated(Decay(), samples=64, seed=0)
    plan = affordable(methods, inputs, samples=1000, seconds=40.0)
    assert set(plan.methods) == {NETWORK, "slow"}
    assert plan.fewer == {"slow": pytest.approx(399, abs=1)}
    assert plan.seconds == pytest.approx(40, abs=0.2)
    assert plan.notes == [
        "choosy is left out: it needs ten echoes.",
        "endless is left out: 2 samples would take about 2 min; all methods have 40 s.",
    ]
    assert affordable(methods, inputs, samples=1000, times=4, seconds=40.0).fewer["slow"] == 99
    whole = affordable(methods, inputs, samples=1000, seconds=40.0, fewest=1000)
    assert set(whole.methods) == {NETWORK}
    with pytest.raises(ValueError, match="ten echoes"):
        affordable({NETWORK: refuses}, inputs, samples=10, seconds=1.0)


@pytest.fixture(scope="module")
def slices():
    return compare(DecaySlices(), {NETWORK: log_linear, "fit": log_linear}, samples=3, seed=0)


def test_pairs_are_the_values_that_count_in_the_unit(slices):
    x, y = figures.pairs(slices, "T2", "fit", most=None)
    assert len(x) == slices.mask.sum()
    np.testing.assert_allclose(sorted(set(x)), sorted({*(1e3 * slices.truths["T2"][slices.mask])}))
    assert np.median(y / x) == pytest.approx(1, abs=0.05)
    assert len(figures.pairs(slices, "T2", "fit", most=50)[0]) == 50


def test_the_network_has_its_colour_and_the_others_one_each():
    found = colours(["a", NETWORK, "b", "c"])
    assert found[NETWORK] == VERMILION
    assert len(set(found.values())) == 4


def test_pictures_of_odd_values(tmp_path, slices):
    """A method that found nothing, a constant truth, a volume, a parameter on the axis."""
    comparison = compare(
        Decay(),
        {NETWORK: lambda i: {"T2": np.full(len(i["signal"]), np.nan)}, "fit": log_linear},
        samples=60,
        seed=0,
    )
    for picture in (figures.scatter, figures.bland_altman):
        assert picture(comparison, "T2", tmp_path / "a.png").is_file()
    assert figures.error_against(comparison, "T2", "M0", tmp_path / "b.png").is_file()
    volume = np.stack([slices.truths["T2"]] * 4, axis=-1)
    flat = dataclasses.replace(
        slices,
        truths={"T2": np.ones_like(volume)},
        estimates={"fit": {"T2": volume}},
        mask=volume > 0,
        quantities={"T2": slices.quantities["T2"]},
    )
    assert figures.maps(flat, "T2", tmp_path / "c.png").is_file()
    assert figures.scatter(flat, "T2", tmp_path / "d.png").is_file()


def test_a_system_names_its_task():
    class Lost(Decay):
        task = "quantity"

    class Silent(Decay):
        task = property()

    with pytest.raises(ConfigError, match=r"system.task='quantity': one of quantities, signals"):
        task_of(Lost())
    with pytest.raises(ConfigError, match='toy names no task: add task = "'):
        task_of(Silent())
    with pytest.raises(ConfigError, match=r"rates=0.2: null: the task of toy, quantities, has"):
        task_of(Decay(), {"rates": 0.2, "mode": None})
