"""Arguments of ready sequences: refused by name where they are not what the annotations say."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from typing import get_type_hints

import pytest
import yaml

from ipads_stream.config import conf_dir
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences.epi_fingerprint import epi_fingerprint
from ipads_stream.sequences.fisp_fingerprint import fisp_fingerprint
from ipads_stream.sequences.gradient_echo import gradient_echo
from ipads_stream.sequences.moled import moled
from ipads_stream.sequences.multi_echo import multi_echo
from ipads_stream.sequences.spen import spen
from ipads_stream.sequences.spin_echo import spin_echo
from ipads_stream.sequences.spiral import spiral
from ipads_stream.sequences.tse import tse


def _ready():
    for path in sorted((conf_dir() / "sequence").glob("*.yaml")):
        module, _, name = yaml.safe_load(path.read_text())["_target_"].rpartition(".")
        yield getattr(importlib.import_module(module), name)


KINDS = {
    "int": [63.5, 64.0, True, "64", math.nan],
    "float": [math.nan, -math.inf, "1", True, [1.0]],
    "list[float]": [3.0, "1", [math.inf], ["a"]],
}
CASES = [
    (make, name, value)
    for make in _ready()
    for name, hint in get_type_hints(make).items()
    for value in KINDS.get(getattr(hint, "__name__", ""), KINDS.get(str(hint).split(" | ")[0], []))
]


def test_every_ready_sequence_is_covered():
    assert len({make for make, *_ in CASES}) == 14
    assert sum(name == "matrix" for _, name, _ in CASES) == 14 * len(KINDS["int"])
    assert any(name == "thickness" for _, name, _ in CASES)
    assert any(name == "flips" for _, name, _ in CASES)


@pytest.mark.parametrize(
    ("make", "name", "value"), CASES, ids=lambda part: getattr(part, "__name__", str(part))[:40]
)
def test_what_is_not_of_its_kind_is_refused_by_name(make, name, value):
    with pytest.raises(ConfigError) as refused:
        make(**{name: value})
    assert refused.value.key.partition("[")[0] == name
    assert any(
        kind in refused.value.allowed for kind in ("whole number", "finite number", "a list of")
    )


@pytest.mark.parametrize("make", list(_ready()), ids=lambda make: make.__name__)
def test_every_argument_is_described_once(make):
    lines = re.findall(r"^    ([\w, ]+):", make.__doc__.partition("Raises:")[0], re.MULTILINE)
    described = [name for line in lines for name in line.split(", ")]
    assert sorted(described) == sorted(inspect.signature(make).parameters)
    assert "ConfigError: a value that the scanner cannot play" in make.__doc__


@pytest.mark.slow
@pytest.mark.parametrize("make", list(_ready()), ids=lambda make: make.__name__)
@pytest.mark.parametrize("matrix", [0, -1, 10**9])
def test_what_is_too_large_is_refused_at_once(make, matrix):
    with pytest.raises(ConfigError) as refused:
        make(matrix=matrix)
    assert refused.value.key.startswith("matrix")


@pytest.mark.parametrize(
    ("make", "arguments", "key"),
    [
        (gradient_echo, {"num_dummies": 10**9}, "num_dummies"),
        (multi_echo, {"num_echoes": 10**6}, "matrix, num_echoes"),
        (spin_echo, {"refocusing": 0.0}, "refocusing"),
        (tse, {"ESP": 0.0}, "ESP"),
        (epi_fingerprint, {"TEs": [1e-9] * 25}, "TEs"),
        (fisp_fingerprint, {"flips": [-1.0]}, "flips"),
        (spiral, {"dwell": 1e-12}, "dwell"),
        (spiral, {"dwell": 1.0}, "dwell"),
        (spiral, {"matrix": 8, "num_interleaves": 100}, "num_interleaves"),
        (spen, {"fov": 1e-4}, "fov"),
        (spen, {"bandwidth": 0.0}, "bandwidth"),
        (spen, {"sweep": 1e6}, "sweep"),
        (spen, {"sweep": 1e-12}, "sweep"),
    ],
)
def test_the_argument_that_is_wrong_is_named(make, arguments, key):
    with pytest.raises(ConfigError) as refused:
        make(**arguments)
    assert refused.value.key == key


@pytest.mark.parametrize(("key", "value"), [("refocusing_time", 45e-3), ("centre_time", 60e-3)])
def test_moled_names_the_time_that_was_given_and_the_least_that_would_do(key, value):
    with pytest.raises(ConfigError) as refused:
        moled(**{key: value})
    assert refused.value.value == value
    assert value < float(refused.value.allowed.split()[2]) < value + 50e-3


@pytest.mark.parametrize("num_interleaves", [1, 48, 200])
def test_spirals_of_any_number_keep_the_limits(num_interleaves):
    spiral(matrix=64, num_interleaves=num_interleaves)
    frames = {"matrix": 64, "num_frames": 40, "TR": 0.1}
    fisp_fingerprint(num_interleaves=num_interleaves, **frames)


def test_echoes_at_one_place_need_no_moment():
    """Equal offsets: no gradient between the excitations."""
    assert moled(offsets_x=[0.0] * 4, offsets_y=[0.1] * 4).num_samples == 64 * 64
