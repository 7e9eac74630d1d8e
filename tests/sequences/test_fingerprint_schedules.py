"""Schedules of fingerprinting, ready and read from files."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.io import savemat

from ipads_stream import ConfigError
from ipads_stream.config import instantiate
from ipads_stream.core.description import config_hash, describe
from ipads_stream.sequences.fingerprint_schedules import (
    ScheduleFile,
    SineLobes,
    VaryingEchoes,
    read_schedule,
)

FA, TR = [30.0, 60.0, 45.5], [14.5, 16.25, 15.0]


@pytest.fixture
def files(tmp_path):
    yaml, table, mat = (tmp_path / f"schedule.{kind}" for kind in ("yaml", "csv", "mat"))
    yaml.write_text(f"FA: {FA}\nTR: {TR}\nTE: 5\nPH: [0, 180, 0]\n")
    rows = zip(FA, [0, 180, 0], TR, strict=True)
    lines = [f"{a}, {p}, {t}, 5" for a, p, t in rows]
    table.write_text("\n".join(["FA, PH, TR, TE", *lines]) + "\n")
    column = {"FA": FA, "TR": TR, "TE": [5, 5, 5], "PH": [0, 180, 0]}
    kinds = {"FA": "f8", "TR": "f8", "TE": "u1", "PH": "u1"}
    savemat(mat, {name: np.array(x, kinds[name])[:, None] for name, x in column.items()})
    return yaml, table, mat


def test_all_kinds_of_file_give_the_same_frames_in_SI(files):
    for path in files:
        frames = ScheduleFile(path=str(path)).frames
        assert np.allclose(frames.flip, np.radians(FA), atol=1e-15)
        assert np.allclose(frames.phase, [0, math.pi, 0])
        assert np.allclose(frames.TR, [14.5e-3, 16.25e-3, 15e-3], atol=1e-15)
        assert np.allclose(frames.TE, 5e-3)
        assert (frames.TI, frames.spoiling) == (20e-3, "gradient")


def test_a_file_may_be_cut_and_lack_echo_times(files, tmp_path):
    assert len(ScheduleFile(path=str(files[0]), num_frames=2).frames.flip) == 2
    bare = tmp_path / "bare.csv"
    bare.write_text("FA,TR\n30,14\n40,14\n")
    assert np.allclose(ScheduleFile(path=str(bare), TE=3e-3).frames.TE, 3e-3)
    assert np.all(ScheduleFile(path=str(bare), TE=3e-3).frames.phase == 0)
    with pytest.raises(ConfigError, match="TE"):
        ScheduleFile(path=str(bare))
    with pytest.raises(ConfigError, match="num_frames=9"):
        ScheduleFile(path=str(bare), TE=3e-3, num_frames=9)


def test_a_file_is_known_by_its_content(files):
    schedule = ScheduleFile(path=str(files[1]))
    assert instantiate(describe(schedule)) == schedule
    before = config_hash(schedule)
    files[1].write_text(files[1].read_text().replace("30.0", "31.0"))
    assert config_hash(ScheduleFile(path=str(files[1]))) != before
    with pytest.raises(ConfigError, match="sha256"):
        instantiate(describe(schedule))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "FA,TE\n30,3\n", "no TR"),
        ("a.csv", "FA,TR,TE\n30,x,3\n", "numbers in the column TR"),
        ("a.yaml", "FA: [30, 40]\nTR: [14, 14, 14]\nTE: 3\n", "2 values in the column TR"),
        ("a.yaml", "- 1\n", "lists by name"),
        ("a.yaml", "FA: [\n", "YAML"),
        ("a.mat", "not a file of MATLAB", "MATLAB"),
        ("a.txt", "FA TR\n", "ends in"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_schedule(path)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"TE": 15e-3}, "TE"),
        ({"TR": float("nan")}, "TR"),
        ({"TI": -1.0}, "TI"),
        ({"spoiling": "none"}, "spoiling"),
        ({"num_frames": 0}, "num_frames"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_by_name(changed, key):
    with pytest.raises(ConfigError, match=f"^{key}="):
        SineLobes(**changed)


def test_a_missing_file_is_looked_for_below_the_data_folder(tmp_path, monkeypatch):
    (tmp_path / "few.csv").write_text("FA,TR,TE\n30,14,3\n")
    monkeypatch.setenv("IPADS_DATA", str(tmp_path))
    assert len(ScheduleFile(path="few.csv").frames.flip) == 1
    with pytest.raises(ConfigError, match="IPADS_DATA"):
        ScheduleFile(path="other.csv")


def test_the_ready_schedules(data_folder):
    assert len(SineLobes(num_frames=120).frames.flip) == 120
    epi = VaryingEchoes().frames
    assert len(epi.flip) == 25
    assert len(set(epi.TE.round(9))) == len(set(epi.TR.round(9))) == 25
    real = ScheduleFile(path=str(data_folder / "phantom" / "koma_MRFinput.mat"))
    assert len(real.frames.flip) == 1000
    assert np.degrees(real.frames.flip).max() == pytest.approx(80)
    assert set(np.degrees(real.frames.phase).round(9)) == {0, 180}
    assert 14.5e-3 < real.frames.TR.min() < real.frames.TR.max() < 18e-3
