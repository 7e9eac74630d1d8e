"""The unit of a field map is read, told, and refused where it contradicts what is beside it."""

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.data.field_maps import ppm

MHZ = 123.2


@pytest.mark.parametrize(
    ("units", "number"),
    [
        ("ppm", 0.1),
        ("ppb", 100.0),
        ("Hz", 12.32),
        ("rad/s", 2 * np.pi * 12.32),
        ("T", 1e-7 * MHZ * 1e6 / GAMMA_BAR_1H),
        ("nT", 1e2 * MHZ * 1e6 / GAMMA_BAR_1H),
    ],
)
def test_every_unit_becomes_ppm(units, number):
    scale, how = ppm({"Units": units}, MHZ * 1e6, is_asked=False)
    assert number * scale == pytest.approx(0.1)
    assert f"in {units}, as Units in the sidecar says" in how
    if units not in ("ppm", "ppb"):
        assert "123.2 MHz, of ImagingFrequency" in how


def test_what_is_not_said_is_told():
    scale, how = ppm({}, None, is_asked=False)
    assert scale == 1 and "ppm, for want of Units" in how
    scale, how = ppm({}, 1e8, is_asked=True)
    assert scale == pytest.approx(0.01) and "Hz, as axis has its frequency" in how
    scale, how = ppm({"Units": "Hz", "MagneticFieldStrength": 3}, None, is_asked=False)
    assert scale == pytest.approx(1e6 / (3 * GAMMA_BAR_1H))
    assert "MagneticFieldStrength 3 T" in how
    assert ppm({"Units": ["Hz", "Hz"]}, 1e8, is_asked=False)[0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("sidecar", "frequency", "is_asked", "match"),
    [
        ({}, 1e8, False, "Units None"),  # any image of a scanner has its frequency
        ({"Units": "rad"}, 1e8, False, "Units 'rad'"),
        ({"Units": "arbitrary"}, None, False, "Units 'arbitrary'"),
        ({"Units": ["Hz", "ppm"]}, 1e8, False, "Units"),
        ({"Units": "Hz"}, None, False, "ImagingFrequency"),
        ({"Units": "Hz"}, 0.0, False, "above 0"),
        ({"Units": "Hz", "MagneticFieldStrength": 3}, 63.9e6, False, "63.9 MHz beside 3 T"),
        ({"Units": "Hz", "MagneticFieldStrength": 3}, 123.2e12, False, "agree"),
        ({"Units": "ppm"}, 1e8, True, "null"),
    ],
)
def test_contradictions_are_refused(sidecar, frequency, is_asked, match):
    with pytest.raises(ConfigError, match=match):
        ppm(sidecar, frequency, is_asked=is_asked)
