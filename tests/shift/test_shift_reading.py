"""Studies out of YAML: the shipped ones, and those that are refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from ipads_stream.config import build_run, compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.statistics import ANY_SEED
from ipads_stream.shift.study import Task

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "conf" / "shift").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_composes_and_all_its_parts_can_be_built(name):
    study = read_study(compose([f"shift={name}"], name="shift"))
    for test in study.tests:
        assert study.test_system(test).name
    for arm in study.arms:
        run = build_run(study.training(Task(arm, 3)) | {"output": "x"})
        assert run.config["seed"] == 3
        run.build_net(), run.build_loss()
        after = study.starts.get(arm)
        steps = run.trainer.max_steps
        assert steps == study.steps or after or "transfer" in str(run.config["trainer"])
    assert study.tasks()[-1] == Task(list(study.arms)[-1], study.seeds[-1])


def test_the_arms_of_fig4_differ_in_what_they_say_alone():
    study = read_study(compose(["shift=fig4"], name="shift"))
    dense, other = (study.training(Task(arm, 0)) for arm in ("dense", "log-uniform"))
    assert dense["system"]["amplitude"] != other["system"]["amplitude"]
    other["system"]["amplitude"] = dense["system"]["amplitude"]
    assert dense | {"overrides": []} == other | {"overrides": []}


@pytest.mark.slow
def test_a_folder_changes_with_what_decides_the_outcome_and_with_nothing_else():
    config = compose(["shift=tiny"], name="shift")

    def folder(**changes):
        changed = copy.deepcopy(config)
        changed["shift"] |= changes
        study = read_study(changed)
        return study.folder(Task("uniform", 0))

    before = folder()
    assert folder(title="Another", samples=7, metrics=["rlne"]).name == before.name
    assert folder(steps=21).name != before.name
    changed = copy.deepcopy(config["shift"]["common"]) | {"net": {"phases": 3}}
    assert folder(common=changed).name != before.name
    study, other = read_study(config), read_study(config | {"device": "auto", "output": "x"})
    task = Task("uniform", 0)
    assert study.folder(task).name == other.folder(task).name
    assert study.folder(Task("uniform", 1)).name != before.name
    few = copy.deepcopy(config)
    few["shift"]["samples"] = 7
    one, two = (read_study(c).scores_file(task, "uniform", "I") for c in (config, few))
    assert one.parent == two.parent and one.name != two.name


def test_a_sweep_changes_the_training_and_not_the_tests():
    plain = compose(["shift=tiny"], name="shift")
    swept = compose(["shift=tiny", "+vary.system.rate=0.5"], name="shift")
    one, two = read_study(plain), read_study(swept)
    assert two.training(Task("uniform", 0))["system"]["rate"] == 0.5
    assert one.test_system("I") == two.test_system("I")
    assert one.folder(Task("uniform", 0)) != two.folder(Task("uniform", 0))


def test_methods_have_no_seed():
    study = read_study(compose(["shift=tiny"], name="shift"))
    assert study.tasks()[0] == Task("IST", ANY_SEED) and len(study.tasks()) == 5


def _set(path, value):
    def change(node):
        *parents, last = path
        for key in parents:
            node = node[key]
        node[last] = value

    return change


REFUSED = [
    (_set(["arms"], {}), r"shift\.arms=\{\}"),
    (_set(["arms", "uniform"], [1]), r"shift\.arms\.uniform="),
    (_set(["arms", "a/b"], {}), r"'a/b'"),
    (_set(["arms", "IST"], {}), r"names that differ"),
    (_set(["tests"], None), r"shift\.tests=None"),
    (_set(["seeds"], []), r"shift\.seeds=\[\]"),
    (_set(["seeds"], [0, 0]), r"shift\.seeds=\[0, 0\]"),
    (_set(["seeds"], [0.5]), r"shift\.seeds"),
    (_set(["steps"], 0), r"shift\.steps=0"),
    (_set(["samples"], "many"), r"shift\.samples='many'"),
    (_set(["level"], 1.0), r"shift\.level=1\.0: .* below 1"),
    (_set(["metrics"], ["mse"]), r"shift\.metrics='mse'.*low, high, rlne, r"),
    (_set(["reference"], "nobody"), r"shift\.reference='nobody'"),
    (_set(["methods"], {"magic": None}), r"shift\.methods\.magic"),
    (_set(["methods"], {"IST": 0}), r"shift\.methods\.IST=0"),
    (_set(["after"], {"x": {"arm": "nobody", "solver": "low-rank"}}), r"after\.x\.arm='nobody'"),
    (_set(["after"], {"x": {"arm": "uniform", "solver": "y"}}), r"after\.x\.solver='y'"),
    (_set(["after"], {"x": {"arm": "uniform", "steps": 0}}), r"after\.x\.steps=0"),
    (_set(["after"], {"x": {"arm": "uniform", "stepz": 1}}), r"after\.x\.stepz=1"),
    (_set(["measured"], {"names": ["nobody"]}), r"measured\.names='nobody'"),
    (_set(["measured"], {"names": [], "rates": [25]}), r"measured\.rates\[0\]=25"),
    (_set(["arms", "log-uniform", "start"], "nobody"), r"log-uniform\.start='nobody'"),
    (_set(["series"], {"label": "n", "lines": {"a": {1: "nobody"}}}), r"lines\.a\.1='nobody'"),
    (_set(["colour"], "red"), r"shift\.colour='red': no such key"),
]


@pytest.mark.parametrize("change, message", REFUSED, ids=[message for _, message in REFUSED])
def test_a_study_that_cannot_be_run_is_refused_by_its_key(change, message):
    config = compose(["shift=tiny"], name="shift")
    change(config["shift"])
    with pytest.raises(ConfigError, match=message):
        read_study(config).check()


def test_a_refused_override_names_the_arm_or_the_test():
    config = compose(["shift=tiny"], name="shift")
    config["shift"]["arms"]["uniform"] = {"net.nothing": 1}
    config["shift"]["tests"]["I"] = {"system.amplitude.low": 3}
    study = read_study(config)
    with pytest.raises(ConfigError, match=r"shift\.arms\.uniform\.net\.nothing"):
        study.training(Task("uniform", 0))
    with pytest.raises(ConfigError, match=r"shift\.tests\.I\.system\.amplitude"):
        study.test_system("I")


def test_the_sweep_file_asks_for_what_exists():
    sweep = yaml.safe_load((ROOT / "experiments" / "shift_sweep.yaml").read_text())
    assert (ROOT / sweep["program"]).is_file()
    values = {
        name: values.get("value", (values.get("values") or [values.get("min")])[0])
        for name, values in sweep["parameters"].items()
    }
    words = [f"{name}={value}" for name, value in values.items()]  # as ${args_no_hyphens} does
    study = read_study(compose(words, name="shift"))
    task = Task(values["arm"], values["seed"])
    assert study.training(task)["trainer"]["learning_rate"] == 1e-3
    assert sweep["metric"]["name"] == "objective"
