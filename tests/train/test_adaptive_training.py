"""Distributions that follow the network's errors, in a training run: told, logged, resumed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.evaluation.tasks.signals.scores import peak_errors as reported
from ipads_stream.losses.deep_supervision import DeepSupervision, peak_errors
from ipads_stream.train.callbacks import Interrupt

ADAPTIVE = (
    "system.amplitude={_target_: ipads_stream.distributions.Adaptive, edges: [0.2, 0.6],"
    " distribution: {_target_: ipads_stream.distributions.Uniform, low: 0.05, high: 1.0}}"
)


def test_errors_of_peaks_are_those_that_are_reported():
    sample = Stream(load_system("dlnmr", ["points=64"]), device="cpu").sample(range(20))
    target = sample.targets["spectrum"]
    estimate = target + 0.3 * torch.roll(target, 3, dims=-1)
    found = peak_errors(estimate, target, sample, dwell=1.0).numpy()
    fids = [np.fft.ifft(np.fft.ifftshift(x.numpy(), axes=-1), norm="ortho")
            for x in (estimate, target)]  # fmt: skip
    params = (sample.params[name] for name in ("amplitude", "frequency", "decay"))
    expected = reported(*fids, *params)
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_a_peak_that_is_left_out_has_the_error_1_and_others_have_their_spectrums():
    sample = Stream(load_system("dlnmr", ["points=64", "num_peaks=1"]), device="cpu").sample([0, 1])
    nothing = {"phases": torch.zeros_like(sample.targets["spectrum"])[None]}
    errors = DeepSupervision().errors(nothing, sample)
    torch.testing.assert_close(errors["amplitude"], torch.ones(2, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(errors["rate"], torch.ones(2))


@pytest.fixture
def words(small):
    return [*small, ADAPTIVE, "stream.adapt_every=6"]


def _shares(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [f"shares/amplitude/{i}" for i in range(3)]
    return [[row[name] for name in names] for row in rows if names[0] in row]


def test_shares_follow_the_errors_and_are_logged(tmp_path, words, losses):
    assert main(["train", *words, f"output={tmp_path / 'run'}"]) == 0
    shares = _shares(tmp_path / "run")
    assert shares and all(math.isclose(sum(row), 1, abs_tol=1e-6) for row in shares)
    natural = np.diff([0.05, 0.2, 0.6, 1.0]) / 0.95
    # Low peaks fare worst in the first steps: their share grows.
    assert shares[-1][0] > natural[0]


def test_resume_goes_on_with_the_table(tmp_path, words, losses, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", *words, f"output={whole}"]) == 0
    before = Interrupt.on_train_batch_end

    def stop_after_14(self, trainer, *rest):
        if trainer.global_step == 14:
            self.requested = trainer.should_stop = True
        before(self, trainer, *rest)

    monkeypatch.setattr(Interrupt, "on_train_batch_end", stop_after_14)
    assert main(["train", *words, f"output={parts}"]) == 130
    monkeypatch.setattr(Interrupt, "on_train_batch_end", before)
    assert 0 < len(losses(parts)) < 24
    assert main(["train", f"resume={parts / 'run.ckpt'}"]) == 0
    assert losses(parts) == losses(whole)
    assert _shares(parts) == _shares(whole)
