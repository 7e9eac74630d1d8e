"""The stream's promises: same samples however they are made, exact resume, bounded ahead."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from torch.utils.data import DataLoader

from ipads_stream import Stored, Stream, load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.stream import stream as stream_module
from ipads_stream.stream.failure import SimulationError
from ipads_stream.stream.produce import produce


def take(stream, num):
    batches = iter(stream)
    taken = [next(batches) for _ in range(num)]
    batches.close()
    return taken


def digest(batches):
    sha = hashlib.sha256()
    for group in ("inputs", "targets", "params"):
        for name in sorted(getattr(batches[0], group)):
            parts = [np.asarray(getattr(batch, group)[name]) for batch in batches]
            sha.update(np.concatenate(parts).tobytes())
    return sha.hexdigest()


def rank_major(ranks):
    """Batches of several ranks, put together step by step."""
    return [batch for step in zip(*ranks, strict=True) for batch in step]


def test_samples_do_not_depend_on_batches_threads_or_ranks(system):
    num = 4096
    expected = digest([Stream(system, device="cpu").sample(range(num))])
    for batch_size in (64, 512):
        for threads in (0, 1, 4):
            stream = Stream(system, batch_size=batch_size, threads=threads, device="cpu")
            assert digest(take(stream, num // batch_size)) == expected
    for batch_size in (1, 7):
        stream = Stream(system, batch_size=batch_size, threads=1, device="cpu")
        some = 28 * 7
        short = digest([Stream(system, device="cpu").sample(range(some))])
        assert digest(take(stream, some // batch_size)) == short
    for world_size in (2, 4):
        ranks = [
            take(
                Stream(system, batch_size=512, rank=rank, world_size=world_size, device="cpu"),
                num // 512,
            )
            for rank in range(world_size)
        ]
        assert digest(rank_major(ranks)) == expected


def test_samples_come_in_the_order_asked_for(system):
    stream = Stream(system, device="cpu")
    few = stream.sample([10**12, 0, 777])
    again = stream.sample([777])
    assert torch.equal(few.inputs["fid"][2], again.inputs["fid"][0])
    assert few.provenance.indices.tolist() == [10**12, 0, 777]
    with pytest.raises(ConfigError, match="indices"):
        stream.sample([-1])
    with pytest.raises(ConfigError, match="indices"):
        stream.sample([0.5])
    with pytest.raises(ConfigError, match=r"indices=.*whole numbers along one axis"):
        stream.sample(5)


def test_shapes_types_and_provenance(system):
    sample = next(iter(Stream(system, seed=3, batch_size=16, device="cpu")))
    assert sample.inputs["fid"].shape == (16, 32)
    assert sample.inputs["fid"].dtype == torch.complex64
    assert sample.inputs["mask"].dtype == torch.bool
    assert sample.targets["spectrum"].dtype == torch.complex64
    assert torch.all(sample.inputs["fid"][~sample.inputs["mask"]] == 0)
    assert sample.params["num_peaks"].min() >= 1
    record = sample.provenance.record(5)
    assert (record["index"], record["seed"], record["split"]) == (5, 3, "train")
    assert torch.equal(sample.weight, torch.ones(16))


def test_splits_and_seeds_differ(system):
    first = [
        Stream(system, seed=seed, split=split, device="cpu").sample([0]).inputs["fid"]
        for seed, split in ((0, "train"), (0, "validation"), (0, "test"), (1, "train"))
    ]
    for i, a in enumerate(first):
        for b in first[i + 1 :]:
            assert not torch.equal(a, b)


def test_changing_one_distribution_leaves_the_other_draws():
    plain = Stream(load_system("dlnmr"), device="cpu").sample(range(100)).params
    changed = load_system("dlnmr", ["decay.high=50", "amplitude.low=0.2"])
    other = Stream(changed, device="cpu").sample(range(100)).params
    for name in ("num_peaks", "frequency", "phase", "rate"):
        assert np.array_equal(plain[name], other[name])
    assert not np.array_equal(plain["decay"], other["decay"])
    # quantile coupling: a sample keeps its rank
    order = np.argsort(plain["decay"][:, 0])
    assert np.all(np.diff(other["decay"][order, 0]) >= 0)


@pytest.mark.parametrize("before_iter", [True, False])
@pytest.mark.parametrize(("threads", "world_size"), [(0, 1), (1, 2), (4, 4)])
def test_resume_goes_on_exactly_elsewhere(system, threads, world_size, before_iter):
    whole = take(Stream(system, batch_size=16, device="cpu"), 9)
    stream = Stream(system, batch_size=16, threads=4, depth=6, device="cpu")
    take(stream, 3)
    state = stream.state_dict()
    again = Stream(system, batch_size=16, device="cpu")
    again.load_state_dict(state)
    take(again, 1)
    state = again.state_dict()  # a second save and load in a row
    assert state["step"] == 4
    ranks = []
    for rank in range(world_size):
        part = Stream(
            system, batch_size=16, threads=threads, rank=rank, world_size=world_size, device="cpu"
        )
        if before_iter:
            part.load_state_dict(state)
            ranks.append(take(part, 5))
        else:
            batches = iter(part)
            next(batches)
            part.load_state_dict(state)
            ranks.append([next(batches) for _ in range(5)])
            batches.close()
    assert digest(rank_major(ranks)) == digest(whole[4:])


def test_at_a_far_step_nothing_before_it_is_made(counting):
    toy, made = counting
    stream = Stream(toy, batch_size=64, threads=0, device="cpu")
    stream.load_state_dict({**stream.state_dict(), "step": 10**9})
    sample = next(iter(stream))
    assert made == [64 * 10**9] == [sample.provenance.indices[0]]


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1), ("config_hash", "x"), ("batch_size", 5), ("split", "test"), ("version", 0)],
)
def test_a_state_of_another_stream_is_refused(system, key, value):
    stream = Stream(system, batch_size=16, device="cpu")
    with pytest.raises(ConfigError, match=f"state.{key}"):
        stream.load_state_dict({**stream.state_dict(), key: value})


@pytest.mark.parametrize("state", [None, [], 3, "state", {}, ["version"]], ids=str)
def test_what_is_no_state_is_refused(system, state):
    with pytest.raises(ConfigError, match="state"):
        Stream(system, batch_size=16, device="cpu").load_state_dict(state)


@pytest.mark.parametrize("change", [{"step": -1}, {"step": None}, {"step": 1.5}, {"step": 2**59},
                                    {"step": 10**30}, {"step": float("nan")}, {"num_failures": "x"},
                                    {"num_failures": -1}], ids=str)  # fmt: skip
def test_a_state_of_wrong_numbers_is_refused_and_changes_nothing(system, change):
    stream = Stream(system, batch_size=16, device="cpu", threads=0)
    before = stream.state_dict()
    with pytest.raises(ConfigError, match=f"state.{next(iter(change))}"):
        stream.load_state_dict(before | {"step": 7} | change)
    assert stream.state_dict() == before
    stream.load_state_dict(before | {"step": 2**59 - 1})
    assert int(next(iter(stream)).provenance.indices[-1]) == 2**63 - 1


def test_the_state_counts_what_was_delivered(system):
    stream = Stream(system, batch_size=16, threads=2, depth=8, device="cpu")
    take(stream, 5)
    assert stream.state_dict()["step"] == 5


def test_the_producer_is_never_more_than_depth_ahead(counting):
    toy, made = counting
    stream = Stream(toy, batch_size=1, threads=2, depth=3, device="cpu")
    batches = iter(stream)
    for delivered in range(1, 6):
        next(batches)
        time.sleep(0.02)
        assert max(made) + 1 <= delivered + 3
    batches.close()


def test_blas_has_one_thread_while_producers_run_and_its_own_number_after():
    def threads():
        return {x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"}

    before = threads()
    first, second = (produce(lambda n: n, 0, threads=1, depth=2) for _ in range(2))
    next(first), next(second)
    assert threads() == {1}
    first.close()
    assert threads() == {1}
    second.close()
    assert threads() == before


def test_early_break_joins_the_producers(toy):
    stream = Stream(toy(delay=0.05), batch_size=4, threads=4, depth=8, device="cpu")
    for _ in stream:
        break
    batches = iter(stream)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ipads-producer")]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_an_exception_reaches_the_user_with_index_and_parameters(toy, threads):
    stream = Stream(toy(raise_at=(21,)), batch_size=8, threads=threads, device="cpu")
    batches = iter(stream)
    next(batches)
    next(batches)
    with pytest.raises(SimulationError, match=r"sample 21: FloatingPointError.*level=0\.") as error:
        next(batches)
    assert error.value.index == 21
    assert set(error.value.params) == {"level"}


@pytest.mark.parametrize("threads", [0, 2])
def test_nonfinite_raise_names_the_sample(toy, threads):
    stream = Stream(toy(nan_at=(5,)), batch_size=8, threads=threads, device="cpu")
    with pytest.raises(SimulationError, match="sample 5: non-finite"):
        next(iter(stream))


@pytest.mark.parametrize("policy", ["substitute", "mask"])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_nonfinite_is_handled_alike_on_any_world_size(toy, policy, world_size):
    system = toy(nan_at=(5, 9, 30))
    whole = Stream(system, batch_size=8, on_nonfinite=policy, device="cpu")
    expected = take(whole, 5)
    ranks, events = [], []
    for rank in range(world_size):
        part = Stream(
            system,
            batch_size=8,
            on_nonfinite=policy,
            rank=rank,
            world_size=world_size,
            device="cpu",
        )
        ranks.append(take(part, 5))
        events += part.failures
    together = rank_major(ranks)
    assert digest(together) == digest(expected)
    weights = torch.cat([batch.weight for batch in together])
    bad = [5, 9, 30]
    assert weights[bad].tolist() == ([1.0] * 3 if policy == "substitute" else [0.0] * 3)
    assert sorted(e["index"] for e in events) == bad
    assert all("level" in e["params"] for e in events)
    signal = torch.cat([batch.inputs["signal"] for batch in together])
    assert torch.isfinite(signal).all()
    assert (signal[bad] == 0).all().item() == (policy == "mask")
    flags = np.concatenate([batch.provenance.substituted for batch in together])
    assert np.flatnonzero(flags).tolist() == bad


def test_stall_accounting_of_a_slow_simulator(toy, monkeypatch):
    clock = [0.0]

    class Slow(toy):
        def render(self, params, keys, xp):
            clock[0] += 0.03
            return super().render(params, keys, xp)

    monkeypatch.setattr(stream_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    stream = Stream(Slow(), batch_size=4, threads=0, device="cpu")
    batches = iter(stream)
    for step in (0.03, 0.04, 0.04):
        next(batches)
        measured = attrgetter("wait", "generation", "step")(stream.timings)
        assert measured == pytest.approx((0.03, 0.03, step))
        clock[0] += 0.01  # the training step
    batches.close()


def test_a_batch_is_repeated(system):
    plain = take(Stream(system, batch_size=8, device="cpu"), 2)
    twice = take(Stream(system, batch_size=8, repeat=2, device="cpu"), 4)
    assert digest(twice) == digest([plain[0], plain[0], plain[1], plain[1]])


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_repeated_batch_is_made_once_and_resumes_within_a_group(toy, threads, world_size):
    made = []

    class Counting(toy):
        def render(self, params, keys, xp):
            made.append(int(keys.indices[0]))
            return super().render(params, keys, xp)

    options = {"batch_size": 4, "repeat": 3, "device": "cpu", "on_nonfinite": "mask"}
    whole = take(Stream(toy(nan_at=(1, 5)), **options, threads=0), 9)
    ranks = []
    for rank in range(world_size):
        made.clear()
        part = Stream(
            Counting(nan_at=(1, 5)),
            **options,
            threads=threads,
            depth=1,
            rank=rank,
            world_size=world_size,
        )
        batches = iter(part)
        head = [next(batches) for _ in range(4)]
        assert len(made) == len(set(made)) <= 3
        batches.close()
        again = Stream(Counting(nan_at=(1, 5)), **options, rank=rank, world_size=world_size)
        again.load_state_dict(part.state_dict())
        tail = take(again, 5)
        assert [batch.provenance.step for batch in head + tail] == list(range(9))
        assert digest([again.batch(5)]) == digest([tail[1]])
        # Each failure counts once, with the first delivery of its batch.
        assert all(event["step"] % 3 == 0 for event in part.failures)
        ranks.append(head + tail)
    assert digest(rank_major(ranks)) == digest(whole)


def test_a_changed_batch_is_not_repeated(toy):
    first, second = [], []
    for batch in Stream(toy(), batch_size=4, repeat=2, device="cpu"):
        (second if first else first).append(batch.inputs["signal"].clone())
        batch.inputs["signal"].zero_()
        if second:
            break
    assert torch.equal(first[0], second[0])


def test_failures_count_when_they_are_delivered(toy):
    for threads, depth in ((0, 1), (1, 8), (4, 8)):
        stream = Stream(
            toy(nan_at=(1, 9, 17, 25)),
            batch_size=8,
            threads=threads,
            depth=depth,
            on_nonfinite="mask",
            device="cpu",
        )
        batches = iter(stream)
        for step in range(3):
            batch = next(batches)
            time.sleep(0.02)  # the producers go ahead
            assert stream.num_failures == len(stream.failures) == step + 1
            assert batch.provenance.failures == (stream.failures[-1],)
        batches.close()
    stream.sample([25])
    stream.batch(0)
    assert [(e["index"], e["step"]) for e in stream.failures[3:]] == [(25, -1), (1, 0)]


def test_only_the_last_failures_are_kept(toy):
    system = toy(nan_at=tuple(range(1500)))
    stream = Stream(system, batch_size=700, on_nonfinite="mask", device="cpu")
    take(stream, 3)
    assert stream.num_failures == 1500
    assert [event["index"] for event in stream.failures] == list(range(500, 1500))


def test_the_newer_of_two_iterators_takes_over(system):
    stream = Stream(system, batch_size=8, threads=2, device="cpu")
    older, newer = iter(stream), iter(stream)
    steps = [next(older).provenance.step, next(newer).provenance.step]
    with pytest.raises(RuntimeError, match="a newer iterator over this stream has taken over"):
        next(older)
    steps.append(next(newer).provenance.step)
    newer.close()
    assert steps == [0, 1, 2]
    assert stream.step == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("ipads-producer")]


def test_a_weight_of_the_system_is_kept(toy):
    class Weighted(toy):
        def render(self, params, keys, xp):
            sample = super().render(params, keys, xp)
            return replace(sample, weight=0.5 * (1 + keys.indices))

    for policy, replaced in (("mask", 0.0), ("substitute", 1.5)):
        stream = Stream(Weighted(nan_at=(2,)), on_nonfinite=policy, device="cpu")
        assert stream.sample(range(4)).weight.tolist() == [0.5, 1.0, replaced, 2.0]


def test_stored_repeats_and_fresh_draws_do_not(system):
    stream = Stream(Stored(system, 10), device="cpu")
    a, b = stream.sample(range(10)), stream.sample(range(10, 20))
    assert digest([a]) == digest([b])
    fresh = Stream(Stored(system, 10, fresh=("mask",)), device="cpu")
    c, d = fresh.sample(range(10)), fresh.sample(range(10, 20))
    assert torch.equal(c.targets["spectrum"], d.targets["spectrum"])
    assert not torch.equal(c.inputs["mask"], d.inputs["mask"])


def test_worker_processes_are_refused(system):
    loader = DataLoader(Stream(system, device="cpu"), batch_size=None, num_workers=1)
    with pytest.raises(RuntimeError, match="num_workers=0"):
        next(iter(loader))


def test_dataloader_without_workers(system):
    loader = DataLoader(Stream(system, batch_size=8, device="cpu"), batch_size=None)
    assert next(iter(loader)).inputs["fid"].shape == (8, 32)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0), ("batch_size", 1.5), ("threads", -1), ("depth", 0), ("repeat", 0),
        ("on_nonfinite", "ignore"), ("device", "tpu"), ("seed", -1), ("seed", "x"), ("split", ""),
    ],
)  # fmt: skip
def test_bad_arguments_name_the_key(system, key, value):
    with pytest.raises(ConfigError, match=key):
        Stream(system, **{"device": "cpu", key: value})


@pytest.mark.parametrize(
    ("rank", "world_size", "key"),
    [(0.5, 2, "rank"), (0, 1.5, "world_size"), (False, 1, "rank"), (0, 0, "world_size")],
)
def test_a_share_that_is_not_whole_is_refused(system, rank, world_size, key):
    with pytest.raises(ConfigError, match=f"^{key}="):
        Stream(system, rank=rank, world_size=world_size, device="cpu")


def test_a_batch_that_ranks_cannot_share_is_refused(system):
    with pytest.raises(ConfigError, match="multiple of the number of processes"):
        Stream(system, batch_size=10, rank=0, world_size=4, device="cpu")


@pytest.mark.slow
def test_memory_is_flat(toy):
    import resource

    stream = Stream(toy(points=64), batch_size=32, threads=1, device="cpu")
    batches = iter(stream)
    for _ in range(5_000):
        next(batches)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(30_000):
        next(batches)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches.close()
    assert after - before < 2_000  # kB


def test_a_state_counts_the_failures_before_its_step(toy):
    def stream():
        return Stream(toy(nan_at=(1, 6, 9)), batch_size=4, device="cpu", on_nonfinite="mask")

    whole, again = stream(), stream()
    take(whole, 3)
    assert whole.num_failures == 3
    again.load_state_dict(whole.state_at(2))
    assert again.num_failures == 2
    take(again, 1)
    assert (again.num_failures, [event["index"] for event in again.failures]) == (3, [9])
