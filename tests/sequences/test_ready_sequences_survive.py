"""Every ready sequence gives the same signal after it was written to a Pulseq file and read."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ipads_stream.config import build_sequence, compose, conf_dir
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences import read_pulseq, write_pulseq

SMALLER = {
    "cest": ["sequence.matrix=16", "sequence.number=3"],
    "epi_fingerprint": ["sequence.matrix=16"],
    "fisp_fingerprint": ["sequence.matrix=32", "sequence.num_frames=10"],
    "spamm": ["sequence.matrix=32", "sequence.num_frames=2"],
    "spen": [],
    "moled": [],
}
NAMES = sorted(path.stem for path in (conf_dir() / "sequence").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_signal_is_the_same(name, tmp_path):
    words = [f"sequence={name}", *SMALLER.get(name, ["sequence.matrix=16"])]
    sequence = build_sequence(compose(words, name="preview"))
    path = tmp_path / "written.seq"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_pulseq(sequence, path)
        again = read_pulseq(path, scanner=sequence.scanner)
    at = np.random.Generator(np.random.Philox(key=7))
    spins = 40
    position = at.uniform(-0.5, 0.5, (spins, 3)) * (0.16, 0.16, 0.02)
    phantom = Phantom(
        position,
        T1=at.uniform(0.3, 2.0, spins),
        T2=at.uniform(0.03, 0.2, spins),
        df=at.uniform(-60.0, 60.0, spins),
        M0=1 / spins,
    )
    signal, other = (bloch.signal(s, phantom) for s in (sequence, again))
    assert signal.size == sequence.num_samples > 0
    largest = np.max(np.abs(signal))
    assert largest > 0.01
    # Numbers are written with all their digits: roundings of double precision are left.
    assert np.max(np.abs(signal - other)) < 1e-11 * largest
    first, second = sequence.waveforms(), again.waveforms()
    assert np.array_equal(first.dt, second.dt)
    assert np.max(np.abs(first.b1 - second.b1)) < 1e-14 * np.max(np.abs(first.b1))
    near = 1e-15 * np.max(np.abs(first.gradient))
    assert np.max(np.abs(first.gradient - second.gradient)) < near
    assert again.duration == pytest.approx(sequence.duration, abs=1e-9)
