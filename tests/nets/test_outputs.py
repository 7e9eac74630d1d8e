"""Outputs of networks are the quantities of their system."""

from __future__ import annotations

import pytest

from ipads_stream import load_system
from ipads_stream.config import build_run, compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import quantities
from ipads_stream.nets.outputs import filled_outputs

NET = {"_target_": "a.Net", "outputs": None}
SYSTEMS = (
    "ann_mwf",
    "ann_mwf_cpmg",
    "anncest",
    "deepspio",
    "drone",
    "oled",
    "qsmnet",
    "t1_inversion",
    "t1_map",
    "t2_cpmg",
    "t2_map",
    "t2star_map",
)


@pytest.mark.parametrize("name", SYSTEMS)
def test_networks_and_losses_have_the_ranges_of_their_system(name):
    run = build_run(compose([f"system={name}"]))
    asked = run.system.quantities
    for part in ("net", "loss"):
        if "outputs" not in run.config[part]:
            continue
        made = quantities(run.config[part]["outputs"])
        assert made.keys() == asked.keys()
        for key, quantity in made.items():
            assert (quantity.unit, quantity.scale, quantity.bids) == (
                asked[key].unit,
                asked[key].scale,
                asked[key].bids,
            )
            assert quantity.low == pytest.approx(asked[key].low, rel=1e-9)
            assert quantity.high == pytest.approx(asked[key].high, rel=1e-9)


def test_a_wider_distribution_reaches_the_scaling():
    run = build_run(compose(["system=drone", "system.T1.high=3500"]))
    assert run.build_net().perceptron.quantities["T1"].high == pytest.approx(3.5)
    assert run.build_loss().quantities["T1"].high == pytest.approx(3.5)
    assert run.config["net"]["outputs"]["T1"]["high"] == 3500.0  # in the run's folder, as written


def test_what_is_given_stays_and_the_system_gives_the_rest():
    drone = load_system("drone")
    given = {"T2": {"scale": "linear"}, "T1": {"low": 0.05, "high": 4, "unit": "s"}}
    outputs = filled_outputs({**NET, "outputs": given}, drone)["outputs"]
    assert list(outputs) == ["T2", "T1"]
    T2 = {"low": 20.0, "high": 500.0, "unit": "ms", "scale": "linear", "bids": "T2map"}
    assert outputs["T2"] == T2
    T1 = {"low": 0.05, "high": 4, "unit": "s", "scale": "log", "bids": "T1map"}
    assert outputs["T1"] == T1


def test_parts_of_a_loss_are_filled_too():
    loss = {"_target_": "a.Sum", "terms": [NET, {"weight": 2}], "norm": "l2"}
    made = filled_outputs(loss, load_system("oled"), "loss")
    assert list(made["terms"][0]["outputs"]) == ["T2"]
    assert (made["terms"][1], made["norm"]) == ({"weight": 2}, "l2")
    assert loss["terms"][0]["outputs"] is None  # the configuration given stays as it was


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"T1": {"high": 2000}}, r"^net.outputs.T1.high=2000: at least 3000 ms, the range of"),
        ({"T2": {"low": 0.03, "unit": "s"}}, r"^net.outputs.T2.low=0.03: at most 0.02 s"),
        ({"T3": {}}, r"^net.outputs.T3={}: a quantity of the system: T1, T2"),
        ({"T1": {"scale": "lin"}}, r"^net.outputs.T1.scale='lin'"),
        ({"T1": {"unit": "furlong"}}, r"^net.outputs.T1.unit='furlong'"),
    ],
)
def test_outputs_that_do_not_hold_the_system_are_refused(outputs, message):
    with pytest.raises(ConfigError, match=message):
        filled_outputs({**NET, "outputs": outputs}, load_system("drone"))


def test_a_system_without_quantities_gives_no_outputs():
    system = load_system("dlnmr")
    with pytest.raises(ConfigError, match=r"net.outputs=None: .* no quantities"):
        filled_outputs(NET, system)
    given = {**NET, "outputs": {"x": {"low": 0, "high": 1}}}
    assert filled_outputs(given, system) == given
