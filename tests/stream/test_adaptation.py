"""Shares that follow the network's errors: exact, replayable, the same on all ranks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.config import instantiate
from ipads_stream.core.description import config_hash, describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Adaptive, Correlated, Uniform
from ipads_stream.stream.adaptation import (
    KEPT,
    ShareTable,
    adaptive_parameters,
    frozen,
    with_shares,
)
from ipads_stream.stream.replay import digest

EVERY, ROWS = 6, 8
ADAPTIVE = (
    "amplitude={_target_: ipads_stream.distributions.Adaptive, edges: [0.2, 0.6], memory: 0.5,"
    " distribution: {_target_: ipads_stream.distributions.Uniform, low: 0.05, high: 1.0}}"
)


@pytest.fixture(scope="module")
def system():
    rate = "rate={_target_: ipads_stream.distributions.Adaptive, edges: [0.3], distribution: "
    rate += "{_target_: ipads_stream.distributions.Uniform, low: 0.15, high: 0.5}}"
    return load_system("dlnmr", ["points=16", ADAPTIVE, rate])


def stream_of(system, **options):
    defaults = {"batch_size": ROWS, "device": "cpu", "depth": 3, "adapt_every": EVERY}
    return Stream(system, **(defaults | options))


def errors_of(batch):
    """Stand-in for a network that fails at low amplitudes and low rates."""
    amplitude = batch.params["amplitude"]
    peaks = np.where(amplitude > 0, 1 / (amplitude + 0.1), np.nan)
    rate = 1 / batch.params["rate"]
    return {"amplitude": torch.from_numpy(peaks), "rate": torch.from_numpy(rate)}


def train(stream, num):
    """Batches as trained on, errors fed back after each."""
    batches, taken = iter(stream), []
    for _ in range(num):
        batch = next(batches)
        taken.append(batch)
        stream.feed_back(batch, errors_of(batch))
    batches.close()
    return taken


def digests(batches):
    return [digest(batch, row) for batch in batches for row in range(len(batch))]


def test_low_amplitudes_become_more_from_the_second_block_after(system):
    stream = stream_of(system)
    train(stream, 8 * EVERY)
    firsts = [first for first, _ in stream.table.history]
    assert firsts == [(block + 2) * EVERY * ROWS for block in range(8)]
    natural = adaptive_parameters(system)["amplitude"].natural
    for _, shares in stream.table.history:
        assert shares["amplitude"][0] > 1.5 * natural[0]
        assert sum(shares["amplitude"]) == pytest.approx(1)
        assert shares["rate"][0] > adaptive_parameters(system)["rate"].natural[0]
    # the first two blocks are those of the configuration, bit for bit
    plain = load_system("dlnmr", ["points=16"])
    boundary = 2 * EVERY * ROWS
    before = stream.sample([boundary - 1]).params
    plain_rate = np.array([0.15 + 0.35 * u for u in _uniform("rate", [boundary - 1])])
    assert np.allclose(before["rate"], plain_rate)
    assert np.array_equal(
        before["decay"], Stream(plain, device="cpu").sample([boundary - 1]).params["decay"]
    )
    low = stream.sample(range(boundary, boundary + 2000)).params["amplitude"]
    share = np.mean(low[low > 0] < 0.2)
    assert share == pytest.approx(stream.table.history[-1][1]["amplitude"][0], abs=0.03)


def _uniform(name, indices):
    from ipads_stream.core import random

    return random.uniform(Keys(0, "train", np.array(indices, dtype=np.uint64))[name])


@pytest.mark.parametrize(("threads", "depth"), [(0, 1), (1, 4), (4, 2)])
def test_what_is_made_ahead_changes_nothing(system, threads, depth):
    expected = train(stream_of(system, threads=0), 5 * EVERY)
    stream = stream_of(system, threads=threads, depth=depth)
    found = train(stream, 5 * EVERY)
    assert digests(found) == digests(expected)
    # a batch of the past is made again, with the shares it had
    for step in (0, 2 * EVERY - 1, 2 * EVERY, 4 * EVERY + 3):
        assert digests([stream.batch(step)]) == digests([expected[step]])
    across = [2 * EVERY * ROWS + 3, 0, 4 * EVERY * ROWS + 1, 2 * EVERY * ROWS - 1]
    rows = stream.sample(across)
    everything = digests(expected)
    assert [digest(rows, row) for row in range(4)] == [everything[index] for index in across]


@pytest.mark.parametrize("stop", [1, EVERY - 1, EVERY, 3 * EVERY + 2])
def test_it_resumes_exactly(system, stop):
    whole = train(stream_of(system), 6 * EVERY)
    stream = stream_of(system, threads=2, depth=4)
    train(stream, stop)
    state = json.loads(json.dumps(stream.state_dict()))
    assert state["step"] == stop
    again = stream_of(system, threads=1, depth=2)
    again.load_state_dict(state)
    train(again, 2)
    state = json.loads(json.dumps(again.state_dict()))  # a second save and load in a row
    again = stream_of(system)
    again.load_state_dict(state)
    assert digests(train(again, 6 * EVERY - stop - 2)) == digests(whole[stop + 2 :])


def test_batches_counted_before_the_save_are_not_counted_again(system):
    """Lightning saves the state of what was trained on, one batch before what was delivered."""
    whole = train(stream_of(system), 6 * EVERY)
    stream = stream_of(system)
    train(stream, 2 * EVERY + 3)
    again = stream_of(system)
    again.load_state_dict(stream.state_at(2 * EVERY + 1))
    assert digests(train(again, 4 * EVERY - 1)) == digests(whole[2 * EVERY + 1 :])


def test_a_state_is_read_on_the_host_and_follows_the_errors_to_their_device(system):
    """A run is restored before its process knows which device is its own."""
    stream = stream_of(system, threads=0)
    taken = train(stream, 3)
    again = stream_of(system, threads=0)
    again.device = "cuda"  # of a stream on a GPU, which is not touched
    again.load_state_dict(stream.state_dict())
    assert again.table._pending.device.type == "cpu"
    assert torch.equal(again.table._pending, stream.table._pending)
    later = replace(taken[-1], provenance=replace(taken[-1].provenance, step=3))
    again.feed_back(later, {name: error.to("meta") for name, error in errors_of(later).items()})
    assert again.table._pending.device.type == "meta"


def test_ranks_share_one_table(system):
    expected = stream_of(system)
    whole = train(expected, 5 * EVERY)
    ranks = [stream_of(system, rank=rank, world_size=2) for rank in range(2)]
    batches = [iter(stream) for stream in ranks]
    taken = []
    for _ in range(5 * EVERY):
        parts = [next(iterator) for iterator in batches]
        sums = []

        def total(own, sums=sums):
            """What all-reduce does: first gather from all, then every rank has the sum."""
            sums.append(own)
            return own

        for part in parts:
            probe = stream_of(system, rank=0, world_size=2)
            probe.table.feed_back(_first(part), errors_of(part), total)
        both = sums[0] + sums[1]
        for part, stream in zip(parts, ranks, strict=True):
            stream.feed_back(part, errors_of(part), lambda own, both=both: both)
        taken += parts
    for iterator in batches:
        iterator.close()
    assert ranks[0].table.history == ranks[1].table.history
    for (at, mine), (there, theirs) in zip(
        ranks[0].table.history, expected.table.history, strict=True
    ):
        assert at == there
        for name in mine:  # the order of the sums differs
            assert mine[name] == pytest.approx(theirs[name], rel=1e-12)
    amplitudes = np.concatenate([part.params["amplitude"] for part in taken])
    assert np.allclose(
        amplitudes, np.concatenate([b.params["amplitude"] for b in whole]), rtol=1e-9
    )


def _first(batch):
    """The batch as if it were the first, for a table that has counted nothing."""
    from dataclasses import replace

    return replace(batch, provenance=replace(batch.provenance, step=0))


def test_an_echo_counts_each_delivery(system):
    stream = stream_of(system, repeat=2, adapt_every=9, threads=0)
    taken = train(stream, 45)
    assert [first for first, _ in stream.table.history][:2] == [9 * ROWS, 14 * ROWS]
    assert digests([stream.batch(40)]) == digests([taken[40]])


def test_provenance_holds_the_shares_and_replay_needs_nothing_else(system):
    stream = stream_of(system)
    batch = train(stream, 5 * EVERY)[-1]
    record = json.loads(json.dumps(batch.provenance.record(3)))
    assert record["shares"]["amplitude"][0] > 0.3
    assert record["config_hash"] == config_hash(system)
    again = Stream(with_shares(system, record["shares"]), device="cpu").sample([record["index"]])
    assert digest(again, 0) == digest(batch, 3)
    assert "shares" not in Stream(load_system("dlnmr"), device="cpu").sample([0]).provenance.record(
        0
    )


def test_a_frozen_system_is_a_configuration(system):
    stream = stream_of(system)
    train(stream, 5 * EVERY)
    fixed = stream.frozen_system()
    assert not adaptive_parameters(fixed)
    again = instantiate(describe(fixed), "system")
    assert again == fixed
    index = 100 * EVERY * ROWS
    assert np.array_equal(
        Stream(again, device="cpu").sample([index]).params["amplitude"],
        stream.sample([index]).params["amplitude"],
    )
    plain = load_system("dlnmr")
    assert frozen(plain) == plain


def test_an_adaptive_parameter_may_be_correlated():
    law = Correlated(
        distribution=Adaptive(distribution=Uniform(low=10, high=90, unit="s"), edges=[30]),
        correlation={"frequency": 0.5},
    )
    from dataclasses import replace

    system = replace(load_system("dlnmr", ["points=16"]), decay=law)
    moved = with_shares(system, {"decay": [0.9, 0.1]})
    assert moved.decay.correlation == law.correlation
    assert moved.decay.distribution.shares == (0.9, 0.1)
    sample = Stream(moved, device="cpu").sample(range(2000))
    assert np.mean(sample.params["decay"] < 30) == pytest.approx(0.9, abs=0.01)


def test_weights_reach_the_batch_and_leave_out_absent_peaks(system):
    weighted = load_system(
        "dlnmr", ["points=16", ADAPTIVE.replace("memory: 0.5", "weighted: true")]
    )
    moved = with_shares(weighted, {"amplitude": [0.6, 0.3, 0.1]})
    sample = Stream(moved, device="cpu").sample(range(4000))
    amplitude = sample.params["amplitude"]
    law = adaptive_parameters(moved)["amplitude"]
    ratios = law.natural / law.sampled
    region = np.searchsorted([0.2, 0.6], amplitude, side="right")
    expected = np.where(amplitude > 0, ratios[region], 1).prod(axis=1)
    assert np.allclose(sample.weight.numpy(), expected, rtol=1e-6)
    assert expected.mean() == pytest.approx(1, abs=4 * expected.std() / np.sqrt(4000))
    assert torch.equal(Stream(system, device="cpu").sample(range(9)).weight, torch.ones(9))


def test_errors_per_sample_and_what_does_not_count(system):
    stream = stream_of(system, threads=0)
    batch = next(iter(stream))
    batch.weight[0] = 0  # masked
    errors = torch.ones(ROWS)
    errors[1] = torch.inf
    stream.feed_back(batch, errors)
    sums, counts = stream.table._pending
    amplitude = batch.params["amplitude"][2:]
    rate = batch.params["rate"][2:]
    expected = [
        *(
            np.sum((amplitude > low) & (amplitude < high))
            for low, high in ((0.01, 0.2), (0.2, 0.6), (0.6, 2))
        ),
        np.sum(rate < 0.3),
        np.sum(rate >= 0.3),
    ]
    assert counts.tolist() == expected
    assert torch.equal(sums, counts)


def test_what_cannot_be(system):
    with pytest.raises(ConfigError, match="adapt_every=4: at least 5"):
        stream_of(system, adapt_every=4)
    stream = stream_of(system, threads=0)
    batch = next(iter(stream))
    with pytest.raises(ConfigError, match=r"errors=\['amplitude'\]: an entry for each"):
        stream.feed_back(batch, {"amplitude": torch.ones(ROWS)})
    with pytest.raises(ConfigError, match=r"errors\.amplitude=\(3,\): a tensor of shape \(8,\)"):
        stream.feed_back(batch, torch.ones(3))
    with pytest.raises(ConfigError, match=r"state\.table\.every=6: 7, as this stream has"):
        stream_of(system, adapt_every=7).load_state_dict(stream.state_dict())
    late = stream_of(system)
    batches = iter(late)
    kept = [next(batches) for _ in range(3 * EVERY)]
    with pytest.raises(RuntimeError, match="call feed_back after every step"):
        for batch in kept:
            late.feed_back(batch, errors_of(batch))
    batches.close()


def test_without_feedback_nothing_changes(system):
    stream = stream_of(system)
    batches = iter(stream)
    for _ in range(4 * EVERY):
        batch = next(batches)
    batches.close()
    assert stream.table.history == []
    expected = Stream(frozen(system), device="cpu").sample(batch.provenance.indices)
    assert np.array_equal(batch.params["amplitude"], expected.params["amplitude"])


def test_the_state_does_not_grow_and_resumes_at_once(system):
    stream = stream_of(system, threads=0)
    sizes = []
    for blocks in (KEPT, 2 * KEPT):
        train(stream, blocks * EVERY)
        sizes.append(len(json.dumps(stream.state_dict())))
    assert sizes[1] < 1.1 * sizes[0]
    assert len(stream.table.history) == KEPT and stream.table.newest == 3 * KEPT
    with pytest.raises(ConfigError, match=r"index=0: \d+ or more: the shares of earlier"):
        stream.sample([0])
    state = stream.state_dict()
    shift = 10**9 // EVERY * EVERY
    table = state["table"]
    table |= {"fed": table["fed"] + shift, "dropped": table["dropped"] + shift // EVERY}
    table["history"] = [[first + shift * ROWS, shares] for first, shares in table["history"]]
    again = stream_of(system, threads=0)
    again.load_state_dict(state | {"step": state["step"] + shift})
    before = stream.table.history
    (batch,), (later,) = train(stream, 1), train(again, 1)
    assert stream.table.history == before
    assert later.provenance.shares == batch.provenance.shares
    assert again.frozen_system() == stream.frozen_system()


SHARES = {"amplitude": [0.2, 0.3, 0.5], "rate": [0.5, 0.5]}
WRONG_TABLES = {
    "no history": {"history": None}, "no entry": {"history": [3]},
    "three": {"history": [[1, 2, 3]]},
    "no first sample": {"history": [["x", SHARES]]}, "before": {"history": [[-1, SHARES]]},
    "order": {"history": [[96, SHARES], [48, SHARES]]}, "no shares": {"history": [[48, None]]},
    "another name": {"history": [[48, {"amplitude": [1.0], "x": [1.0]}]]},
    "nan": {"history": [[48, SHARES | {"rate": [float("nan"), 0.5]}]]},
    "sum": {"history": [[48, SHARES | {"rate": [0.7, 0.7]}]]},
    "regions": {"history": [[48, SHARES | {"rate": [1.0]}]]},
    "text": {"history": [[48, SHARES | {"rate": "ab"}]]},
    "scalar": {"history": [[48, SHARES | {"rate": 1}]]},
    "fed": {"fed": -1}, "fed nan": {"fed": float("nan")}, "dropped": {"dropped": "x"},
    "errors": {"errors": None}, "errors nan": {"errors": {"rate": [float("nan"), 1.0]}},
    "errors of another": {"errors": {"x": [1.0]}}, "errors short": {"errors": {"rate": [1.0]}},
    "pending": {"pending": [1.0]}, "pending short": {"pending": [[1.0], [1.0]]},
    "pending nan": {"pending": [[float("nan")] * 5, [1.0] * 5]}, "pending text": {"pending": "ab"},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_corrupt_table_is_refused_and_changes_nothing(system, name):
    stream = stream_of(system, threads=0)
    train(stream, 2 * EVERY + 1)
    before = stream.state_dict()
    assert len(before["table"]["history"]) == 2
    changed = before | {"step": 0, "table": before["table"] | WRONG_TABLES[name]}
    with pytest.raises(ConfigError, match=r"state\.table\.") as caught:
        stream.load_state_dict(changed)
    assert "\n" not in str(caught.value)
    assert stream.state_dict() == before


def test_blocks_that_were_not_fed_back_cost_nothing(system, monkeypatch):
    closed, close = [], ShareTable._close
    monkeypatch.setattr(ShareTable, "_close", lambda *x: (closed.append(x[1]), close(*x)))
    stream = stream_of(system, threads=0)
    stream.load_state_dict(stream.state_at(10**9))
    train(stream, 1)
    assert len(closed) <= 1  # of 10**9 / EVERY blocks
