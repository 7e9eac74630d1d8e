"""Rebuilding logged samples."""

import json

import numpy as np
import pytest
from test_synthetic import small_system

from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.methods import NETWORK, fill_with_zeros
from ipads_stream.evaluation.replaying import replay_logged
from ipads_stream.evaluation.synthetic import synthetic_test
from ipads_stream.stream.stream import Stream

RUN = {"seed": 3, "system": "small"}


def build_system(config, trusted):
    assert config == RUN
    return small_system()


def read_checkpoint(path):
    return {"config": RUN}


def replayed(**config):
    return list(replay_logged({"split": "train", **config}, build_system, read_checkpoint))


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(RUN))
    return tmp_path


def test_by_index(run):
    (line,) = replayed(run=str(run), index=7)
    assert "train sample 7, seed 3" in line
    assert "none logged" in line
    arrays = np.load(run / "replay" / "train-7.npz")
    expected = Stream(small_system(), seed=3, threads=0, device="cpu").sample([7])
    assert np.array_equal(arrays["inputs/fid"], expected.inputs["fid"][0].numpy())
    assert np.array_equal(arrays["params/frequency"], expected.params["frequency"][0])
    assert (run / "replay" / "train-7.png").is_file()


def test_by_checkpoint_into_another_folder(tmp_path):
    output = tmp_path / "elsewhere"
    replayed(checkpoint=str(tmp_path / "run.ckpt"), index=1, seed=9, split="test",
             output=str(output))  # fmt: skip
    assert {path.name for path in output.iterdir()} == {"test-1.npz", "test-1.png"}


def test_worst_of_an_evaluation(run):
    methods = {"zero-filling": fill_with_zeros, NETWORK: fill_with_zeros}
    records = synthetic_test(small_system(), methods, (0.25, 0.5), samples=5, seed=3).records
    records[2]["rlne"][NETWORK] = 9.0
    records[6] = records[6] | {"digest": "0" * 64, "rlne": {NETWORK: 8.0}}
    log = run / "samples.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"cut of')
    first, second = replayed(run=str(run), log=str(log), worst=2)
    assert "test sample 2" in first and "with rate=0.25, snr=None" in first and "agrees" in first
    assert "test sample 1" in second and "with rate=0.5, snr=None" in second and "DIFFERS" in second


def test_worst_of_a_training_run(run):
    log = run / "metrics.jsonl"
    steps = [(0, 4.0, 1.0), (1, 6.0, 3.0), (2, 6.0, 2.0), (3, 5.0, None)]
    log.write_text(
        "".join(
            json.dumps({"step": step, "worst/index": index, "worst/loss": loss}) + "\n"
            for step, index, loss in steps
        )
    )
    lines = replayed(run=str(run), log=str(log), worst=5)
    assert len(lines) == 2
    assert "train sample 6, seed 3; loss 3 at step 1" in lines[0]
    assert "train sample 4" in lines[1]


@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("run", {"index": 1}),
        ("run", {"run": "nowhere", "index": 1}),
        ("index", {"checkpoint": "x"}),
        ("index", {"checkpoint": "x", "index": 1, "log": "y"}),
        ("log", {"checkpoint": "x", "log": "nowhere"}),
        ("worst", {"checkpoint": "x", "log": "nowhere", "worst": 0}),
    ],
)
def test_wrong_values_are_named(tmp_path, key, config):
    with pytest.raises(ConfigError) as error:
        replayed(output=str(tmp_path / "out"), **config)
    assert error.value.key == key


def test_an_empty_log_is_refused(run):
    log = run / "empty.jsonl"
    log.write_text("")
    with pytest.raises(ConfigError, match="worst/index"):
        replayed(run=str(run), log=str(log))
