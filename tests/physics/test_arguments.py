"""What arguments of simulators may be: ranges, shapes, libraries, and where values are read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream.physics import arguments
from ipads_stream.physics.arguments import RANGES, Range, check_values, leading_array


@pytest.mark.parametrize(
    ("limits", "allowed", "good", "bad"),
    [
        (Range(), "a finite number", [-1e9, 0, 3], [math.inf, math.nan]),
        (Range(noun="time in s", low=0.0), "a finite time in s from 0 on", [0, 1], [-1e-9]),
        (RANGES["T1"], "a positive time in s", [1e-9, math.inf], [0, -1, math.nan]),
        (RANGES["B0"], "a finite positive field in T", [3], [0, math.inf]),
        (RANGES["Mz0"], "a finite number from -1 to 1", [-1, 1], [1.1, math.nan]),
    ],
)
def test_ranges_say_what_they_check(limits, allowed, good, bad):
    assert limits.allowed == allowed
    limits("x", np.array(good, float))
    for value in bad:
        with pytest.raises(ValueError, match=rf"^x={float(value)}: {allowed} is allowed$"):
            limits("x", np.array([*good, value], float))


def test_complex_numbers_are_taken_by_their_modulus():
    RANGES["amplitude"]("b", np.array([6e-4 + 7e-4j]))
    with pytest.raises(ValueError, match="b="):
        RANGES["amplitude"]("b", np.array([8e-4 + 8e-4j]))


def test_an_empty_array_has_no_wrong_value():
    check_values({"T1": np.zeros(0), "T2": np.zeros(0)})


def test_values_are_read_where_torch_shows_them():
    wrong = torch.tensor([0.1, -1.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"T1=-1.0: a positive time"):
        check_values({"T1": wrong})
    torch.vmap(lambda x: check_values({"T1": x}) or x)(wrong)  # hidden: not looked at


def test_T2_is_at_most_twice_T1_of_its_pool():
    with pytest.raises(ValueError, match=r"pools\[1\].T2=3.0: at most 2 T1 = 2.0 s"):
        check_values({"pools[0].T1": 2.0, "pools[0].T2": 3.0, "pools[1].T1": 1.0,
                      "pools[1].T2": np.array([0.1, 3.0])})  # fmt: skip
    check_values({"T1": 1.0, "T2": math.inf})  # transverse relaxation is left out


def test_the_leading_array_has_library_and_precision_of_the_named():
    single = torch.ones(2, dtype=torch.float32)
    like = leading_array({"T1": single, "T2": 0.1}, {"flip": np.ones(3)})
    assert like.dtype == torch.float32 and tuple(like.shape) == (0,)
    assert leading_array({"T1": 1, "T2": np.ones(2, int)}).dtype == np.float64
    assert leading_array({"T1": 1.0}, {"flip": single}).dtype == torch.float32
    for wrong in (None, [1.0], 1j, np.ones(2, bool), np.ones(2, "f2")):
        with pytest.raises(TypeError, match="T1"):
            leading_array({"T1": wrong})
    with pytest.raises(TypeError, match="T1: torch; T2: NumPy"):
        leading_array({"T1": single, "T2": np.ones(2)})


def test_shapes_are_named():
    with pytest.raises(ValueError, match=r"dt: shape \(2,\); \(\) or \(3,\) is allowed for 3 st"):
        arguments.check_shape("dt", np.ones(2), (), (3,), note=" for 3 steps")
    with pytest.raises(ValueError, match=r"a \(2,\), b \(3,\): these shapes do not fit together"):
        arguments.common_shape({"a": np.ones(2), "b": np.ones(3)})
