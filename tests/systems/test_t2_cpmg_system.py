"""T2 of spin echoes with stimulated ones: signals, maps of B1, methods beside it, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform
from ipads_stream.physics.epg import cpmg


def params_of(count, **given):
    system = load_system("t2_cpmg", ["detection=real", "snr=1000"])
    params = system.draw(Keys(0, "cpmg", np.arange(count, dtype=np.uint64)), np.zeros(count))
    return system, params | {name: np.full(count, x) for name, x in given.items()}


def test_echoes_of_whole_refocusing_decay_and_others_are_of_each_spacing():
    system, params = params_of(40, refocusing=np.pi)
    mask = np.arange(32) < params["num_echoes"][:, None]
    TE = params["spacing"][:, None] * np.arange(1, 33)
    expected = 1000 * np.exp(-TE / params["T2"][:, None])
    np.testing.assert_allclose(system.forward(params)[mask], expected[mask], rtol=1e-9)
    system, params = params_of(40)
    found = system.forward(params)
    for voxel in range(0, 40, 7):
        T2, angle, spacing = (params[name][voxel] for name in ("T2", "refocusing", "spacing"))
        count = int(params["num_echoes"][voxel])
        # The kernel's excitation is half of the angle: here it is the M0 that is excited.
        alone = cpmg(spacing, count, 1.0, T2, angle / np.pi).real / np.sin(angle / 2)
        np.testing.assert_allclose(found[voxel, :count], 1000 * alone, rtol=1e-9)


def test_an_angle_and_what_it_lacks_of_a_turn_give_the_same_echoes():
    system, params = params_of(8, refocusing=np.radians(150))
    other = params | {"refocusing": np.full(8, np.radians(210))}
    np.testing.assert_allclose(system.forward(params), system.forward(other), rtol=1e-9)


def test_a_map_of_B1_is_one_more_measurement_of_the_angle():
    system = load_system("t2_cpmg")
    keys = Keys(0, "map", np.arange(4, dtype=np.uint64))
    sample = system.render(system.draw(keys, np.zeros(4)), keys, np)
    truth = {name: np.repeat(x[:, None], 3, axis=1) for name, x in sample.targets.items()}
    truth["refocusing"] = np.radians([[100.0, 144.0, 170.0]] * 4)
    mapped = system.with_B1(sample.inputs, np.array([0.8, 1.2, np.nan, 0.2]))
    gained = system.log_likelihood(mapped, truth) - system.log_likelihood(sample.inputs, truth)
    away = np.array([100.0, 144.0, 170.0]) / 180
    expected = [*[-0.5 * ((away - 0.8) / 0.05) ** 2] * 2, 0 * away,
                -0.5 * ((away - 0.5) / 0.05) ** 2]  # fmt: skip
    np.testing.assert_allclose(gained, expected, atol=2e-3)


def test_phase_graphs_find_the_T2_that_exponentials_miss():
    protocol = {"num_echoes": 12, "spacing": 0.01, "snr": 2000.0, "refocusing": np.radians(130)}
    base = load_system("t2_cpmg", ["snr.high=5000"])
    drawn = {name: Constant(value=x) for name, x in protocol.items()}
    system = dataclasses.replace(base, **drawn, T2=LogUniform(low=0.05, high=0.1))
    keys = Keys(0, "fit", np.arange(20, dtype=np.uint64))
    sample = system.render(system.draw(keys, np.zeros(20)), keys, np)
    methods, truth = classical_methods(base), sample.targets["T2"]
    inputs = {name: x[:, :12] for name, x in sample.inputs.items()}
    off = {name: np.log(methods[name](inputs)["T2"] / truth)
           for name in ("mono-exponential fit", "dictionary", "maximum likelihood")}  # fmt: skip
    assert np.median(off["mono-exponential fit"]) > 0.08
    assert abs(np.median(off["dictionary"])) < 0.02
    assert np.abs(off["maximum likelihood"]).max() < 0.02
    found = methods["dictionary"](inputs)
    assert np.degrees(np.median(found["refocusing"])) == pytest.approx(130, abs=2)
    assert np.median(found["snr"]) == pytest.approx(2000, rel=0.02)


def test_other_trains_are_refused():
    system, TE = load_system("t2_cpmg"), 0.01 * np.arange(1, 9)
    images = np.ones((2, 2, 8))
    assert system.measured(images, TE)["mask"].sum() == 32
    for axis, message in [
        (TE + 0.01, "first echo at 0.02 s and a spacing of 0.01 s.*t2_map"),
        (TE**2 / 0.01, "equally spaced"),
        (3 * TE, "range of the training"),
        (None, "EchoTime"),
    ]:
        with pytest.raises(ConfigError, match=message):
            system.measured(images, axis)
    with pytest.raises(ConfigError, match=r"first_echo.*null"):
        dataclasses.replace(system, first_echo=Constant(value=0.01))
    for words, message in [
        (["T1=0.2"], "T1=0.2.*at least half of T2"),
        (["refocusing.high=200"], "refocusing"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_system("t2_cpmg", words)
