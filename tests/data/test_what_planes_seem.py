"""A plane is uniform, complete and frequency-encoded along t1, or it is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from bruker_files import LINES, SW1, found, header, traces, write

from ipads_stream.data.planes.plane import read_plane, spectrum
from ipads_stream.data.planes.recording import Recipe, UnusableData, recipe_of
from ipads_stream.data.planes.resolved import tilted
from ipads_stream.train.measured_rows import measured_signals

POINTS = 256


def noisy(data, level=0.02):
    random = np.random.Generator(np.random.Philox(key=1))
    noise = random.standard_normal(data.shape) + 1j * random.standard_normal(data.shape)
    return data + level * noise


def check_lines(path, recipe=None, lines=LINES):
    plane = read_plane(path, recipe)
    shown = np.abs(spectrum(plane))
    for (f1, f2, _), place in zip(lines, found(plane, shown, lines), strict=True):
        assert place[0] == pytest.approx(f1, abs=1.5 * SW1 / plane.fid.shape[1])
        assert place[1] == pytest.approx(f2, abs=40)
    row = np.abs(plane.direct.hertz(len(shown)) - lines[0][1]).argmin()
    line = shown[row]
    mirror = np.abs(plane.indirect.hertz(line.size) + lines[0][0]).argmin()
    assert line[mirror - 1 : mirror + 2].max() < 0.05 * line.max()
    return plane


def refused(path, match, recipe=None):
    with pytest.raises(UnusableData, match=match):
        read_plane(path, recipe)


# Non-uniform sampling


@pytest.mark.parametrize("mode", ["states", "echo-antiecho", "qf"])
def test_zeros_in_place_of_increments_are_not_data(tmp_path, mode):
    data = noisy(traces(mode, 64, POINTS))
    kept = np.sort(np.random.Generator(np.random.Philox(key=2)).permutation(64)[:20])
    parts = len(data) // 64
    is_kept = np.repeat(np.isin(np.arange(64), kept), parts)
    refused(write(tmp_path / "a", data * is_kept[:, None], mode), "20 of 64 .*non-uniform")


def test_zeros_in_array_files_are_not_data_either(tmp_path):
    fid = read_plane(write(tmp_path / "a", noisy(traces("states", 64, POINTS)), "states")).fid
    mask = np.arange(64) % 3 == 0
    np.save(tmp_path / "columns.npy", fid * mask)
    refused(tmp_path / "columns.npy", "non-uniform")
    scattered = np.random.Generator(np.random.Philox(key=3)).random(fid.shape) < 0.3
    np.save(tmp_path / "scattered.npy", fid * scattered)
    refused(tmp_path / "scattered.npy", "non-uniform")


@pytest.mark.parametrize(
    ("direct", "rows"),
    [
        ({"FnTYPE": 2, "NusAMOUNT": 25}, 128),
        ({"FnTYPE": 2}, None),
        ({"NusAMOUNT": 25}, 128),
    ],
)
def test_bruker_says_that_a_recording_is_non_uniform(tmp_path, direct, rows):
    data = noisy(traces("states", 16, POINTS))
    refused(write(tmp_path / "a", data, "states", direct=direct, rows=rows), "non-uniform")


def test_the_amount_that_uniform_recordings_name_too_is_no_sign(tmp_path):
    data = noisy(traces("states", 64, POINTS))
    direct = {"FnTYPE": 0, "NusAMOUNT": 25}
    check_lines(write(tmp_path / "a", data, "states", direct=direct))


# Pseudo-2D


@pytest.mark.parametrize("name", ["vdlist", "vclist", "vplist", "difflist", "lists/vd/mine"])
@pytest.mark.parametrize("mode", ["qf", "pseudo-2d"])
def test_lists_make_pseudo_2d_data(tmp_path, name, mode):
    path = write(tmp_path / "a", noisy(traces(mode, 32, POINTS)), mode)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("0.01\n0.1\n1\n")
    refused(path, f"pseudo-2D.*{name.split('/')[0]}", Recipe(mode="phase-modulated"))


@pytest.mark.parametrize("mode", ["qf", "states", "echo-antiecho"])
def test_what_has_no_frequency_is_pseudo_2d_without_a_list(tmp_path, mode):
    data = noisy(traces("pseudo-2d", 32, POINTS))
    refused(write(tmp_path / "a", data, mode), "pseudo-2D")
    np.save(tmp_path / "rows.npy", np.fft.fft(data, axis=1).T)
    refused(tmp_path / "rows.npy", "pseudo-2D")
    with pytest.raises(UnusableData, match="pseudo-2D"):
        measured_signals(str(tmp_path / "rows.npy"))


def test_undefined_quadrature_names_the_ways_out(tmp_path):
    path = write(tmp_path / "a", noisy(traces("states", 32, POINTS)), "pseudo-2d")
    refused(path, "undefined.*mode=")
    check_lines(path, Recipe(mode="states"))


# Stopped acquisitions


@pytest.mark.parametrize("mode", ["states", "states-tppi", "echo-antiecho"])
def test_a_stopped_acquisition_is_as_long_as_what_was_recorded(tmp_path, mode):
    data = noisy(traces(mode, 128, POINTS))
    data[101:] = 0
    plane = check_lines(write(tmp_path / "a", data, mode))
    assert plane.fid.shape == (POINTS, 50)
    assert any("101 of 256" in note for note in plane.notes)
    shorter = check_lines(write(tmp_path / "b", data[:101], mode, rows=256))
    np.testing.assert_array_equal(shorter.fid, plane.fid)
    assert any("101 of 256" in note for note in shorter.notes)


def test_zero_filled_rows_of_an_array_are_truncated(tmp_path):
    fid = read_plane(write(tmp_path / "a", noisy(traces("states", 64, POINTS)), "states")).fid
    np.save(tmp_path / "rows.npy", np.pad(fid, ((0, 0), (0, 64))))
    plane = read_plane(tmp_path / "rows.npy")
    np.testing.assert_array_equal(plane.fid, fid)
    assert any("64 of 128" in note for note in plane.notes)


def test_an_odd_trace_is_dropped_with_a_word(tmp_path):
    data = noisy(traces("states", 64, POINTS))
    plane = check_lines(write(tmp_path / "a", data[:-1], "states"))
    assert plane.fid.shape == (POINTS, 63)
    assert any("odd" in note for note in plane.notes)
    assert check_lines(write(tmp_path / "b", data, "states")).notes == ()


# Layout of ser


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("increments", "points"), [(64, 200), (128, 100), (32, 320), (64, 37)])
def test_traces_are_where_they_were_written(tmp_path, double, padded, increments, points):
    """64 traces of 400 numbers fill whole blocks of 1024 bytes, as padded ones do."""
    data = noisy(traces("states", increments, points))
    path = write(tmp_path / "a", data, "states", double=double, padded=padded)
    plane = read_plane(path)
    expected = read_plane(write(tmp_path / "b", data, "states", double=True, padded=True))
    assert plane.fid.shape == expected.fid.shape
    np.testing.assert_allclose(plane.fid, expected.fid, atol=1e-4 * abs(expected.fid).max())


@pytest.mark.parametrize(
    ("direct", "indirect"),
    [
        ({"BF1": 0}, {}), ({"TD": "<many>"}, {}), ({"TD": 0}, {}), ({"DTYPA": 1}, {}),
        ({"FnTYPE": "<odd>"}, {}), ({"NusAMOUNT": "<odd>"}, {}), ({}, {"TD": -4}),
        ({}, {"FnMODE": "<odd>"}), ({}, {"SW": "<odd>"}), ({}, {"SFO1": 0}),
    ],
)  # fmt: skip
def test_parameters_that_are_no_such_numbers_are_refused(tmp_path, direct, indirect):
    data = noisy(traces("states", 16, POINTS))
    refused(write(tmp_path / "a", data, "states", direct=direct, indirect=indirect), str(tmp_path))


# Quadrature along t1


@pytest.mark.parametrize("mode", ["tppi", "qseq"])
def test_real_quadrature(tmp_path, mode):
    data = noisy(traces(mode, 256, POINTS))
    plane = check_lines(write(tmp_path / "a", data, mode))
    assert plane.mode == mode and plane.fid.shape == (POINTS, 128)
    phased = read_plane(write(tmp_path / "b", data, mode), Recipe(phase=(0.0, 0.0)))
    shown = spectrum(phased).real
    assert phased.is_phased and shown.min() > -0.06 * shown.max()
    turned = read_plane(write(tmp_path / "c", data, mode), Recipe(reverse_indirect=True))
    places = found(turned, np.abs(spectrum(turned)))
    assert [f1 for f1, _ in places] == pytest.approx([-f1 for f1, *_ in LINES], abs=60)
    assert read_plane(write(tmp_path / "d", data[:-1], mode)).fid.shape == (POINTS, 127)


# Direction of the indirect axis


def diagonal(crossing=(-700.0, 1500.0)):
    """A COSY: two spins, their diagonal and cross peaks."""
    a, b = crossing
    return ((a, a, 1.0), (b, b, 0.8), (a, b, 0.1), (b, a, 0.1))


def slope(plane):
    """+1 where the diagonal runs from low to low, -1 where it is mirrored."""
    shown = np.abs(spectrum(plane))
    places = found(plane, shown, diagonal()[:2])
    return np.sign((places[1][0] - places[0][0]) / (places[1][1] - places[0][1]))


@pytest.mark.parametrize("program", ["<cosygpqf>", "<cosyqf>", "<mine>"])
@pytest.mark.parametrize("mode", ["qf", "qf-p"])
def test_the_diagonal_of_a_cosy_runs_upwards(tmp_path, program, mode):
    data = noisy(traces(mode, 128, POINTS, diagonal()))
    plane = read_plane(write(tmp_path / "a", data, mode, direct={"PULPROG": program}))
    assert slope(plane) == 1
    assert any("reverse_indirect" in note for note in plane.notes)
    turned = read_plane(tmp_path / "a", Recipe(reverse_indirect=True))
    assert slope(turned) == -1


@pytest.mark.parametrize("program", ["<hmbcgplpndqf>", "<mine>"])
def test_phase_modulated_bruker_data_are_echoes(tmp_path, program):
    other = {"NUC1": "<13C>", "BF1": 125.0, "SFO1": 125.0, "SW": SW1 / 125.0}
    data = noisy(traces("qf", 128, POINTS))
    path = write(tmp_path / "a", data, "qf", direct={"PULPROG": program}, indirect=other)
    check_lines(path)
    antiecho = noisy(traces("qf-p", 128, POINTS))
    path = write(tmp_path / "b", antiecho, "qf-p", direct={"PULPROG": program}, indirect=other)
    check_lines(path, Recipe(reverse_indirect=True))


def test_couplings_of_a_j_resolved_plane_are_hertz_about_zero(tmp_path):
    pairs = tuple((s * 40.0, f + s * 40.0, 1.0) for f in (-900.0, 300.0, 1200.0) for s in (-1, 1))
    data = noisy(traces("qf-p", 128, POINTS * 4, pairs))
    path = write(tmp_path / "a", data, "qf-p", direct={"PULPROG": "<jresgpprqf>"})
    plane = read_plane(path)
    shown = np.abs(spectrum(plane))
    for (f1, f2, _), place in zip(pairs, found(plane, shown, pairs), strict=True):
        assert place == (pytest.approx(f1, abs=32), pytest.approx(f2, abs=8))
    assert np.isnan(plane.indirect.frequency) and plane.indirect.centre_ppm == 0
    assert plane.indirect.nucleus == "J"
    assert "tilted" in " ".join(plane.notes)
    f2, upright = plane.direct.hertz(len(shown)), tilted(plane, shown)
    f1 = plane.indirect.hertz(shown.shape[1])
    for coupling, line, _ in pairs:  # both lines of a doublet lie at its shift
        column = np.abs(f1 - coupling).argmin()
        near = np.abs(f2 - (line - coupling)) < 60
        assert f2[near][upright[near, column].argmax()] == pytest.approx(line - coupling, abs=16)
    shifted = replace(plane, indirect=plane.direct)
    np.testing.assert_array_equal(tilted(shifted, shown), shown)


def test_a_bell_takes_the_tails_of_tall_peaks_away(tmp_path):
    """500 Hz beside a line the dispersive tail is a hundredth of what a cosine leaves."""
    line = ((500.0, 700.0, 1.0),)
    path = write(tmp_path / "a", traces("qf", 128, POINTS * 4, line), "qf")
    tails = {}
    for window in ("cosine", "bell"):
        plane = read_plane(path, recipe_of(path, t2_window=window))
        shown = np.abs(spectrum(plane)).max(axis=1)
        away = np.abs(plane.direct.hertz(len(shown)) - 700.0) > 500
        tails[window] = shown[away].max() / shown.max()
    assert tails["bell"] < 0.01 * tails["cosine"]
    np.save(tmp_path / "rows.npy", read_plane(path).fid)
    with pytest.raises(UnusableData, match="t2_window=bell"):
        read_plane(tmp_path / "rows.npy", recipe_of(path, t2_window="bell"))


# Phases


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("mode", ["states", "echo-antiecho", "tppi"])
def test_signs_are_kept_by_the_phases_of_the_spectrometer(tmp_path, mode, sense):
    """An edited experiment: the second line is negative. Programs differ in the sense of phases."""
    edited = (LINES[0], (-1300.0, 1500.0, -0.7), LINES[2])
    data = noisy(traces(mode, 128, POINTS, edited, phase=0.9))
    path = write(tmp_path / "a", data, mode)
    (path / "pdata" / "1").mkdir(parents=True)
    header(path / "pdata" / "1" / "procs", {"PHC0": sense * np.rad2deg(-0.9), "PHC1": 0})
    header(path / "pdata" / "1" / "proc2s", {"PHC0": 0, "PHC1": 0})
    plane = read_plane(path)
    assert plane.is_phased and any("pdata/1" in note for note in plane.notes)
    shown = spectrum(plane)
    heights = []
    for _, f2, _ in edited:
        row = np.abs(plane.direct.hertz(len(shown)) - f2).argmin()
        part = shown[row - 2 : row + 3].real
        heights.append(part.flat[np.abs(part).argmax()])
    assert np.sign(heights).tolist() in ([1, -1, 1], [-1, 1, -1])


def test_phases_that_do_not_fit_leave_magnitudes(tmp_path):
    path = write(tmp_path / "a", noisy(traces("states", 64, POINTS, phase=0.9)), "states")
    (path / "pdata" / "1").mkdir(parents=True)
    for procs, proc2s in (((200.0, 0), (0, 0)), ((np.rad2deg(-0.9), 0), (90, -180))):
        for name, (zero, first) in (("procs", procs), ("proc2s", proc2s)):
            header(path / "pdata" / "1" / name, {"PHC0": zero, "PHC1": first})
        plane = read_plane(path)
        assert not plane.is_phased and any("magnitudes" in note for note in plane.notes)
