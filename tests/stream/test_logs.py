"""Logs that are appended to after a kill lose no record, and hold each failure once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ipads_stream import Stream
from ipads_stream.stream.replay import read_log
from ipads_stream.train.callbacks import FailureLog
from ipads_stream.train.tracker import LOG, JsonLines


@pytest.mark.parametrize(
    ("left", "steps"),
    [('{"step": 1}\n{"st', [1, 2]), ('{"step": 1}\n', [1, 2]), ("", [2]), (None, [2])],
)
def test_a_torn_line_swallows_no_record(tmp_path, left, steps):
    path = tmp_path / LOG
    if left is not None:
        path.write_text(left)
    logger = JsonLines(tmp_path)
    logger.log_metrics({"loss": 0.5}, 2)
    logger.finalize("success")
    assert [record["step"] for record in read_log(path)] == steps
    assert "\n\n" not in path.read_text()


def test_each_failure_of_a_trained_batch_is_written_once(toy, tmp_path):
    stream = Stream(
        toy(nan_at=tuple(range(1500))),
        batch_size=1200,
        repeat=2,
        threads=2,
        on_nonfinite="mask",
        device="cpu",
    )
    log, trainer = FailureLog(tmp_path), SimpleNamespace(global_rank=0)
    batches = iter(stream)
    ahead = next(batches)  # as Lightning does
    for step in range(4):
        batch, ahead = ahead, next(batches)
        log.on_train_batch_end(trainer, None, None, batch, step)
    batches.close()
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["index"] for event in events] == list(range(1500))
    assert {event["step"] for event in events} == {0, 2}
