"""Batches rendered by a graph: those of the same launches one by one, where it can be recorded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from test_streams import ADAPTIVE, same, taken
from test_systems_emulated import GUIDE, SYSTEMS, small

from ipads_stream import ConfigError, Stream, load_system
from ipads_stream.core.random import Keys, normal, uniform
from ipads_stream.core.sample import Sample


def stream_of(system, **options):
    return Stream(system, device="cuda", **{"batch_size": 3, "threads": 0, **options})


def recorded():
    """Launches of a batch of a graph, by system; None where the guide says that there is none."""
    lines = [line.strip("| ").split(" | ") for line in GUIDE.read_text().splitlines()]
    rows = {cells[0]: cells[2] for cells in lines if len(cells) == 3 and cells[0] in SYSTEMS}
    return {name: int(count) if count.isdecimal() else None for name, count in rows.items()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_batches_are_those_of_single_launches_or_refused_by_name(name, gpu):
    system, launches = small(name), recorded()[name]
    plain, graphed = stream_of(system), stream_of(system, graphs=True)
    if launches is None:
        with pytest.raises(
            ConfigError, match=f"graphs=True.*render of {system.name} asks the host"
        ):
            graphed.batch(0)
        return
    kept = [graphed.batch(step) for step in range(3)]  # none is written over by a later one
    for step, batch in enumerate(kept):
        assert_same_bits(batch, plain.batch(step))
    assert_same_bits(graphed.sample([7]), plain.sample([7]))  # of another size: not by the graph
    with gpu.of() as counts:
        graphed.batch(3)
    assert counts.uploads.total() == 1
    assert counts.synchronisations.total() <= 2
    assert counts.launches.total() <= launches


def assert_same_bits(batch, other):
    same(batch, other)
    for group in ("inputs", "targets"):
        for name, tensor in getattr(other, group).items():
            assert torch.equal(getattr(batch, group)[name].cpu(), tensor.cpu()), name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """Noise on a level; not a number where the level is high."""

    name = "level"

    def draw(self, keys, progress):
        return {"level": uniform(keys["level"])}

    def render(self, params, keys, xp):
        level = xp.asarray(params["level"], dtype=xp.float32)
        signal = normal(keys["noise"], (8,), xp) + level[:, None]
        signal = xp.where(level[:, None] > 0.8, xp.nan, signal)
        return Sample({"signal": signal}, {"level": level}, params)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("policy", ["mask", "substitute"])
def test_threads_and_substitutes_are_those_of_single_launches(threads, policy, gpu):
    options = {"on_nonfinite": policy, "threads": threads}
    graphed = stream_of(Level(), graphs=True, **options)
    pairs = zip(taken(graphed, 6), taken(stream_of(Level(), **options), 6), strict=True)
    for batch, other in pairs:
        assert_same_bits(batch, other)
    assert graphed.num_failures > 0


def test_streams_without_a_fixed_render_are_refused(gpu):
    with pytest.raises(ConfigError, match="graphs=True: false on cpu"):
        Stream(Level(), device="cpu", graphs=True)
    with pytest.raises(ConfigError, match="distributions that do not adapt, for graphs"):
        stream_of(load_system("dlnmr", ["points=16", ADAPTIVE]), graphs=True)
    with pytest.raises(ConfigError, match="graphs=1"):
        stream_of(Level(), graphs=1)
    graphed = stream_of(Level(), graphs=True, on_nonfinite="mask")
    graphed.batch(0)
    other = {"level": np.zeros(3, np.float32)}  # float64 before
    with pytest.raises(ConfigError, match="changes its shape or type"):
        graphed.table.system.render(other, Keys(0, "train", np.arange(3)), graphed.xp)


# What the stand-in lets a capture do: what a device would


def captured(work):
    """A graph of what ``work`` does on a stream of its own."""
    import cupy

    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream), cupy.cuda.Stream.from_external(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
    return graph, stream


def test_nothing_runs_until_the_graph_is_launched(gpu):
    import cupy

    x = cupy.arange(3.0)
    torch.cuda.synchronize()
    made = {}

    def work():
        made["y"] = cupy.exp(x[::-1]) + 1
        x[0] = 5.0

    graph, stream = captured(work)
    torch.cuda.synchronize()
    assert x.get().tolist() == [0, 1, 2] and np.isnan(made["y"].get()).all()
    for expected in ([0, 1, 2], [5, 1, 2]):
        with torch.cuda.stream(stream):
            graph.replay()
        torch.cuda.synchronize()
        assert np.array_equal(made["y"].get(), np.exp(expected[::-1]) + 1)
    assert x.get().tolist() == [5, 1, 2]


def test_a_capture_refuses_what_a_device_refuses(gpu):
    import cupy

    x = cupy.ones((2, 2))
    torch.cuda.synchronize()
    other = cupy.cuda.Stream(non_blocking=True)

    def elsewhere():
        with other:
            cupy.exp(x)

    for work in (
        lambda: x.get(),
        lambda: float(x[0, 0]),
        lambda: cupy.asarray(np.ones(2)),
        lambda: x.set(np.ones((2, 2))),
        lambda: x[x > 0],
        lambda: cupy.nonzero(x),
        lambda: cupy.cuda.get_current_stream().synchronize(),
        lambda: x @ x,
        lambda: cupy.einsum("ij,jk->ik", x, x),
        lambda: torch.ones(2, device="cuda") + 1,
        elsewhere,
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match="apture"):
            captured(work)
    captured(lambda: cupy.einsum("ij->i", x))
    with pytest.raises(RuntimeError, match="non-default stream"):
        torch.cuda.CUDAGraph().capture_begin()
    with pytest.raises(RuntimeError, match="without a preceding"):
        torch.cuda.CUDAGraph().replay()
