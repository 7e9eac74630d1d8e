"""Which increments of a non-uniform recording were measured."""

import numpy as np
import pytest
from bruker_files import traces, write

from ipads_stream import load_system
from ipads_stream.__main__ import main
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core.random import Keys
from ipads_stream.data.planes.recording import UnusableData
from ipads_stream.data.planes.schedules import read_sparse

SAMPLED = np.flatnonzero(
    poisson_gap(Keys(0, "list", np.zeros(1, np.uint64))["mask"], 64, np.array([20]))[0]
)


def recorded(folder, listed=SAMPLED):
    """A Bruker folder with the increments of SAMPLED of 64 alone."""
    data = traces("states", 64, 256).reshape(64, 2, -1)[SAMPLED].reshape(40, -1)
    path = write(folder, data, "states", direct={"FnTYPE": 2}, rows=128)
    (path / "nuslist").write_text("".join(f"{x}\n" for x in listed))
    return path


def test_a_list_beside_the_data(tmp_path):
    found = read_sparse(recorded(tmp_path / "a"), None, None)
    assert found.points == 64
    assert np.array_equal(found.sampled, SAMPLED)
    assert (found.mode, found.source) == ("states", "nuslist")
    shuffled = recorded(tmp_path / "b", SAMPLED[::-1])
    assert np.array_equal(read_sparse(shuffled, None, None).sampled, SAMPLED)


def test_lists_that_do_not_belong_to_the_data(tmp_path):
    for listed, message in (
        (SAMPLED[:-3], "17 increments are listed, 20 of 64 were recorded"),
        ([0, 0, *SAMPLED[2:]], "twice"),
        (["0 1", "2 3"], "several columns"),
        (["x"], "not a list"),
        ([], "no increments"),
        ([-3], "no increments"),
    ):
        with pytest.raises(UnusableData, match=message):
            read_sparse(recorded(tmp_path / "a", listed), None, None)


def test_a_uniform_recording_has_none(tmp_path):
    assert (
        read_sparse(write(tmp_path / "a", traces("states", 16, 256), "states"), None, None) is None
    )


def test_points_rate_and_schedule_are_adopted(tmp_path, capsys):
    path = recorded(tmp_path / "a")
    words = [f"data={path}", f"output={tmp_path / 'conf'}", "name=mine", "system=dlnmr"]
    assert main(["adopt", *words]) == 0
    said = capsys.readouterr().out
    assert "20 increments in nuslist" in said
    assert "Lines and noise are those of the system" in said
    system = load_system("mine", conf=tmp_path / "conf")
    assert system.points == 64
    assert system.rate.support == pytest.approx((20 / 64, 20 / 64))
    assert system.schedule == "poisson_gap"
