"""What experiments/ does with every system of quantities: rows, README, rates."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from ipads_stream import ConfigError
from ipads_stream.config import build_run, compose

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def loaded(monkeypatch):
    """A file of experiments/ as a module, loaded as a script finds its neighbours."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"of_{name}", EXPERIMENTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def row(monkeypatch, tmp_path):
    """A system's file in a folder of its own, in place of experiments/systems."""
    asked = []
    module = ModuleType("systems.toy")

    def reproduce(budget, seeds, runs, results):
        asked.append((budget, seeds, runs, results))
        return {"budget": budget, "rmse": 1.5}

    module.reproduce = reproduce
    module.table = lambda result: f"| toy | {result['rmse']} |"
    module.headline = lambda result: f"{result['rmse']} here"
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems" / "toy.py").touch()
    (tmp_path / "results").mkdir()
    monkeypatch.setitem(sys.modules, "systems.toy", module)
    return tmp_path, asked


def test_a_system_is_reproduced_by_its_own_file(loaded, row, monkeypatch, capsys):
    folder, asked = row
    reproduce = loaded("reproduce")
    monkeypatch.setattr(reproduce, "__file__", str(folder / "reproduce.py"))
    monkeypatch.setattr(reproduce, "RESULTS", folder / "results")
    assert reproduce.main(["system=toy", "budget=full", "seeds=2"]) == 0
    assert asked == [("full", 2, reproduce.RUNS, folder / "results")]
    stored = json.loads((folder / "results" / "toy-full.json").read_text())
    assert stored == {"budget": "full", "rmse": 1.5}
    assert "| toy | 1.5 |" in capsys.readouterr().out
    assert reproduce.main(["system=toy"]) == 0
    assert asked[1][:2] == ("small", 3)
    for word, key in (("system=none", "system"), ("budget=demo", "budget"), ("row=x", "argument")):
        with pytest.raises(ConfigError) as error:
            reproduce.main(["system=toy", word])
        assert error.value.key == key


def test_pages_show_the_systems_that_have_a_result(loaded, row, monkeypatch):
    folder, _ = row
    tables, files = loaded("result_pages"), sys.modules["result_files"]
    monkeypatch.setattr(tables, "ROOT", folder)
    monkeypatch.setattr(files, "RESULTS", folder / "results")
    (folder / "experiments").mkdir()
    (folder / "systems").rename(folder / "experiments" / "systems")
    assert tables.quantity_results() == {}
    (folder / "results" / "toy-small.json").write_text(json.dumps({"rmse": 2.5}))
    published = {"toy": {"what": "RMSE", "literature": "9.9", "where": "nowhere"}}
    (folder / "experiments" / "targets.yaml").write_text(yaml.safe_dump(published))
    assert "| [`toy`](toy.md) | RMSE | 9.9 (nowhere) | 2.5 here |" in tables.headlines()
    (result,) = tables.quantity_results().values()
    assert tables.quantities("toy", result).endswith("\n| toy | 2.5 |\n")


ARMS = {
    "ann_mwf": lambda row: [("ann_mwf", ()), ("ann_mwf_cpmg", ())],
    "anncest": lambda row: row.RANGES,
    "deepspio": lambda row: row.ARMS,
    "drone": lambda row: row.ARMS,
    "oled": lambda row: row.ARMS,
    "qsmnet": lambda row: row.ARMS,
}


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["small", "full"])
@pytest.mark.parametrize("name", sorted(ARMS))
def test_both_budgets_of_every_arm_can_be_built(name, budget, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    monkeypatch.delitem(sys.modules, "systems", raising=False)
    row = importlib.import_module(f"systems.{name}")
    asked = []
    monkeypatch.setattr(row, "trained", lambda output, words: asked.append(words))
    monkeypatch.setattr(row, "load_model", lambda path: path)
    make = next(getattr(row, f) for f in ("_model", "_checkpoint", "checkpoint") if hasattr(row, f))
    for arm in ARMS[name](row):
        of, more = arm if isinstance(arm, tuple) else (arm, None)
        make(of, budget, 0, tmp_path, *([] if more is None else [more]))
    assert len(asked) == len(ARMS[name](row))
    for words in asked:
        config = compose(words)
        with torch.device("meta"):
            net = build_run(config).build_net()
        assert sum(parameter.numel() for parameter in net.parameters()) > 0


@pytest.mark.slow
def test_rates_are_measured_of_every_system_of_quantities(loaded, monkeypatch):
    rates = loaded("rates/systems")
    names = rates.names()
    assert "dlnmr" not in names and {"drone", "ann_mwf"} <= set(names)
    found = rates.measured("ann_mwf", 0.001, 2)
    assert found["samples_per_s_1_thread"] > 0
    assert 0 < found["share_of_generation"] < 1 and 0 <= found["stall"] <= 1
    assert found["draw_ms"] > 0 and found["render_ms"] > 0
    assert found["hand_over_ms"] >= 0  # what is left of a batch: none where the clock says so


def test_a_network_is_trained_once(loaded, monkeypatch, tmp_path):
    training = loaded("training")
    ran = []

    def run(built):
        ran.append(built)
        (tmp_path / "a" / "run.ckpt").parent.mkdir(exist_ok=True)
        (tmp_path / "a" / "run.ckpt").touch()
        return len(ran) > 1, tmp_path / "a"

    monkeypatch.setattr(training, "build_run", lambda config: config)
    monkeypatch.setattr(training, "train_run", run)
    words = ["trainer.max_steps=2", "seed=1"]
    with pytest.raises(KeyboardInterrupt):
        training.trained(tmp_path / "a", words)
    assert training.trained(tmp_path / "a", words) == tmp_path / "a" / "run.ckpt"
    assert [config["resume"] for config in ran] == [None, str(tmp_path / "a" / "run.ckpt")]
    assert ran[0]["overrides"] == ran[1]["overrides"]
    training.trained(tmp_path / "a", words)
    assert len(ran) == 2
    with pytest.raises(ConfigError, match="seed=1"):
        training.trained(tmp_path / "a", ["seed=2"])
