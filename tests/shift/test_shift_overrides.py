"""Nested and dotted YAML as overrides."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ipads_stream.config import compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.shift.reading import flat
from ipads_stream.shift.study import literal, merged


def test_nested_and_dotted_keys_are_the_same():
    nested = flat({"net": {"phases": 6, "growth": 4}, "seed": 3}, "arms.a")
    assert nested == {"net.phases": 6, "net.growth": 4, "seed": 3}
    assert nested == flat({"net.phases": 6, "net.growth": 4, "seed": 3}, "arms.a")


def test_a_class_and_what_stands_under_a_dotted_key_are_whole():
    uniform = {"_target_": "x.Uniform", "low": 1}
    assert flat({"system": {"amplitude": uniform}}, "a") == {"system.amplitude": uniform}
    assert flat({"trainer.target": {"rate": 0.1}}, "a") == {"trainer.target": {"rate": 0.1}}


@pytest.mark.parametrize("node", [[1], "dense", 3])
def test_what_is_no_mapping_is_refused(node):
    with pytest.raises(ConfigError, match=r"shift.arms.a=.*a mapping"):
        flat(node, "shift.arms.a")


def test_the_last_layer_decides():
    whole = {"_target_": "x.Uniform", "low": 1}
    assert merged([{"a.b": 1, "c": 2}, {"a.b": 3}]) == ["a.b=3", "c=2"]
    assert merged([{"system.rate.low": 1}, {"system.rate": whole}]) == [
        "system.rate={_target_:x.Uniform,low:1}"
    ]
    # A file is chosen by name; keys given before still hold.
    assert merged([{"trainer.max_steps": 5}, {"trainer": "meta"}]) == [
        "trainer.max_steps=5", "trainer=meta",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"system.rate.low=2: system.rate as a whole"):
        merged([{"system.rate": whole}, {"system.rate.low": 2}])


@pytest.mark.parametrize(
    "value",
    [None, True, 3, -0.5, 1e-7, float("inf"), "poisson_gap", "a b", "it's 5 %", "null", "\\",
     [1, "x", None], {"low": 1, "unit": "%", "of": [1, 2]}, ""],
)  # fmt: skip
def test_values_survive_the_grammar(value):
    override = OverridesParser.create().parse_override(f"key={literal(value)}")
    assert override.value() == value


def test_an_arm_composes_to_what_it_says():
    uniform = {"_target_": "ipads_stream.distributions.LogUniform", "low": 0.05, "high": 1}
    words = merged([{"net.phases": 3}, {"net": "modern", "system.amplitude": uniform}])
    config = compose(words)
    assert config["net"]["_target_"].endswith("MoDern") and config["net"]["phases"] == 3
    assert config["system"]["amplitude"] == uniform
