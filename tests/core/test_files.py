"""Plain JSON: what YAML calls .inf and .nan is there, and JavaScript's words are read as well."""

import json
import math

import pytest

from ipads_stream.core.files import from_json, json_text


def refuse(word):
    raise AssertionError(word)


def test_infinity_and_nan_come_back_from_plain_json():
    thing = {"a": [1, 2.5, math.inf, -math.inf], "b": {"c": None, "d": "text", "e": True}}
    text = json_text(thing, indent=1)
    assert json.loads(text, parse_constant=refuse)["a"][2:] == [".inf", "-.inf"]
    assert from_json(text) == thing
    assert math.isnan(from_json(json_text({"x": math.nan}))["x"])


def test_files_with_the_words_of_javascript_are_read():
    assert from_json('{"x": Infinity, "y": [-Infinity]}') == {"x": math.inf, "y": [-math.inf]}
    with pytest.raises(ValueError):
        from_json("{")
