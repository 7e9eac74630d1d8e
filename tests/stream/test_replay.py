"""Any logged sample is built again, in a fresh process too."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from ipads_stream import Stream, replay
from ipads_stream.core.errors import ConfigError
from ipads_stream.stream.replay import digest, read_log


@pytest.mark.slow
def test_a_thousand_logged_samples_are_rebuilt(system):
    stream = Stream(system, seed=4, batch_size=100, threads=2, device="cpu")
    batches = iter(stream)
    log = []
    for _ in range(10):
        sample = next(batches)
        log += [sample.provenance.record(i) | {"digest": digest(sample, i)} for i in range(100)]
    batches.close()
    for record in log[::-1]:
        replay(system, json.loads(json.dumps(record)))  # compares the digest


@pytest.mark.slow
def test_a_fresh_process_rebuilds_the_same(system):
    sample = Stream(system, seed=4, device="cpu").sample([10**9])
    record = sample.provenance.record(0) | {"digest": digest(sample, 0)}
    program = (
        "import json, sys; from ipads_stream import load_system, replay;"
        "replay(load_system('dlnmr', ['points=32']), json.loads(sys.argv[1])); print('same')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(record)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "same", done.stderr


def test_what_does_not_fit_is_refused(system):
    record = Stream(system, device="cpu").sample([1]).provenance.record(0)
    with pytest.raises(ConfigError, match=r"record\.config_hash"):
        replay(system, record | {"config_hash": "other"})
    with pytest.raises(ConfigError, match=r"record\.digest"):
        replay(system, record | {"digest": "other"})
    with pytest.raises(ConfigError, match=r"record\.index"):
        replay(system, {key: value for key, value in record.items() if key != "index"})


@pytest.mark.parametrize("policy", ["mask", "substitute"])
def test_a_nonfinite_sample_is_rebuilt_as_trained_on_and_as_simulated(toy, policy):
    system = toy(nan_at=(5,))
    stream = Stream(system, batch_size=8, on_nonfinite=policy, device="cpu")
    sample = stream.batch(0)
    for row in range(8):
        record = sample.provenance.record(row) | {"digest": digest(sample, row)}
        record = json.loads(json.dumps(record))
        assert (record["on_nonfinite"], record["substituted"]) == (policy, row == 5)
        replay(system, record)  # compares the digest
        raw = replay(system, record, raw=True)
        assert torch.isnan(raw.inputs["signal"]).all().item() == (row == 5)
        assert raw.weight.tolist() == [1.0]
    (event,) = json.loads(json.dumps(stream.failures))
    assert digest(replay(system, event), 0) == digest(sample, 5)
    raw = replay(system, event, raw=True)
    assert torch.isnan(raw.inputs["signal"]).all()
    assert raw.params["level"].tolist() == [event["params"]["level"]]


def test_a_log_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"index": 1}\n\xff\xfe\n')
    with pytest.raises(ConfigError, match=r"log=.*log\.jsonl.*UTF-8"):
        list(read_log(path))


def test_the_last_line_of_a_killed_run_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"index": 1}\n{"index": 2}\n{"ind')
    assert [record["index"] for record in read_log(path)] == [1, 2]
