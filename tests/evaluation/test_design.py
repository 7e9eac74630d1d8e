"""A protocol by the bound, against what is known in closed form and against other bounds."""

import math

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import brentq

from ipads_stream import load_system
from ipads_stream.__main__ import main
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.design import design, designed
from ipads_stream.evaluation.design.fingerprints import flip_trains
from ipads_stream.evaluation.design.problem import Asked
from ipads_stream.evaluation.design.relaxometry import echo_trains
from ipads_stream.evaluation.design.search import UNKNOWN, left, mean_square, search, voxels
from ipads_stream.physics.epg.fingerprint import relative_bound

ASKED = {
    "name": "mine", "output": None, "quantities": None, "budget": None, "count": None,
    "start": None, "limits": None, "prior": True, "voxels": 32, "starts": 2, "seed": 0,
}  # fmt: skip
UNIFORM = "_target_: ipads_stream.distributions.LogUniform"


def narrow(name, middle, unit="ms"):
    return f"{name}={{{UNIFORM}, low: {0.999 * middle}, high: {1.001 * middle}, unit: {unit}}}"


def test_two_echoes_lie_as_far_apart_as_in_closed_form():
    words = [narrow("T2", 50), "num_echoes.low=2", "num_echoes.high=2", "first_echo.low=0.5",
             "spacing.low=1", "spacing.high=300"]  # fmt: skip
    system = load_system("t2_map", words)
    found = designed(system, ASKED | {"prior": False, "budget": 1.0}).found
    # The variance of ln S_1 - ln S_2 over the square of its distance x T2: 1 + exp(2 x) over x^2.
    best = brentq(lambda x: x * math.exp(2 * x) - 1 - math.exp(2 * x), 0.5, 3)
    assert found.controls["spacing"][0] == pytest.approx(best * 0.05, rel=1e-3)
    assert found.controls["first_echo"][0] == pytest.approx(0.0005, rel=1e-3)  # the shortest
    assert found.agreeing == 2 and found.at_limits() == ["first_echo"]


def test_two_flip_angles_give_71_percent_of_the_ernst_signal():
    """Deoni, Rutt, Peters, Magnetic Resonance in Medicine 49, 515 (2003)."""
    fixed = ["B1.low=99.99", "B1.high=100.01", "num_flips.low=2", "num_flips.high=2",
             "TR.low=9.999", "TR.high=10.001"]  # fmt: skip
    system = load_system("t1_map", [narrow("T1", 1000), *fixed])
    limits = {"smallest_flip": [0.01, 0.1], "largest_flip": [0.15, 1.0]}
    found = designed(system, ASKED | {"prior": False, "limits": limits}).found

    E = math.exp(-0.01)  # TR / T1

    def signal(flip):
        return math.sin(flip) * (1 - E) / (1 - E * math.cos(flip))

    highest = signal(math.acos(E))
    for name in limits:
        assert signal(found.controls[name][0]) / highest == pytest.approx(0.71, abs=0.005)


@pytest.fixture(scope="module")
def short():
    return load_system("drone", ["schedule.num_frames=40"])


def test_the_bound_of_fingerprints_is_that_of_another_code(short):
    present, (problem,) = flip_trains(short, Asked(None, None, {}, {}))
    drawn = voxels(short, problem.unknown, 16, 0, "test")
    ours = left(present.signal, problem.unknown, drawn, UNKNOWN).numpy()
    tissue = {name: x.numpy() for name, x in drawn.params.items()}
    kept = {name: tissue[name] for name in ("T1", "T2", "B1")}
    relative = relative_bound(short.schedule.frames, short.unknown, short.orders, **kept)
    for i, name in enumerate(problem.unknown):
        expected = relative[name] / tissue["snr"] / drawn.spread[name]
        np.testing.assert_allclose(ours[:, i], expected, rtol=1e-3)


def test_gradients_come_through_the_simulator(short):
    _, (problem,) = flip_trains(short, Asked(None, None, {}, {}))
    drawn = voxels(short, problem.unknown, 8, 0, "test")
    start = torch.as_tensor(problem.controls["flip"].start)

    def square(flip):
        signal = left(lambda p: problem.signal(p, {"flip": flip}), problem.unknown, drawn, 1.0)
        return mean_square(signal, list(problem.unknown), ["T1", "T2"], drawn)

    flip = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(square(flip), flip)
    for knot in (0, 7, 19):
        step = torch.zeros_like(start)
        step[knot] = 1e-5
        numeric = float((square(start + step) - square(start - step)) / 2e-5)
        assert float(slope[knot]) == pytest.approx(numeric, rel=1e-4)


def test_frames_follow_from_the_budget(short):
    for budget, count in ((0.3, 20), (0.58, 40), (1.2, 84)):
        _, (problem,) = flip_trains(short, Asked(budget, None, {}, {}))
        assert len(problem.frames.flip) == count
        lasts = problem.duration({"flip": torch.zeros(1, dtype=torch.float64)})
        assert budget - 0.014 < float(lasts) <= budget * (1 + 1e-9)
    for budget in (0.03, 1e12):
        with pytest.raises(ConfigError, match="two to 10000 frames"):
            flip_trains(short, Asked(budget, None, {}, {}))
    with pytest.raises(ConfigError, match=r"count=50000: 2 to 10000 frames"):
        flip_trains(short, Asked(None, 50_000, {}, {}))
    for start, limits in (({"flip": 1}, {}), ({}, {"flip": [5, 60]}), ({}, {"TR": [1, 2]})):
        with pytest.raises(ConfigError, match=r"start|limits\."):
            flip_trains(short, Asked(None, None, start, limits))


def test_no_protocol_within_the_budget():
    system = load_system("t2_map", [])
    with pytest.raises(ConfigError, match=r"at least about 0\.015 s"):
        designed(system, ASKED | {"budget": 0.01})
    _, problems = echo_trains(system, Asked(None, 5, {}, {}))
    drawn = voxels(system, problems[0].unknown, 8, 0, "test")
    assert search(problems[0], drawn, ["T2"], 0.01, width=1.0, starts=1, seed=0) is None


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ({"quantities": ["T3"]}, "quantities"),
        ({"quantities": "T2"}, "quantities"),
        ({"quantities": []}, "quantities"),
        ({"budget": -1}, "budget"),
        ({"count": 99}, "count"),
        ({"count": 2.5}, "count"),
        ({"start": {"TE": 1}}, "start.TE"),
        ({"start": {"spacing": -1}}, "start.spacing"),
        ({"start": {"num_echoes": 7.5}}, "start.num_echoes"),
        ({"start": {"num_echoes": 2}}, "start.num_echoes"),
        ({"start": 3}, "start"),
        ({"limits": {"spacing": [2, 1]}}, "limits.spacing"),
        ({"limits": {"spacing": 1}}, "limits.spacing"),
        ({"limits": {"T2": [1, 2]}}, "limits.T2"),
        ({"limits": {"spacing": [0.01, 10]}}, "limits.spacing"),
        ({"limits": {"num_echoes": [4, 8]}}, "limits.num_echoes"),
        ({"limits": 0}, "limits"),
        ({"name": "t2_map"}, "name"),
        ({"name": "../x"}, "name"),
        ({"prior": 3}, "prior"),
        ({"voxels": 0}, "voxels"),
        ({"starts": 0}, "starts"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(words, key, tmp_path):
    config = ASKED | {"output": str(tmp_path / "new")} | words
    with pytest.raises(ConfigError) as error:
        design(load_system("t2_map", []), "t2_map", config, ["t2_map"], "")
    assert error.value.key == key
    assert not (tmp_path / "new").exists()


ONE = [f"{name}={{_target_: ipads_stream.distributions.Constant, value: {x}, unit: ms}}"
       for name, x in (("first_echo", 10), ("spacing", 8))]  # fmt: skip


def test_a_system_of_one_protocol_needs_limits():
    system = load_system("t2_map", ONE)
    with pytest.raises(ConfigError, match="one protocol alone") as error:
        designed(system, ASKED)
    assert error.value.key == "limits"
    asked = {"limits": {"spacing": [0.005, 0.02]}, "count": 6, "starts": 1, "budget": 0.2}
    outcome = designed(system, ASKED | asked)
    assert list(outcome.found.controls) == ["spacing"]
    assert outcome.there.duration == pytest.approx(0.01 + 5 * 0.008)


def test_what_there_is_may_lie_outside_of_the_limits():
    asked = {"start": {"spacing": 0.05, "first_echo": 0.05}, "count": 5, "starts": 1}
    outcome = designed(load_system("t2_map", []), ASKED | asked)
    assert outcome.there.duration == pytest.approx(0.25)
    np.testing.assert_allclose(outcome.there.curve.values, [50, 100, 150, 200, 250])
    assert outcome.found.controls["spacing"][0] <= 0.025
    wide = load_system("t2_map", ONE)  # nor are its numbers those that a system fixes
    asked = {"start": {"first_echo": 0.02}, "limits": {"spacing": [0.005, 0.02]}, "count": 5}
    assert designed(wide, ASKED | asked).there.duration == pytest.approx(0.02 + 4 * 0.008)


def test_a_system_without_a_protocol_is_refused():
    with pytest.raises(ConfigError, match="what may be chosen"):
        designed(load_system("dlnmr", []), ASKED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "words"),
    [("t2_map", ["count=6"]), ("t2star_map", []), ("t1_inversion", ["count=5"]),
     ("ann_mwf", ["budget=0.05"]), ("drone", ["count=60"]),
     ("ann_mwf_cpmg", ["budget=0.4", "limits={spacing: [0.008, 0.02]}"])],
)  # fmt: skip
def test_what_is_designed_trains(system, words, tmp_path, capsys):
    output = tmp_path / "out"
    quick = [f"output={output}", "starts=1", "voxels=16", "name=mine"]
    assert main(["design", f"system={system}", *quick, *words]) == 0
    assert "designed over now" in capsys.readouterr().out
    assert "data:image/png" in (output / "design.html").read_text()
    written = yaml.safe_load((output / "system" / "mine.yaml").read_text())["system"]
    if system == "drone":
        assert (output / "fingerprint.seq").is_file()
        assert len((output / "schedule.csv").read_text().splitlines()) == 61
        assert written["schedule"]["sha256"]
    run = [f"output={tmp_path / 'run'}", "trainer.max_steps=1", "trainer.val_every=0",
           "logger=none", "trainer.bar=false", "device=cpu"]  # fmt: skip
    assert main(["train", f"conf={output}", "system=mine", *run]) == 0
