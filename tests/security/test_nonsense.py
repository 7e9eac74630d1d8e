"""What no scanner and no sample can be: refused, or told where somebody may want it."""

from __future__ import annotations

import pytest

from ipads_stream import Frozen, load_system
from ipads_stream.core.errors import ConfigError

REFUSED = [
    ("dlnmr", "amplitude=0", "amplitude"),
    ("deepspio", "B0=1e18", "B0"),
    ("deepspio", "TE=100", "TE"),
    ("anncest", "B0=1e18", "B0"),
    ("oled", "sequence.acceleration=1.5", "acceleration"),
    ("oled", "sequence.acceleration=3", "acceleration"),
]


@pytest.mark.parametrize(("system", "word", "name"), REFUSED)
def test_nonsense_is_refused(system, word, name):
    with pytest.raises(ConfigError, match=name):
        load_system(system, [word])


def test_frequencies_that_cannot_be_told_apart_are_named():
    with pytest.warns(UserWarning, match=r"frequency: up to 40 Hz, above 1/dwell"):
        load_system("dlnmr", ["frequency.high=40"])


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "[]", "3", "{", '{"manifest_hash": 3}'], ids=range(5)
)
def test_a_manifest_of_somebody_else_is_one_line(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError) as error:
        Frozen(tmp_path)
    assert "\n" not in str(error.value)
