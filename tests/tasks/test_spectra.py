"""Spectra: scores by hand, a system of components from training to report, files of signals."""

import json

import numpy as np
import pytest
from outside import comparison

from ipads_stream.__main__ import main
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.data.raw import read_fids
from ipads_stream.evaluation.tasks.spectra import Spectra, correlation

ARBITRARY = Quantity(low=0.0, high=1.0)


def signals(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_gain_is_the_noise_that_was_taken_away(rng):
    truth, noise = signals(rng, (3, 32)), signals(rng, (3, 32))
    made = comparison(
        {"spectra": truth},
        {"network": {"spectra": truth + 0.1 * noise}},
        inputs={"spectra": truth + noise},
    )
    scores = Spectra().sample_scores(made, "spectra", "network")
    np.testing.assert_allclose(scores["gain"], 20.0)
    expected = 0.1 * np.linalg.norm(noise, axis=1) / np.linalg.norm(truth, axis=1)
    np.testing.assert_allclose(scores["rlne"], expected)


def test_without_a_noisy_spectrum_there_is_no_gain(rng):
    truth = signals(rng, (3, 2, 16))
    made = comparison({"spectra": truth}, {"network": {"spectra": truth}})
    assert [m.key for m in Spectra().metrics(made, "spectra")] == ["rlne", "r"]


def test_correlation_is_pearsons(rng):
    x, y = rng.standard_normal((2, 4, 20))
    assert correlation(x, y) == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    assert np.isnan(correlation(x, np.ones_like(x)))


def test_amounts_are_scored_in_their_unit(rng):
    truth = np.array([1.0, 2.0, 3.0])
    quantities = {"spectra": ARBITRARY, "amount": Quantity(low=0.0, high=5.0, unit="mM")}
    spectra = signals(rng, (3, 8))
    estimates = {"network": {"spectra": spectra, "amount": truth + np.array([0.5, -0.5, 0.3])}}
    made = comparison({"spectra": spectra, "amount": truth}, estimates, quantities=quantities)
    row = next(row for row in Spectra().scores(made) if row["target"] == "amount")
    assert row["error"] == pytest.approx(1.3 / 3)
    assert row["bias"] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines") / "run"
    words = [
        "system={_target_: toy_spectra.Lines}", "net={_target_: toy_spectra.Net}",
        "loss={_target_: toy_spectra.Loss}", "trusted=[toy_spectra]", "logger=none", "device=cpu",
        "stream.batch_size=16", "trainer.max_steps=5", "trainer.val_every=0", "trainer.bar=false",
        f"output={folder}",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    return folder


def evaluate(run, output, *words):
    base = [f"checkpoint={run / 'run.ckpt'}", "trusted=[toy_spectra]", "device=cpu"]
    return main(["evaluate", *base, f"output={output}", *words])


def test_a_system_of_components_is_evaluated_by_component(run, tmp_path, capsys):
    assert evaluate(run, tmp_path, "samples=6") == 0
    results = json.loads((tmp_path / "results.json").read_text())
    rows = {(row["target"], row["method"]): row for row in results["scores"]}
    assert set(rows) == {("spectra", "network"), ("spectra", "half each"), ("amount", "network")}
    text = capsys.readouterr().out
    assert "components" in text
    assert all(name in text for name in ("Cho", "Cr", "mean |error| (mM)"))
    assert (tmp_path / "spectra_median.png").is_file()


def test_measured_signals_become_spectra_and_amounts(run, tmp_path, rng):
    fids = signals(rng, (2, 64)).astype(np.complex64)
    np.save(tmp_path / "fids.npy", fids)
    out = tmp_path / "out"
    assert evaluate(run, out, f"data={tmp_path / 'fids.npy'}", "methods=all") == 0
    spectra = np.load(out / "fids_desc-halfeach_spectra.npy")
    expected = np.fft.fftshift(np.fft.fft(fids, norm="ortho"), axes=-1) / 2
    np.testing.assert_allclose(spectra[:, 0], expected, rtol=1e-5)
    amounts = json.loads((out / "fids_amounts.json").read_text())
    assert len(amounts["amount (mM)"]) == 2


def test_names_that_do_not_fit_the_components_are_refused(run, tmp_path, monkeypatch, capsys):
    import toy_spectra

    monkeypatch.setattr(toy_spectra.Lines, "components", ("Cho",))
    assert evaluate(run, tmp_path, "samples=2") == 2
    assert "system.components=('Cho',): 2 names" in capsys.readouterr().err


def test_text_and_numpy_files_give_the_same(tmp_path):
    fid = np.array([1 + 2j, 3 - 4j, -0.5j], np.complex64)
    np.save(tmp_path / "a.npy", fid)
    (tmp_path / "b.txt").write_text("# real imaginary\n1 2\n3, -4\n0 -0.5\n")
    for name in ("a.npy", "b.txt"):
        assert np.array_equal(read_fids(tmp_path / name), fid[None])


@pytest.mark.parametrize("text", ["1 2 3\n4 5 6\n", "one two\n", "", "1 nan\n"])
def test_what_is_no_signal_is_refused(text, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ConfigError, match="data="):
        read_fids(tmp_path / "a.txt")
