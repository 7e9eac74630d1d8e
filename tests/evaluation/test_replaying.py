"""Rebuilding logged samples."""

import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest
from test_synthetic import FILLED, TASK, compared, small_system

from ipads_stream.core.errors import ConfigError
from ipads_stream.data.named import DataUnavailable
from ipads_stream.evaluation.evaluate import records as records_of
from ipads_stream.evaluation.replaying import replay_logged
from ipads_stream.report.figures import NETWORK
from ipads_stream.stream.stream import Stream

RUN = {"seed": 3, "system": "small"}


def build_system(config, trusted):
    assert config == RUN
    return small_system()


def build_splits(config, trusted):
    return {"train": build_system(config, trusted), "validation": build_system(config, trusted)}


def read_checkpoint(path):
    return {"config": RUN}


def replayed(**config):
    words = {"split": "train", **config}
    return list(replay_logged(words, build_system, build_splits, read_checkpoint))


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
    methods = {"zero-filling": FILLED, NETWORK: FILLED}
    test = compared(small_system(), methods, (0.25, 0.5), samples=5, seed=3)
    records = records_of(TASK, test)
    records[2]["errors"][NETWORK] = 9.0
    records[6] = records[6] | {"digest": "0" * 64, "errors": {NETWORK: 8.0}}
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


def refuse(error):
    def build(config, trusted):
        raise error

    return build


def test_without_the_data_of_a_run_the_tests_can_still_be_rebuilt(run):
    missing = refuse(ConfigError("data", "gone.npy", "a file that exists"))
    config = {"run": str(run), "index": 1, "split": "validation"}
    with pytest.raises(ConfigError, match=r"^data='gone.npy': a file .*only split=test can be"):
        list(replay_logged(config, build_system, missing, read_checkpoint))
    absent = refuse(DataUnavailable("not at hand"))
    with pytest.raises(DataUnavailable, match=r"^not at hand; .*only split=test can be"):
        list(replay_logged(config, build_system, absent, read_checkpoint))
    other = refuse(ConfigError("trainer.samples", 3, "fewer"))
    with pytest.raises(ConfigError, match=r"^trainer\.samples=3: fewer$"):
        list(replay_logged(config, build_system, other, read_checkpoint))
    (line,) = replay_logged({**config, "split": "test"}, build_system, missing, read_checkpoint)
    assert line.startswith("test sample 1")


@dataclasses.dataclass(frozen=True)
class Spoiled:
    """The small system with values that are not finite in every third sample."""

    name: ClassVar[str] = "spoiled"
    value: float

    def draw(self, keys, progress):
        return small_system().draw(keys, progress)

    def render(self, params, keys, xp):
        sample = small_system().render(params, keys, xp)
        if keys.split == "train":  # and not in the split of the substitutes
            sample.inputs["fid"][keys.indices % 3 == 0, 0] = self.value
        return sample


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("policy", ["mask", "substitute"])
def test_samples_that_were_not_finite_come_back_so(run, value, policy):
    stream = Stream(
        Spoiled(value), seed=3, batch_size=8, threads=0, device="cpu", on_nonfinite=policy
    )
    next(iter(stream))
    failures = [dict(failure) for failure in stream.failures]
    assert [failure["index"] for failure in failures] == [0, 3, 6]
    failures[1]["params"] = failures[0]["params"]
    log = run / "failures.jsonl"
    log.write_text("".join(json.dumps(failure) + "\n" for failure in failures))
    config = {"run": str(run), "log": str(log), "worst": 2}
    splits = {"train": Spoiled(value)}
    lines = list(
        replay_logged(config, lambda *_: small_system(), lambda *_: splits, read_checkpoint)
    )
    assert f"train sample 0, seed 3; inputs/fid not finite (policy {policy} at step 0)" in lines[0]
    assert "parameters agree" in lines[0] and "parameters DIFFER" in lines[1]
    arrays = np.load(run / "replay" / "train-0.npz")
    assert not np.isfinite(arrays["inputs/fid"][0])
    assert np.any(arrays["inputs/fid"][1:])
    assert (run / "replay" / "train-3.png").is_file()
