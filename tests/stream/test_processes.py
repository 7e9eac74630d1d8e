"""Streams in other processes and threads: forked, pickled, collected."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import time

import pytest

from ipads_stream import Stream, load_system
from ipads_stream.config import conf_dir
from ipads_stream.stream.produce import produce
from ipads_stream.stream.replay import digest

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))
VOLUME = ["shape=[12,10,8]"]
SMALL = {
    "deepspio": VOLUME,
    "drone": ["schedule.num_frames=30"],
    "oled": ["sequence.matrix=32"],
    "qsmnet": VOLUME,
    "qsmnet_unrolled": VOLUME,
}


def forked(work, seconds=120):
    """Exit code of work in a forked child; a child that hangs is killed."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fork_after_iterating_began_is_refused_and_starts_anew(toy, threads):
    stream = Stream(toy(), batch_size=4, device="cpu", threads=threads, depth=2)
    batches = iter(stream)
    next(batches)

    def in_child():
        try:
            next(batches)
        except RuntimeError as error:
            again = iter(stream)
            first = next(again)
            again.close()
            expected = stream.sample(range(4, 8))
            equal = digest(first, 2) == digest(expected, 2)
            return 0 if "forked after iterating began" in str(error) and equal else 1
        return 2

    assert forked(in_child) == 0
    assert next(batches).provenance.step == 1  # of the parent
    batches.close()


def test_an_iterator_that_a_forked_child_forgets_does_not_hang_it(toy):
    stream = Stream(toy(), batch_size=4, device="cpu", threads=2)
    kept = [iter(stream)]
    next(kept[0])

    def in_child():
        kept.clear()
        gc.collect()
        return 0

    assert forked(in_child) == 0
    kept[0].close()


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_and_streams_pickle_and_go_on(name):
    system = load_system(name, SMALL.get(name, []))
    stream = Stream(system, seed=2, batch_size=2, device="cpu", threads=1, on_nonfinite="mask")
    batches = iter(stream)
    next(batches)
    copied_system, copied = pickle.loads(pickle.dumps((system, stream)))  # with what it keeps
    assert copied_system == system and copied.state_dict() == stream.state_dict()
    again = iter(copied)
    assert digest(next(again), 1) == digest(next(batches), 1)
    again.close()
    batches.close()


@pytest.mark.parametrize("name", SYSTEMS)
def test_resuming_takes_no_time_at_any_step(name):
    stream = Stream(load_system(name, SMALL.get(name, [])), batch_size=64, device="cpu", threads=0)

    def calls(step):
        state, count = stream.state_at(step), [0]
        gc.collect()
        gc.disable()  # what the collector ends on the way counts as calls, too
        sys.setprofile(lambda *_: count.__setitem__(0, count[0] + 1))
        try:
            stream.load_state_dict(state)
        finally:
            sys.setprofile(None)
            gc.enable()
        assert stream.step == step
        return count[0]

    calls(1)  # what is made once
    assert calls(1) == calls(10**9) < 1000


def test_an_iterator_that_its_own_producer_collects_ends_in_silence(monkeypatch):
    said, go = [], threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: said.append(problem.exc_value))
    kept = []

    def make(number):
        if number == 1:
            go.wait(10)
            kept.clear()  # the last reference
        return number

    kept.append(produce(make, 0, threads=1, depth=2))
    assert next(kept[0])[0] == 0
    producers = [t for t in threading.enumerate() if t.name.startswith("ipads-producer")]
    go.set()
    for thread in producers:
        thread.join(10)
    assert producers and not any(thread.is_alive() for thread in producers)
    assert not kept and said == []
