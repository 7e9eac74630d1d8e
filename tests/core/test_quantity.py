"""Quantities: their scales, their units, and what is refused."""

import math

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity, quantities

T2 = Quantity(low=0.02, high=0.5, unit="ms", scale="log", bids="T2map")
CHI = Quantity(low=-0.1, high=0.3, unit="ppm")


@pytest.mark.parametrize("quantity", [T2, CHI])
def test_the_ends_are_minus_one_and_one_and_the_way_back_is_the_inverse(quantity):
    ends = np.array([quantity.low, quantity.high])
    np.testing.assert_allclose(quantity.normalized(ends), [-1, 1], atol=1e-12)
    z = np.linspace(-1.5, 1.5, 7)
    np.testing.assert_allclose(quantity.normalized(quantity.physical(z)), z, atol=1e-12)


def test_the_middle_is_the_mean_of_the_ends_on_the_scale():
    assert T2.physical(np.zeros(1))[0] == pytest.approx(math.sqrt(0.02 * 0.5))
    assert CHI.physical(np.zeros(1))[0] == pytest.approx(0.1)


def test_a_log_scale_makes_equal_ratios_equal_differences():
    z = T2.normalized(np.array([0.03, 0.06, 0.12, 0.24]))
    np.testing.assert_allclose(np.diff(z), 2 * math.log(2) / math.log(25))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_every_array_library_keeps_its_own_and_its_type(scale):
    quantity = Quantity(low=0.1, high=2.0, scale=scale)
    exact = quantity.normalized(np.array([0.2, 1.0]))
    for values in (torch.tensor([0.2, 1.0]), array_api_strict.asarray([0.2, 1.0])):
        found = quantity.normalized(values)
        assert type(found) is type(values) and found.dtype == values.dtype
        np.testing.assert_allclose(np.asarray(found), exact, rtol=1e-6)
        back = quantity.physical(found)
        assert back.dtype == values.dtype
        np.testing.assert_allclose(np.asarray(back), [0.2, 1.0], rtol=1e-6)


def test_torch_follows_both_ways():
    z = torch.tensor([0.1, -0.4], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: T2.normalized(T2.physical(x) * 1.1), z)
    (slope,) = torch.autograd.grad(T2.physical(z).sum(), z)
    np.testing.assert_allclose(slope, T2.physical(z.detach()) * 0.5 * math.log(25))


def test_yaml_is_in_the_unit_and_python_in_si():
    found = quantities({"T2": {"low": 20, "high": 500, "unit": "ms", "scale": "log"},
                        "MWF": {"low": 0, "high": 30, "unit": "%", "bids": "MWFmap"},
                        "chi": CHI})  # fmt: skip
    assert found["T2"] == Quantity(low=0.02, high=0.5, unit="ms", scale="log")
    assert found["MWF"] == Quantity(low=0.0, high=0.3, unit="%", bids="MWFmap")
    assert found["chi"] is CHI


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "outputs"),
        ([1], "outputs"),
        ({"T2": 3}, "T2"),
        ({"T2": {"low": 1}}, "T2.high"),
        ({"T2": {"low": 1, "high": "2"}}, "T2.high"),
        ({"T2": {"low": True, "high": 2}}, "T2.low"),
        ({"T2": {"low": 1, "high": 2, "units": "ms"}}, "T2.units"),
        ({"T2": {"low": 1, "high": 2, "unit": "msec"}}, "T2.unit"),
        ({"T2": {"low": 1, "high": 2, "scale": "ln"}}, "T2.scale"),
        ({"T2": {"low": 2, "high": 2}}, "T2.high"),
        ({"T2": {"low": 0, "high": 2, "scale": "log"}}, "T2.low"),
        ({"T2": {"low": 0, "high": math.inf}}, "T2.high"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given, key):
    with pytest.raises(ConfigError) as error:
        quantities(given)
    assert error.value.key == key
