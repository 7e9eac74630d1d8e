"""The parameters of dlnmr: drawn as ever, and made of any distributions."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from ipads_stream import Stream, load_system
from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys

D = "ipads_stream.distributions"
INDICES = np.arange(300, dtype=np.uint64)
KEYS = Keys(3, "train", INDICES)


def draws(system):
    return system.draw(KEYS, INDICES.astype(np.float64))


def test_every_parameter_is_the_quantile_of_its_own_uniform_number():
    """What a stream drew before parameters could depend on one another it draws still."""
    system = load_system("dlnmr")
    drawn = draws(system)
    per_peak = ("amplitude", "frequency", "phase", "decay")
    assert list(drawn) == ["num_peaks", *per_peak, "rate", "snr"]
    present = np.arange(10) < drawn["num_peaks"][:, None]
    for name, values in drawn.items():
        u = random.uniform(KEYS[name], (10,) if name in per_peak else ())
        expected = getattr(system, name).quantile(u)
        expected = expected * present if name == "amplitude" else expected
        assert np.array_equal(values, expected)
    assert drawn["num_peaks"].dtype == np.int64


def test_decays_may_depend_on_amplitudes():
    case = f"{{_target_: {D}.Uniform, low: 10, high: 20, unit: s}}"
    other = f"{{_target_: {D}.Uniform, low: 100, high: 150, unit: s}}"
    text = f"decay={{_target_: {D}.Conditional, given: amplitude, edges: [0.5],"
    text += f" cases: [{case}, {other}]}}"
    drawn = draws(load_system("dlnmr", [text]))
    present = drawn["amplitude"] > 0
    is_tall = drawn["amplitude"] >= 0.5
    assert np.all(drawn["decay"][present & is_tall] >= 100)
    assert np.all(drawn["decay"][present & ~is_tall] <= 20)
    plain = draws(load_system("dlnmr"))
    for name in ("num_peaks", "amplitude", "frequency", "phase", "rate", "snr"):
        assert np.array_equal(drawn[name], plain[name])


def test_several_parameters_share_one_schedule(tmp_path):
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "moving.yaml").write_text(
        textwrap.dedent(f"""
        # @package _global_
        defaults:
          - override /net: dlnmr
          - override /loss: deep_supervision
        system:
          _target_: ipads_stream.systems.dlnmr.DLNMR
          num_peaks: 3
          amplitude:
            _target_: {D}.Curriculum
            start: {{_target_: {D}.Uniform, low: 0.8, high: 1}}
            end: {{_target_: {D}.LogUniform, low: 0.05, high: 1}}
            schedule: {{_target_: {D}.LinearSchedule, begin: 100, end: 200}}
          decay:
            _target_: {D}.Curriculum
            start: 100
            end: {{_target_: {D}.Uniform, low: 10, high: 50, unit: s}}
            schedule: ${{system.amplitude.schedule}}
          frequency: {{_target_: {D}.Uniform, low: 0, high: 1, unit: Hz}}
          phase: 0
          rate: 0.25
        """).lstrip()
    )
    system = load_system("moving", conf=tmp_path)
    assert system.amplitude.schedule == system.decay.schedule
    drawn = draws(system)
    assert np.all(drawn["decay"][:101] == 100)
    assert np.all(drawn["decay"][200:] <= 50)
    assert np.all(drawn["amplitude"][:101] >= 0.8)
    assert drawn["amplitude"][200:].min() < 0.2
    later = load_system("moving", ["amplitude.schedule.end=250"], conf=tmp_path)
    assert later.decay.schedule.end == 250


def test_a_parameter_that_is_left_out_cannot_be_a_condition():
    text = f"rate={{_target_: {D}.Truncated, distribution: 0.3, below: snr}}"
    with pytest.raises(ConfigError, match=r"system\.rate\.below='snr': another parameter"):
        load_system("dlnmr", ["snr=null", text])


def test_absent_peaks_weigh_nothing():
    text = (
        f"amplitude={{_target_: {D}.Emphasized, edges: [0.5], shares: [0.9, 0.1], weighted: true,"
        f" distribution: {{_target_: {D}.Uniform, low: 0, high: 1}}}}"
    )
    sample = Stream(load_system("dlnmr", [text, "points=16"]), device="cpu").sample(range(500))
    present = np.arange(10) < sample.params["num_peaks"][:, None]
    ratio = np.where(sample.params["amplitude"] < 0.5, 0.5 / 0.9, 0.5 / 0.1)
    expected = np.where(present, ratio, 1).prod(axis=1)
    assert np.allclose(sample.weight.numpy(), expected, rtol=1e-6)
