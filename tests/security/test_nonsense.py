"""What no scanner and no sample can be: refused, or told where somebody may want it."""

from __future__ import annotations

import pytest

from ipads_stream import Frozen, load_system
from ipads_stream.core.errors import ConfigError

REFUSED = [
    ("dlnmr", "amplitude=0", "amplitude"),
    ("dlnmr", "amplitude=-1", "amplitude"),
    ("dlnmr", "decay=1e-3", "decay"),
    ("dlnmr", "dwell=0", "dwell"),
    ("dlnmr", "snr=0", "snr"),
    ("dlnmr", "rate=0", "rate"),
    ("dlnmr", "num_peaks=0", "num_peaks"),
    ("dhmf", "amplitude=0", "amplitude"),
    ("modern", "amplitude=0", "amplitude"),
    ("deepspio", "B0=1e18", "B0"),
    ("deepspio", "B0=0", "B0"),
    ("deepspio", "TE=100", "TE"),
    ("deepspio", "TE=0.9", "TE.*nothing is left"),
    ("deepspio", "T2s=1e9", "T2s"),
    ("deepspio", "flip=1e9", "flip"),
    ("deepspio", "chi_ppm=1e18", "chi_ppm"),
    ("deepspio", "relaxivity=1e18", "relaxivity"),
    ("deepspio", "spacing=[2,2,200]", "spacing"),
    ("deepspio", "time_bandwidth=1e9", "time_bandwidth"),
    ("anncest", "B0=1e18", "B0"),
    ("anncest", "powers=[1]", "powers"),
    ("anncest", "powers=[0]", "powers"),
    ("anncest", "PCr_ppm=1e9", "PCr_ppm"),
    ("anncest", "df_ppm=1e3", "df_ppm"),
    ("anncest", "T2=5", "T2.*at most 2 T1"),
    ("anncest", "B1=0", "B1"),
    ("ann_mwf", "first_echo=100", "first_echo.*gone"),
    ("ann_mwf", "T2_myelin=0", "T2_myelin"),
    ("ann_mwf", "MWF=2", "MWF"),
    ("ann_mwf", "dephasing=1e18", "dephasing"),
    ("ann_mwf_cpmg", "T1=1e-3", "T1"),
    ("ann_mwf_cpmg", "B1=1e9", "B1"),
    ("drone", "T1=0", "T1"),
    ("drone", "T2=9", "T2.*at most 2 T1"),
    ("drone", "B1=0", "B1"),
    ("drone", "schedule.TE=100", "TE"),
    ("drone", "schedule.TR=-1", "TR"),
    ("oled", "templates={_target_: ipads_stream.phantoms.textured_shapes.TexturedShapes, "
     "T1: 1, T2: 0.1, PD: 0, "
     "shapes: {_target_: ipads_stream.phantoms.RandomShapes}}", "PD"),
    ("oled", "sequence.flip=0", "flip"),
    ("oled", "sequence.centre_time=100.0", "nothing is left"),
    ("oled", "noise=1e9", "noise"),
    ("qsmnet", "chi_ppm=0", "chi_ppm"),
    ("qsmnet", "chi_ppm=1e18", "chi_ppm"),
    ("qsmnet", "spacing=[1,1,1e9]", "spacing"),
    ("qsmnet", "B0_direction=[0,0,0]", "B0_direction"),
    ("qsmnet_unrolled", "noise=1e9", "noise"),
    ("oled", "sequence.acceleration=1.5", "acceleration"),
    ("oled", "sequence.acceleration=3", "acceleration"),
    ("t2_map", "T2={_target_: ipads_stream.distributions.Uniform, low: 0.2, high: 0.4, unit: ms}",
     "first_echo.*nothing is left"),
    ("t2_map", "first_echo=100", "first_echo"),
    ("t2_map", "num_echoes=1", "num_echoes"),
    ("t2star_map", "first_echo=0", "first_echo"),
    ("t2star_map", "snr=0", "snr"),
    ("t1_map", "smallest_flip=1.2", "smallest_flip.*largest_flip"),
    ("t1_map", "B1=0", "B1"),
    ("t1_map", "TR=100", "TR"),
]  # fmt: skip


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
