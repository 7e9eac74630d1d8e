"""Distributions mined from data are those that the data were drawn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from ipads_stream import Stream, load_system
from ipads_stream.baselines.signals.line_fit import fit_lines
from ipads_stream.config import build_system, compose
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys, complex_normal
from ipads_stream.data.planes.recording import UnusableData
from ipads_stream.distributions import DiscreteUniform, LogUniform, Uniform
from ipads_stream.evaluation.fit_prior import distributions_of, fit_prior

TRUTH = {
    "num_peaks": DiscreteUniform(low=1, high=3),
    "amplitude": LogUniform(low=0.1, high=1),
    "frequency": Uniform(low=0.2, high=0.7, unit="Hz"),
    "decay": Uniform(low=20, high=90, unit="s"),
    "phase": Uniform(low=30, high=100, unit="deg"),
    "snr": Uniform(low=40, high=120),
}


def keys(num):
    return Keys(0, "train", np.arange(num, dtype=np.uint64))


@pytest.fixture(scope="module")
def truth():
    return dataclasses.replace(load_system("dlnmr", ["rate=1.0"]), **TRUTH)


@pytest.fixture(scope="module")
def plane(truth, tmp_path_factory):
    """Rows of which the distribution is known, as a file of measured rows."""
    path = tmp_path_factory.mktemp("planes") / "rows.npy"
    np.save(path, Stream(truth, device="cpu").sample(range(600)).inputs["fid"].numpy())
    return path


def fitted(data, output, *overrides):
    words = [f"data={data}", f"output={output}", *overrides]
    config = compose(words, name="fit_prior")
    return fit_prior(build_system(config), config)


@pytest.mark.slow
def test_what_is_written_is_what_the_data_were_drawn_from(truth, plane, tmp_path):
    yaml_path, picture = fitted(plane, tmp_path, "name=mine")
    assert yaml_path == tmp_path / "system" / "mine.yaml"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    system = load_system("mine", conf=tmp_path)
    assert system.points == 128
    for name in ("amplitude", "frequency", "decay", "phase", "snr"):
        low, high = TRUTH[name].support
        x = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 2001)
        distance = np.abs(getattr(system, name).cdf(x) - TRUTH[name].cdf(x)).max()
        assert distance < 0.08, f"{name}: {distance}"
    counts = system.num_peaks.cdf(np.array([0.0, 1, 2, 3]))
    assert np.abs(counts - [0, 1 / 3, 2 / 3, 1]).max() < 0.08
    # and it generates
    sample = Stream(system, device="cpu").sample(range(20))
    assert np.isfinite(sample.inputs["fid"].numpy()).all()
    assert sample.inputs["fid"].shape == (20, 128)


@pytest.mark.slow
def test_a_prior_fitted_to_its_own_samples_comes_back(plane, tmp_path):
    fitted(plane, tmp_path / "one")
    system = load_system("fitted", ["rate=1.0"], conf=tmp_path / "one")
    again = tmp_path / "again.npy"
    np.save(again, Stream(system, device="cpu").sample(range(600)).inputs["fid"].numpy())
    fitted(again, tmp_path / "two")
    other = load_system("fitted", ["rate=1.0"], conf=tmp_path / "two")
    for name in ("amplitude", "decay"):
        one, two = (getattr(s, name) for s in (system, other))
        x = one.quantile(np.linspace(0.01, 0.99, 99))
        assert np.abs(two.cdf(x) - one.cdf(x)).max() < 0.12


def test_lines_are_found_exactly_without_noise():
    n = np.arange(96)
    lines = ((1.0, 0.21, 0.3, 40.0), (0.05, 0.55, 2.0, 25.0), (0.4, 0.83, 5.0, 80.0))
    fid = sum(a * np.exp(1j * p + 2j * np.pi * f * n - n / t) for a, f, p, t in lines)
    found = fit_lines(fid)
    order = np.argsort(found.frequency)
    for name, column in (("amplitude", 0), ("frequency", 1), ("phase", 2), ("decay", 3)):
        expected = [line[column] for line in lines]
        assert np.allclose(getattr(found, name)[order], expected, rtol=1e-6)
    assert found.noise < 1e-9


def test_errors_are_as_large_as_the_cramer_rao_bound_says():
    """One line in noise; the bound from the numerical Jacobian of amplitude, phase, f and rate."""
    n, sigma, num = np.arange(128), 0.1, 300
    theta = np.array([1.0, 0.7, 0.3, 1 / 200])

    def line(a, phase, f, rate):
        return a * np.exp(1j * phase + 2j * np.pi * f * n - rate * n)

    J = np.stack([(line(*(theta + d)) - line(*(theta - d))) / 2e-6 for d in 1e-6 * np.eye(4)])
    fisher = 2 * (J.conj() @ J.T).real / sigma**2
    bound = np.sqrt(np.diagonal(np.linalg.inv(fisher)))
    noise = sigma * complex_normal(keys(num)["noise"], (128,))
    found = [fit_lines(line(*theta) + row) for row in noise]
    assert all(fit.amplitude.size == 1 for fit in found)
    for at, name in ((0, "amplitude"), (1, "phase"), (2, "frequency"), (3, "decay")):
        values = np.array([getattr(fit, name)[0] for fit in found])
        values = 1 / values if name == "decay" else values
        assert abs(values.mean() - theta[at]) < 4 * values.std() / np.sqrt(num)
        assert 0.85 * bound[at] < values.std() < 1.3 * bound[at], name
    levels = np.array([fit.noise for fit in found])
    assert levels.mean() == pytest.approx(sigma, rel=0.03)


def test_noise_alone_holds_no_lines():
    noise = complex_normal(keys(300)["noise"], (128,))
    assert np.mean([fit_lines(row).amplitude.size for row in noise]) < 0.02


def test_bins_lie_between_quantiles():
    values = {"decay": stats.gamma(3).ppf((np.arange(1000) + 0.5) / 1000), "snr": np.full(9, 1e9)}
    found = distributions_of(values, 10)
    assert found["decay"].shares == pytest.approx((0.01, 0.09, *(0.1,) * 8, 0.09, 0.01))
    assert found["decay"].unit == "s"
    assert found["snr"] is None
    constant = distributions_of({"phase": np.full(50, 1.5)}, 10)["phase"]
    assert constant.quantile(np.array([0.5]))[0] == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["bins=1"], "bins=1: a whole number, at least 2 and at most 1000"),
        (["name=a-b"], "name='a-b': letters"),
        (["data=[]"], r"data=\[\]: a path"),
    ],
)
def test_keys_that_cannot_be_used(plane, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        fitted(plane, tmp_path, *overrides)


def test_several_planes_make_one_prior(plane, tmp_path):
    rows = np.load(plane)
    for name, some in (("a", slice(0, 40)), ("b", slice(40, 90))):
        np.save(tmp_path / f"{name}.npy", rows[some])
    both = f"'[{tmp_path}/a.npy, {tmp_path}/b.npy]'"
    path, _ = fitted(both, tmp_path)
    assert "in 90 of 90 rows" in path.read_text()
    np.save(tmp_path / "b.npy", rows[:, :64])
    with pytest.raises(ConfigError, match=r"data=\[64, 128\]: planes with equal numbers"):
        fitted(both, tmp_path)


def test_data_without_lines_are_refused(tmp_path):
    np.save(tmp_path / "noise.npy", complex_normal(keys(30)["noise"], (64,)))
    with pytest.raises(ConfigError, match=r"data=.*at least 20 lines"):
        fitted(tmp_path / "noise.npy", tmp_path)


@pytest.mark.slow
def test_a_measured_plane(data_folder, tmp_path):
    path, _ = fitted("ubiquitin", tmp_path, "name=ubiquitin_prior")
    system = load_system("ubiquitin_prior", conf=tmp_path)
    assert 1 <= system.num_peaks.support[0] < system.num_peaks.support[1]
    assert system.amplitude.quantile(np.array([0.99]))[0] == pytest.approx(1, rel=0.1)
    low, high = system.decay.quantile(np.array([0.1, 0.9]))
    assert 1 < low < high < 4 * system.points
    assert "rows of" in path.read_text()


@pytest.mark.slow
def test_a_prior_takes_what_evaluate_takes(truth, plane, tmp_path):
    """One gate for every reader: the quadrature and the direction that no file says."""
    rows = np.load(plane)[:60]
    np.save(tmp_path / "mirrored.npy", rows.conj())
    path = fitted(tmp_path / "mirrored.npy", tmp_path / "a", "reverse_indirect=true")[0]
    np.save(tmp_path / "as_is.npy", rows)
    other = fitted(tmp_path / "as_is.npy", tmp_path / "b")[0]
    text, same = (each.read_text().partition("defaults:")[2] for each in (path, other))
    assert text == same
    with pytest.raises(UnusableData, match="mode=tppi"):
        fitted(tmp_path / "as_is.npy", tmp_path / "c", "mode=tppi")
    for key, word in (("mode", "mode=sates"), ("reverse_indirect", "reverse_indirect=3")):
        with pytest.raises(ConfigError, match=key):
            fitted(tmp_path / "as_is.npy", tmp_path / "d", word)
    with pytest.raises(ConfigError, match="reverse_indirect"):
        fitted("ubiquitin", tmp_path / "e", "reverse_indirect=true")
