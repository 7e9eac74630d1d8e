"""Rules of fields: what passes, what is refused by name, and in which form it is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import (
    COUNTS,
    Choice,
    Direction,
    Flag,
    Instance,
    Names,
    Number,
    Numbers,
    Whole,
    check,
    choice,
    instance,
    number,
    ruled,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int = whole(3, low=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Shot:
    TE: float = number(above=0.0)
    data: str = choice("complex", among=("complex", "magnitude"))
    B0_direction: tuple = ruled(Direction(), (0, 0, 1))
    part: Part | None = instance(Part, None, optional=True)

    def __post_init__(self) -> None:
        check(self)


def test_values_are_kept_in_the_form_of_their_rule():
    shot = Shot(TE=2, B0_direction=[1, 0, 0], part=Part())
    assert shot.TE == 2 and isinstance(shot.TE, int)
    assert shot.B0_direction == (1.0, 0.0, 0.0)
    assert COUNTS("widths", np.array([3, 4])) == (3, 4)
    assert Numbers(count=2, convert=float)("x", [1, 2]) == (1.0, 2.0)
    assert Flag()("x", np.True_) is True
    assert Number(infinite=True)("x", math.inf) == math.inf
    assert Whole(optional=True)("x", None) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"TE": 0.0}, r"^TE=0.0: a finite number, above 0$"),
        ({"TE": True}, r"^TE=True"),
        ({"TE": math.nan}, r"^TE=nan"),
        ({"TE": 1, "data": "phase"}, r"^data='phase': one of complex, magnitude$"),
        ({"TE": 1, "B0_direction": [0, 0, 0]}, r"^B0_direction=\[0, 0, 0\]: a direction"),
        ({"TE": 1, "B0_direction": [0, 1]}, r"^B0_direction=\[0, 1\]: a list of 3 numbers$"),
        ({"TE": 1, "part": 3}, r"^part=3: .*test_fields\.Part, or null$"),
    ],
)
def test_a_field_is_refused_by_its_name(values, message):
    with pytest.raises(ConfigError, match=message):
        Shot(**values)


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (Whole(low=1, odd=True), 4, r"^x=4: an odd whole number, at least 1$"),
        (Whole(low=1, odd=True), 2.0, r"^x=2.0: an odd whole number"),
        (Whole(high=3), 4, r"at most 3$"),
        (Number(below=1.0), 1, r"below 1$"),
        (Numbers(each=Whole(low=1)), [1, 0], r"^x\[1\]=0: a whole number, at least 1$"),
        (Numbers(), [], r"^x=\[\]: a list of numbers$"),
        (Numbers(), "12", r"^x='12'"),
        (Names(what="quantities"), ["T1", 3], r"a list of quantities$"),
        (Choice(among=("a",), optional=True), 1, r"one of a, or null$"),
        (Flag(), 1, r"true or false$"),
        (Instance(of=(int, str), allowed="a word"), 2.0, r"^x=2.0: a word$"),
    ],
)
def test_a_rule_serves_by_itself(rule, value, message):
    with pytest.raises(ConfigError, match=message):
        rule("x", value)


def test_odd_numbers_pass():
    assert Whole(low=1, odd=True)("kernel", 5) == 5
