"""A line of known frequencies, written in every format and mode, comes out where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io

from ipads_stream.data.planes.plane import read_plane, restrict, rows_between, spectrum
from ipads_stream.data.planes.recording import MODES, Axis, Recipe, UnusableData

nmrglue = pytest.importorskip("nmrglue")
create_blank_udic = nmrglue.fileiobase.create_blank_udic

DIRECT = Axis("1H", 4000.0, 500e6, 7.5)
INDIRECT = Axis("15N", 2000.0, 50e6, 116.0)
NUM_T1, NUM_T2 = 64, 256
F1, F2 = 562.5, -1000.0  # Hz, on the grid of 64 and of 200 or 256 points
ALPHA, BETA = 0.6, -0.4  # rad, phases that the recipe must undo
PHASED = Recipe(phase=(ALPHA, BETA))


def traces(mode, t2_points=NUM_T2):
    """Interleaved t2 FIDs of one line at (F1, F2), straight from the definition of the mode."""
    t1, t2 = np.arange(NUM_T1)[:, None] / INDIRECT.width, np.arange(t2_points) / DIRECT.width
    detected = np.exp(2j * np.pi * F2 * t2 - t2 / 0.02 - 1j * ALPHA)
    angle, decay = 2 * np.pi * F1 * t1 - BETA, np.exp(-t1 / 0.01)
    if mode == "phase-modulated":
        return np.exp(1j * angle) * decay * detected
    parts = {"echo-antiecho": (np.exp(-1j * angle), np.exp(1j * angle))}.get(
        mode, (np.cos(angle), np.sin(angle))
    )
    if mode == "states-tppi":
        parts = [part * (-1.0) ** np.arange(NUM_T1)[:, None] for part in parts]
    return np.stack([part * decay * detected for part in parts], 1).reshape(-1, t2_points)


def write_nmrpipe(folder, mode, data=None, **header):
    data = traces(mode) if data is None else data
    universal = create_blank_udic(2)
    for entry, axis, size in zip(
        (universal[1], universal[0]), (DIRECT, INDIRECT), (1, 0), strict=True
    ):
        entry.update(size=data.shape[size], sw=axis.width, obs=axis.frequency / 1e6)
        entry.update(car=axis.centre_ppm * axis.frequency / 1e6, label=axis.nucleus, time=True)
        entry.update(freq=False, complex=True, encoding="states")
    if mode == "phase-modulated":
        universal[0].update(complex=False, encoding="magnitude")
    dic = nmrglue.pipe.create_dic(universal)
    dic["FDF1AQSIGN"] = 2.0 if mode == "states-tppi" else 0.0
    dic.update(header)
    path = folder / "plane.fid"
    nmrglue.pipe.write(str(path), dic, data.astype(np.complex64), overwrite=True)
    return path


def write_bruker(folder, mode, delay=0.0, t2_points=NUM_T2, big=False, **indirect):
    data = traces(mode, t2_points)
    if mode == "phase-modulated":  # the vendor's experiments record the echo
        t1 = np.arange(NUM_T1)[:, None] / INDIRECT.width
        data = data * np.exp(-2j * (2 * np.pi * F1 * t1 - BETA))
    spectra = np.fft.fft(data, axis=1)  # the digital filter delays the signal
    data = np.fft.ifft(spectra * np.exp(-2j * np.pi * np.fft.fftfreq(t2_points) * delay), axis=1)
    universal = create_blank_udic(2)
    universal[1].update(size=t2_points, complex=True)
    universal[0].update(size=len(data), complex=True)
    dic = nmrglue.bruker.create_dic(universal)
    dic["acqus"].update(TD=2 * t2_points, BYTORDA=int(big), DTYPA=0, SW_h=DIRECT.width)
    dic["acqus"].update(DECIM=1, DSPFVS=20, GRPDLY=delay or -1)
    code = {"phase-modulated": 1, "states": 4, "states-tppi": 5, "echo-antiecho": 6}[mode]
    for name, axis in (("acqus", DIRECT), ("acqu2s", INDIRECT)):
        offset = axis.centre_ppm * axis.frequency / 1e6
        dic[name].update(NUC1=axis.nucleus, BF1=axis.frequency / 1e6, O1=offset)
        dic[name].update(SFO1=(axis.frequency + offset) / 1e6)
    dic["acqu2s"].update(FnMODE=code, SW=INDIRECT.width / dic["acqu2s"]["SFO1"])
    dic["acqu2s"].update(indirect)
    padded = np.zeros((len(data), -(-t2_points // 128) * 128), complex)
    padded[:, :t2_points] = np.round(1e6 * data)
    path = folder / "experiment"
    nmrglue.bruker.write(
        str(path), dic, padded, big=big, write_prog=False, write_procs=False, overwrite=True
    )
    return path


def write_varian(folder, mode, **values):
    """As VnmrJ takes it: higher shifts at -f; its coefficients subtract the second of two FIDs."""
    data = traces(mode).conj()
    if mode != "phase-modulated":
        data[1::2] *= -1
    universal = create_blank_udic(2)
    universal[1].update(size=NUM_T2, complex=True)
    universal[0].update(size=len(data), complex=mode != "phase-modulated")
    dic = nmrglue.varian.create_dic(universal)
    dic.update(nblocks=len(data), ntraces=1)
    centre = [axis.centre_ppm * axis.frequency / 1e6 for axis in (DIRECT, INDIRECT)]
    entries = {"sw": 4000.0, "sfrq": 500.0, "tn": "H1", "rfl": 2000.0, "rfp": centre[0]}
    entries |= {"sw1": 2000.0, "dfrq": 50.0, "dn": "N15", "rfl1": 1000.0, "rfp1": centre[1]}
    if mode == "echo-antiecho":
        entries["f1coef"] = "1 0 -1 0 0 1 0 1"
    for name, value in (entries | values).items():
        values = value if isinstance(value, list) else [str(value)]
        parameter = nmrglue.varian.create_pdic_param(name, values)
        parameter["basictype"] = "2" if isinstance(value, str) else "1"
        dic["procpar"][name] = parameter
    path = folder / "experiment.fid"
    nmrglue.varian.write(str(path), dic, data.astype(np.complex64), overwrite=True)
    return path


def write_spinach(folder, mode):
    data = traces(mode)
    struct = {"pos": data[0::2].T, "neg": data[1::2].T}
    scipy.io.savemat(folder / "plane.mat", {"fid": struct})
    return folder / "plane.mat"


WRITERS = {"nmrpipe": write_nmrpipe, "bruker": write_bruker, "varian": write_varian}
RECORDED_MODES = [mode for mode in MODES if mode not in ("tppi", "qseq")]  # test_what_planes_seem
CASES = [(vendor, mode) for vendor in WRITERS for mode in RECORDED_MODES]
UNRECORDED = {("nmrpipe", "echo-antiecho"), ("varian", "states-tppi")}


def check_line(plane, is_phased=True):
    """The line is at (F2, F1), alone, and absorptive where the plane is phased."""
    shown = spectrum(plane)
    row, point = np.unravel_index(np.abs(shown).argmax(), shown.shape)
    rows, points = shown.shape
    assert plane.direct.ppm(rows)[row] == pytest.approx(7.5 + F2 / 500)
    assert plane.indirect.ppm(points)[point] == pytest.approx(116 + F1 / 50)
    assert plane.indirect.hertz(points)[point] == pytest.approx(F1)
    mirror = np.abs(shown)[:, (points - point) % points].max()
    assert mirror < 0.02 * np.abs(shown).max()  # no quadrature image at -F1
    assert plane.is_phased is is_phased
    if is_phased:
        assert shown[row, point].real > 0.99 * np.abs(shown[row, point])
        line = shown.real[row - 6 : row + 7, point]
        np.testing.assert_allclose(line, line[::-1], atol=0.02 * line.max())
        assert shown.real.min() > -0.05 * shown.real.max()


@pytest.mark.parametrize(("vendor", "mode"), CASES)
def test_line_in_every_vendor_and_mode(tmp_path, vendor, mode):
    recipe = replace(PHASED, mode=mode) if (vendor, mode) in UNRECORDED else PHASED
    path = WRITERS[vendor](tmp_path, mode)
    plane = read_plane(path, recipe)
    assert plane.mode == ("states" if (vendor, mode) == ("varian", "echo-antiecho") else mode)
    assert plane.fid.shape == (NUM_T2, NUM_T1) and plane.fid.dtype == np.complex64
    check_line(plane, is_phased=mode != "phase-modulated")
    check_line(read_plane(path, replace(recipe, phase=None)), is_phased=False)


@pytest.mark.parametrize("mode", RECORDED_MODES)
def test_reversed_data(tmp_path, mode):
    data = traces(mode)
    path = write_nmrpipe(tmp_path, mode, data.conj())
    # conjugation reverses t2, and t1 too where t1 is a phase: the echo becomes the anti-echo
    reverse = Recipe(mode=mode, phase=PHASED.phase, reverse_direct=True)
    check_line(read_plane(path, reverse), is_phased=mode != "phase-modulated")
    mirrored = read_plane(
        write_nmrpipe(tmp_path, mode), replace(PHASED, mode=mode, reverse_indirect=True)
    )
    shown = np.abs(spectrum(mirrored))
    point = shown.max(axis=0).argmax()
    assert mirrored.indirect.hertz(NUM_T1)[point] == pytest.approx(-F1)


def test_nmrpipe_tppi(tmp_path):
    k = np.arange(2 * NUM_T1)[:, None]
    t1, t2 = k / (2 * INDIRECT.width), np.arange(NUM_T2) / DIRECT.width
    data = np.cos(2 * np.pi * F1 * t1 + np.pi / 2 * k) * np.exp(-t1 / 0.01)
    data = data * np.exp(2j * np.pi * F2 * t2 - t2 / 0.02 - 1j * ALPHA)
    path = write_nmrpipe(tmp_path, "phase-modulated", data, FD2DPHASE=1.0)
    check_line(read_plane(path, Recipe(phase=(ALPHA, 0.0))))


def test_spinach_struct(tmp_path):
    recipe = replace(PHASED, direct=DIRECT, indirect=INDIRECT)
    check_line(read_plane(write_spinach(tmp_path, "echo-antiecho"), recipe))


@pytest.mark.parametrize(("delay", "t2_points", "big"), [(68, 256, True), (67.984, 200, False)])
def test_bruker_filter_padding_and_byte_order(tmp_path, delay, t2_points, big):
    path = write_bruker(tmp_path, "states", delay, t2_points, big)
    plane = read_plane(path, PHASED)
    assert plane.fid.shape == (t2_points, NUM_T1)
    check_line(plane)


def test_arrays_keep_rows_axes_and_name(tmp_path):
    rows = read_plane(write_nmrpipe(tmp_path, "states"), PHASED).fid
    axes = {"direct": [4000.0, 500e6, 7.5], "indirect": [2000.0, 50e6, 116.0]}
    np.save(tmp_path / "a.npy", rows)
    np.savez(tmp_path / "b.npz", rows=rows, **axes)
    scipy.io.savemat(tmp_path / "c.mat", {"rows": rows, "other": rows[:2]} | axes)
    bare = read_plane(tmp_path / "a.npy")
    np.testing.assert_array_equal(bare.fid, rows)
    assert np.isnan(bare.direct.ppm(4)).all() and bare.indirect.hertz(4).tolist()[0] == -0.5
    check_line(read_plane(tmp_path / "a.npy", Recipe((0.0, 0.0), None, DIRECT, INDIRECT)))
    check_line(read_plane(tmp_path / "b.npz"), is_phased=False)
    check_line(read_plane(tmp_path / "c.mat", variable="rows"), is_phased=False)


def test_spectrum_is_linear_and_checks_the_shape(tmp_path):
    plane = read_plane(write_nmrpipe(tmp_path, "states"))
    np.testing.assert_allclose(spectrum(plane, 2 * plane.fid), 2 * spectrum(plane), rtol=1e-6)
    assert spectrum(plane).dtype == np.complex64
    with pytest.raises(ValueError, match=r"allowed: \(256, 64\)"):
        spectrum(plane, plane.fid[:3])


def test_some_rows_keep_their_shifts(tmp_path):
    plane = read_plane(write_nmrpipe(tmp_path, "states"), PHASED)
    kept = restrict(plane, rows_between(plane, 4.0, 6.4))
    all_shifts = plane.direct.ppm(NUM_T2)
    expected = all_shifts[(all_shifts >= 4.0) & (all_shifts <= 6.4)]
    np.testing.assert_allclose(kept.direct.ppm(len(kept.fid)), expected, rtol=1e-12)
    check_line(kept)
    with pytest.raises(ValueError, match="holds 0 rows"):
        restrict(plane, rows_between(plane, 100.0, 200.0))


def refused(path, match, recipe=None, variable=None):
    with pytest.raises(UnusableData, match=match) as error:
        read_plane(path, recipe, variable)
    assert "\n" not in str(error.value) and path.name in str(error.value)


def test_refuses_missing_empty_and_unknown(tmp_path):
    refused(tmp_path / "nothing.fid", "no such file")
    (tmp_path / "empty.fid").touch()
    refused(tmp_path / "empty.fid", "empty")
    (tmp_path / "text.txt").write_text("x")
    refused(tmp_path / "text.txt", r"unknown suffix '.txt'; known: .fid")
    refused(tmp_path, "neither acqus nor procpar")
    (tmp_path / "ser").write_bytes(b"x")
    refused(tmp_path / "ser", "give the directory")
    for name in ("noise.fid", "noise.mat", "noise.npy", "noise.npz"):
        (tmp_path / name).write_bytes(b"not a format" * 400)
        refused(tmp_path / name, "not a readable")


def test_refuses_nmrpipe(tmp_path):
    one = create_blank_udic(1)
    one[0].update(size=64, complex=True, time=True, freq=False, obs=1.0, sw=1.0, car=0.0, label="H")
    dic = nmrglue.pipe.create_dic(one | {0: one[0] | {"encoding": "direct"}})
    nmrglue.pipe.write(str(tmp_path / "one.fid"), dic, np.ones(64, np.complex64))
    refused(tmp_path / "one.fid", "1D data")

    def write(**header):
        return write_nmrpipe(tmp_path, "states", **header)

    refused(write(FDDIMCOUNT=3.0), "3D data")
    refused(write(FDF1FTFLAG=1.0), "frequency domain")
    refused(write(FD2DPHASE=5.0), "unknown quadrature mode: FD2DPHASE 5.*with mode=")
    refused(write(FD2DPHASE=4.0), "pseudo-2D")
    refused(write(FDNUSDIM=1.0), "non-uniform")
    refused(write(FDF1AQSIGN=16.0), "unknown quadrature mode: .*AQSIGN 16")
    read_plane(write(FDF1AQSIGN=16.0), Recipe(mode="states-tppi"))
    refused(write(FDF1SW=0.0), "spectral width")
    path = write()
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "not a readable NMRPipe")
    refused(write_nmrpipe(tmp_path, "states", 0 * traces("states")), "all values are zero")
    refused(write_nmrpipe(tmp_path, "states", np.nan * traces("states")), "not finite")
    real = traces("states").real.astype(np.float32)
    header = {"FDF2QUADFLAG": 1.0, "FDQUADFLAG": 1.0}
    dic = nmrglue.pipe.read(str(write()))[0] | header
    nmrglue.pipe.write(str(tmp_path / "real.fid"), dic, real)
    refused(tmp_path / "real.fid", "real numbers only")


def test_refuses_bruker(tmp_path):
    refused(write_bruker(tmp_path, "states", FnMODE=0), "undefined")
    path = write_bruker(tmp_path, "states")
    (path / "nuslist").touch()
    refused(path, "nuslist: non-uniform")
    (path / "acqu3s").touch()
    refused(path, "3D data")
    (path / "acqu3s").unlink()
    (path / "ser").rename(path / "fid")
    refused(path, "1D data")
    (path / "nuslist").unlink()
    path = write_bruker(tmp_path, "states")
    parameters = (path / "acqus").read_text()
    (path / "acqus").write_text(parameters.replace("SW_h", "XX_h"))
    refused(path, "parameter 'SW_h' is missing")
    (path / "acqus").write_text(parameters)
    (path / "ser").write_bytes((path / "ser").read_bytes()[:-100])
    refused(path, "not whole traces")
    (tmp_path / "processed").mkdir()
    (tmp_path / "processed" / "2rr").touch()
    refused(tmp_path / "processed", "frequency domain")


def test_varian_phases_make_lines_absorptive(tmp_path):
    """rp and rp1 undo the phases that the traces have, in the sense that narrows the lines."""
    zero = [float(np.rad2deg(angle)) for angle in (ALPHA, BETA)]
    plane = read_plane(write_varian(tmp_path, "states", rp=zero[0], rp1=zero[1]))
    assert "phases are those of procpar" in " ".join(plane.notes)
    check_line(plane)
    astray = read_plane(write_varian(tmp_path, "states", rp=zero[0] + 80.0, rp1=zero[1]))
    assert "phases of procpar" in " ".join(astray.notes) and not astray.is_phased


@pytest.mark.parametrize(
    ("mode", "mirrored"),
    [("states", "1 0 0 0 0 0 1 0"), ("echo-antiecho", "1 0 -1 0 0 -1 0 -1")],
)
def test_coefficients_of_varian_say_the_direction(tmp_path, mode, mirrored):
    plane = read_plane(write_varian(tmp_path, mode))
    check_line(plane, is_phased=False)
    shown = np.abs(spectrum(read_plane(write_varian(tmp_path, mode, f1coef=mirrored))))
    points = shown.shape[1]
    there = (points - np.abs(spectrum(plane)).max(axis=0).argmax()) % points
    assert shown.max(axis=0).argmax() == there
    for unknown in ("", "1 0 0 1", "so many"):  # the macro takes those of States
        again = read_plane(write_varian(tmp_path, "states", f1coef=unknown))
        check_line(again, is_phased=False)


def test_varian_files_are_as_nmrglue_converts_them(tmp_path):
    """From NMRPipe's, whose sense is known, by another's converter, cosine and sine alternating."""
    dic, data = nmrglue.pipe.read(str(write_nmrpipe(tmp_path, "states")))
    converter = nmrglue.convert.converter()
    converter.from_pipe(dic, data)
    _, converted = converter.to_varian()
    path = write_varian(tmp_path, "states")
    read = nmrglue.varian.read(str(path), as_2d=True)[1]
    np.testing.assert_allclose(converted, read, atol=1e-5)


def test_refuses_varian(tmp_path):
    refused(write_varian(tmp_path, "states", ni2=8), "3D data")
    refused(write_varian(tmp_path, "states", ni=1), "1D data")
    refused(write_varian(tmp_path, "states", proc1="rft"), "unknown quadrature mode: .*TPPI")
    for phases in (["3"], ["1", "4"]):
        refused(write_varian(tmp_path, "states", phase=phases), "unknown quadrature mode: .*TPPI")
    refused(write_varian(tmp_path, "states", phase=["2", "1"]), "phase=2,1")
    refused(write_varian(tmp_path, "states", array="d2,tau"), "arrayed over 'd2,tau'")
    refused(write_varian(tmp_path, "states", array="gzlvl1", ni=1), "pseudo-2D data")
    refused(write_varian(tmp_path, "states", SPARSE="y"), "non-uniform")
    refused(write_varian(tmp_path, "states", sw1=0.0), "sw1 is missing")
    path = write_varian(tmp_path, "states")
    (path / "fid").write_bytes((path / "fid").read_bytes()[:-100])
    refused(path, "shorter than its header says")
    path = write_varian(tmp_path, "states")
    (path / "procpar").write_text("nonsense")
    refused(path, "not a readable Varian")


def test_refuses_arrays(tmp_path):
    good = np.ones((4, 8), complex)
    np.save(tmp_path / "a.npy", good.real)
    refused(tmp_path / "a.npy", "real numbers only")
    np.save(tmp_path / "a.npy", good[None])
    refused(tmp_path / "a.npy", "3D data")
    np.save(tmp_path / "a.npy", good[:, :0])
    refused(tmp_path / "a.npy", "no data points")
    np.savez(tmp_path / "b.npz", one=good, two=good)
    refused(tmp_path / "b.npz", r"no single complex array; .*\['one', 'two'\]")
    refused(tmp_path / "b.npz", "no variable 'three'", variable="three")
    np.savez(tmp_path / "c.npz", one=good, direct=[1.0])
    refused(tmp_path / "c.npz", "direct has shape")


def test_recipe_refuses_unknown_mode():
    with pytest.raises(ValueError, match="'dqd'; allowed: states"):
        Recipe(mode="dqd")


@pytest.mark.parametrize("shape", [(8, 2), (8, 3), (1, 16)])
def test_refuses_planes_that_are_too_small(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape, complex))
    refused(tmp_path / "a.npy", f"{shape[0]} direct by {shape[1]} indirect points; .* 2 by 4")
    data = traces("states")[:6]
    refused(write_nmrpipe(tmp_path, "states", data), "256 direct by 3 indirect points")


def test_refuses_text_and_strings(tmp_path):
    (tmp_path / "a.mat").write_text("1.0 2.0 3.0\n" * 40)
    refused(tmp_path / "a.mat", "not a readable .mat file")
    (tmp_path / "b.mat").write_text("x")
    refused(tmp_path / "b.mat", "not a readable .mat file")
    good = np.ones((4, 8), complex)
    np.savez(tmp_path / "c.npz", rows=good, direct=["4000", "5e8", "7.5"])
    refused(tmp_path / "c.npz", "direct has shape .* and type <U4; store the numbers width")


def test_mode_and_variable_are_refused_where_they_mean_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 8), complex))
    refused(tmp_path / "a.npy", "leave mode out", Recipe(mode="states"))
    refused(write_nmrpipe(tmp_path, "states"), "variable=rows: only .mat", variable="rows")
