"""Low peaks are counted apart from the diagonal and the ridges that hide what becomes of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_report import Idle, config_of, patience, run  # noqa: F401
from test_synthetic import small_system

import ipads_stream.evaluation.tasks as settings
import ipads_stream.evaluation.tasks.signals as signal_task
from ipads_stream.core.errors import ConfigError
from ipads_stream.data.planes.plane import Axis, Plane, spectrum
from ipads_stream.evaluation.evaluate import evaluate
from ipads_stream.evaluation.metrics import peak_correlation, rlne
from ipads_stream.evaluation.tasks import task_of
from ipads_stream.evaluation.tasks.signals.heights import (
    clear_peaks,
    heights,
    over_schedules,
    shown,
)
from ipads_stream.evaluation.tasks.signals.pictures import LINES, SPARSE
from ipads_stream.evaluation.tasks.signals.planes import measured_test
from ipads_stream.report.signals import plane_slice

ROWS, POINTS = 128, 64
AXIS = Axis("1H", 4000.0, 500e6, 5.0)
SHIFTS = (-1500.0, -500.0, 750.0, 1250.0)  # Hz, on the grid of both axes
LOW = [(a, b, 0.008 + 0.002 * n) for n, (a, b) in enumerate([(0, 1), (0, 2), (1, 3), (2, 3)])]


def cosy(cross=1.0, ridge=0.0):
    """Four diagonal peaks of height 1, eight cross peaks near 1 %, a ridge of t1 noise."""
    t1, t2 = np.arange(POINTS) / AXIS.width, np.arange(ROWS) / AXIS.width
    pairs = [(f, f, 1.0) for f in SHIFTS]
    pairs += [(SHIFTS[a], SHIFTS[b], cross * h) for a, b, h in LOW]
    pairs += [(SHIFTS[b], SHIFTS[a], cross * h) for a, b, h in LOW]
    window, last = (np.cos(np.pi / 2 * np.arange(n) / n) ** 4 for n in (ROWS, POINTS))
    window[0], last[0] = 0.5, 0.5  # half of the first interval lies before zero: no pedestal
    fid = np.zeros((ROWS, POINTS), complex)
    for f2, f1, height in pairs:
        along = np.fft.fftshift(np.fft.fft(np.exp(2j * np.pi * f2 * t2) * window)) / window.sum()
        fid += height * along[:, None] * np.exp((2j * np.pi * f1 - 20) * t1)
    random = np.random.Generator(np.random.Philox(key=5))
    noise = random.standard_normal((ROWS, POINTS)) + 1j * random.standard_normal((ROWS, POINTS))
    strength = np.full((ROWS, 1), 2e-5)
    strength[np.argmin(np.abs(AXIS.hertz(ROWS) - SHIFTS[3]))] += ridge
    return Plane("cosy", fid + strength * noise, AXIS, AXIS, "phase-modulated", last, False)


def places(plane):
    peaks = clear_peaks(plane, shown(plane, plane.fid))
    f2, f1 = plane.direct.hertz(ROWS), plane.indirect.hertz(POINTS)
    return sorted((float(f2[row]), float(f1[point])) for row, point in peaks)


def test_slices_of_a_plane_without_a_positive_point_are_drawn(tmp_path):
    fid = np.zeros((ROWS, POINTS), complex)
    fid[:, 0] = -1.0  # a spectrum of one negative height
    plane = replace(cosy(), fid=fid, is_phased=True)
    picture = plane_slice(plane, {"IST": fid}, tmp_path / "slices.png", colour={"IST": "k"})
    assert picture.is_file()


CROSS = sorted((SHIFTS[a], SHIFTS[b]) for x, y, _ in LOW for a, b in ((x, y), (y, x)))


def test_the_diagonal_does_not_count():
    assert places(cosy()) == CROSS
    other = replace(cosy(), indirect=replace(AXIS, nucleus="13C"))
    assert set(places(other)) == {*CROSS, *((f, f) for f in SHIFTS)}


def test_what_stands_in_a_ridge_does_not_count():
    expected = [place for place in CROSS if place[0] != SHIFTS[3]]
    assert places(cosy(ridge=3e-2)) == expected


def test_lost_peaks_are_lost_though_error_and_correlation_are_not():
    """A diagonal alone looks perfect by everything but the cross peaks."""
    plane = cosy()
    full, estimate = spectrum(plane), spectrum(plane, cosy(cross=0.0).fid)
    assert rlne(estimate, full) < 0.02 and peak_correlation(estimate, full)[0] > 0.999
    true = shown(plane, plane.fid)
    peaks = clear_peaks(plane, true)
    rows = heights(peaks, shown(plane, cosy(cross=0.0).fid), true, true.max())
    assert sum(row["peaks"] for row in rows) == 8
    assert all(row["lost"] == 1 and row["kept"] < 0.3 for row in rows)
    kept = heights(peaks, shown(plane, cosy(cross=0.7).fid), true, true.max())
    assert all(row["lost"] == row["raised"] == 0 for row in kept)
    assert [row["kept"] for row in kept] == pytest.approx([0.7] * len(kept), abs=0.05)


def test_artefacts_do_not_find_peaks():
    plane = cosy()
    true = shown(plane, plane.fid)
    mask = np.random.Generator(np.random.Philox(key=6)).random(POINTS) < 0.3
    rows = heights(clear_peaks(plane, true), shown(plane, plane.fid * mask), true, true.max())
    assert rows and all(row["raised"] > 0.7 for row in rows)


def test_classes_part_at_their_bounds():
    full = np.array([[1.0, 0.3, 0.2999, 0.01, 0.0099]])
    peaks = np.array([[0, point] for point in range(5)])
    rows = heights(peaks, full * 0.4, full, 1.0)
    assert [(row["height"], row["peaks"]) for row in rows] == [
        ("30 to 100 %", 2), ("10 to 30 %", 1), ("1 to 3 %", 1), ("0.3 to 1 %", 1),
    ]  # fmt: skip
    assert all(row["lost"] == 1 for row in rows)


def test_schedules_are_averaged():
    rows = [
        {
            "rate": 0.5,
            "method": name,
            "height": height,
            "peaks": 4,
            "lost": lost,
            "raised": 0.0,
            "kept": 1.0,
        }
        for name in ("a", "b")
        for height, lost in (("30 to 100 %", 0.0), ("0.3 to 1 %", 0.5))
        for lost in (lost, lost / 2)
    ]
    means = over_schedules(rows)
    assert [(row["method"], row["height"], row["lost"]) for row in means] == [
        ("a", "30 to 100 %", 0), ("b", "30 to 100 %", 0),
        ("a", "0.3 to 1 %", 0.375), ("b", "0.3 to 1 %", 0.375),
    ]  # fmt: skip
    assert all(row["schedules"] == 2 for row in means)


def test_every_method_and_rate_is_counted():
    plane = cosy()
    methods = {
        "truth": lambda inputs: {"fid": plane.fid},
        "diagonal": lambda inputs: {"fid": cosy(cross=0.0).fid},
    }
    test = measured_test(plane, methods, (0.25, 0.5), schedules=2, seed=0)
    lost = {(row["rate"], row["method"]): row["lost"] for row in test.heights}
    assert lost == {
        (0.25, "truth"): 0, (0.5, "truth"): 0, (0.25, "diagonal"): 1, (0.5, "diagonal"): 1,
    }  # fmt: skip


@pytest.mark.slow
def test_the_report_leads_with_low_peaks(run, monkeypatch):  # noqa: F811
    monkeypatch.setitem(settings.SECONDS, "quick", 1e-6)  # leaves out what is slow
    plane = cosy()
    axis = [AXIS.width, AXIS.frequency, AXIS.centre_ppm]
    np.savez(run / "cosy.npz", rows=plane.fid, direct=axis, indirect=axis)
    given = {"signal_ppm": [2.5, 8.0], "peak_threshold": 0.005, "rates": [0.5], "schedules": 1}
    config = config_of(run, data=str(run / "cosy.npz"), **given)
    text = evaluate(Idle(), small_system(), config, run / "cosy")[0]
    results = json.loads((run / "cosy" / "results.json").read_text())
    assert {row["region"] for row in results["measured"]} == {
        "all", "2.5 to 8 ppm, peaks above 0.5%",
    }  # fmt: skip
    assert results["measured_heights"][-1]["height"] == "0.3 to 1 %"
    assert "lowest peaks off ridges and diagonal" in text


def test_keys_that_cannot_be_used(run):  # noqa: F811
    system = small_system()
    for key, value in (
        ("signal_ppm", [8.0, 2.5]), ("signal_ppm", 3.0), ("peak_threshold", 1.0),
        ("reverse_indirect", "yes"), ("t2_window", "box"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=key):
            task_of(system, {key: value})
        with pytest.raises(ConfigError):
            evaluate(Idle(), system, config_of(run, **{key: value}), run / "refused")
    np.save(run / "a.npy", cosy().fid)
    config = config_of(run, data=str(run / "a.npy"), signal_ppm=[2.5, 8.0], rates=[0.5])
    with pytest.raises(ConfigError, match="signal_ppm"):
        evaluate(Idle(), system, config, run / "refused")


def test_the_indirect_axis_is_mirrored_on_request(run, monkeypatch):  # noqa: F811
    np.save(run / "b.npy", cosy().fid)
    seen = {}

    def measured(plane, *rest, **more):
        seen["plane"] = plane
        raise KeyboardInterrupt  # the plane is all that is asked for

    monkeypatch.setattr("ipads_stream.evaluation.tasks.signals.planes.measured_test", measured)
    config = config_of(run, data=str(run / "b.npy"), reverse_indirect=True, rates=[0.5])
    with pytest.raises(KeyboardInterrupt):
        evaluate(Idle(), small_system(), config, run / "mirrored")
    np.testing.assert_allclose(seen["plane"].fid, cosy().fid.conj(), rtol=1e-6)


def test_lines_are_fitted_after_the_network_on_request():
    system, idle = small_system(), Idle()
    assert LINES not in task_of(system, {}).network_methods(idle)
    method = task_of(system, {"solver": "lines"}).network_methods(idle)[LINES]
    signal = np.exp((2j * np.pi * 0.21 - 1 / 30) * np.arange(48))[None]
    mask = np.arange(48)[None] % 5 != 3
    rebuilt = method({"fid": np.where(mask, signal, 0), "mask": mask})["fid"]
    assert rlne(rebuilt, signal) < 1e-3
    with pytest.raises(ConfigError, match="solver"):
        task_of(system, {"solver": "low-rank"})


def test_a_sparse_solver_needs_no_network_and_is_told_of_the_diagonal(monkeypatch):
    system, idle = small_system(), Idle()
    assert SPARSE not in task_of(system, {}).network_methods(idle)
    methods = task_of(system, {"solver": "sparse"}).network_methods(idle)
    assert LINES not in methods
    signal = np.exp((2j * np.pi * 0.21 - 1 / 30) * np.arange(48))[None]
    mask = np.arange(48)[None] % 5 != 3
    rebuilt = methods[SPARSE]({"fid": np.where(mask, signal, 0), "mask": mask})["fid"]
    assert rlne(rebuilt, signal) < 1e-2
    given = []

    def seen(fid, mask, passes=60, row_frequency=None):
        given.append(row_frequency)
        return fid

    monkeypatch.setattr("ipads_stream.baselines.signals.sparse_bayes.reconstruct", seen)
    shifted = replace(cosy(), indirect=replace(AXIS, centre_ppm=AXIS.centre_ppm - 1.0))
    for plane in (shifted, replace(shifted, indirect=replace(AXIS, nucleus="13C"))):
        inputs = {"fid": plane.fid, "mask": np.ones(plane.fid.shape, bool)}
        methods = task_of(system, {"solver": "sparse"}).network_methods(idle)
        signal_task._of_plane(methods, plane)[SPARSE](inputs)
    assert given[1] is None
    np.testing.assert_allclose(given[0] * AXIS.width, AXIS.hertz(ROWS) + 500.0)
