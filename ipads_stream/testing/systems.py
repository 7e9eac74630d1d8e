"""What every system promises, and those that have a protocol more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.stream.blas import single_blas
from ipads_stream.systems import Bounded, Compared, Forward, Measurable, Quantified, System
from ipads_stream.testing.contract import (
    SINGLE,
    Need,
    Promise,
    Report,
    check_gradient,
    check_plain_data,
    close,
    dataclass_of,
    double,
    examine,
    finite,
    given,
    gpu,
    module,
    require,
    same_rows,
)

INSIDE = 0.9  # share of a target that the range of its quantity must hold
SPLIT = "contract"


@dataclass(frozen=True)
class _Case:
    system: System
    count: int
    seed: int
    without_noise: Callable[[Any, Sample], Mapping[str, Any]] | None
    forward_params: Callable[[Sample], Arrays] | None
    images: tuple[np.ndarray, np.ndarray | None] | None
    baselines: Sequence[str] | None

    def keys(self, indices: Sequence[int]) -> Keys:
        return Keys(self.seed, SPLIT, np.asarray(indices, dtype=np.uint64))

    def drawn(self, indices: Sequence[int]) -> Arrays:
        return self.system.draw(self.keys(indices), np.asarray(indices, dtype=float))

    def rendered(self, indices: Sequence[int]) -> Sample:
        with single_blas():  # as a stream does: sums of several threads have another order
            return self.system.render(self.drawn(indices), self.keys(indices), np)

    @cached_property
    def sample(self) -> Sample:
        return self.rendered(range(self.count))

    @cached_property
    def arguments(self) -> Arrays:
        """What ``forward`` reads, in double precision."""
        sample = self.sample
        params = sample.params if self.forward_params is None else self.forward_params(sample)
        return {name: double(np.asarray(values)) for name, values in params.items()}

    @property
    def orders(self) -> list[list[int]]:
        """Some samples alone, and all in another order."""
        return [[0], [self.count - 1], list(range(self.count))[::-1]]


def check_system(
    system: System,
    *,
    count: int = 5,
    seed: int = 0,
    without_noise: Callable[[Any, Sample], Mapping[str, Any]] | None = None,
    forward_params: Callable[[Sample], Arrays] | None = None,
    images: tuple[np.ndarray, np.ndarray | None] | None = None,
    baselines: Sequence[str] | None = None,
) -> Report:
    """Checks all that a system promises, and what the protocols that it has promise.

    Where CuPy sees a GPU, the samples that it renders are compared with those of the CPU.

    Args:
        system: of the package or of a user.
        count: samples that are made, at least 2.
        seed: of the samples.
        without_noise: (forward signal, sample) -> the inputs, by name, that a system whose noise is
            off renders; compared with those that it does render.
        forward_params: sample -> what ``forward`` reads, where that is not the drawn parameters.
        images: measured images and their axis, as ``system.measured`` takes them.
        baselines: names of the declared methods to run; None: all.

    Raises:
        ContractError: a broken promise.
    """
    case = _Case(system, count, seed, without_noise, forward_params, images, baselines)
    return examine(system, case, _PROMISES)


def _has(protocol: Any) -> Need:
    name = protocol.__name__
    return lambda case: None if isinstance(case.system, protocol) else f"it is not {name}"


def _protocol(case: _Case) -> None:
    require(isinstance(case.system, System), "it lacks name, draw or render")
    require(isinstance(case.system.name, str) and case.system.name, "its name is empty")


def _draws(case: _Case) -> None:
    whole = case.drawn(range(case.count))
    finite(whole, case.count)
    for rows in case.orders:
        same_rows(whole, rows, case.drawn(rows))


def _samples(case: _Case) -> None:
    whole = case.sample
    require(isinstance(whole, Sample), f"render gives {type(whole).__name__}, not Sample")
    for rows in case.orders:
        part = case.rendered(rows)
        same_rows(whole.inputs, rows, part.inputs)
        same_rows(whole.targets, rows, part.targets)
        if whole.weight is not None:
            same_rows({"weight": whole.weight}, rows, {"weight": part.weight})


def _finite(case: _Case) -> None:
    for group in (case.sample.inputs, case.sample.targets):
        require(group, "no inputs or no targets")
        finite(group, case.count)


def _weighted(case: _Case) -> str | None:
    return None if case.sample.weight is not None else "all samples count alike"


def _weights(case: _Case) -> None:
    finite({"weight": case.sample.weight}, case.count)
    weight = np.asarray(case.sample.weight)
    require(weight.ndim == 1, f"weights have shape {weight.shape}, not ({case.count},)")
    require((weight >= 0).all(), "some weights are negative")


def _ranges(case: _Case) -> None:
    assert isinstance(case.system, Quantified)
    for name, quantity in case.system.quantities.items():
        require(name in case.sample.targets, f"no target {name}")
        values = np.asarray(case.sample.targets[name])
        mask = (case.sample.inputs | case.sample.targets).get("mask")
        # A mask may be that of k-space, or of vectors and not of their components.
        if mask is not None and np.shape(mask) == values.shape:
            values = values[np.asarray(mask)]
        values = values[values != 0]  # where there is any
        if len(values):
            margin = 1e-6 * (abs(quantity.low) + abs(quantity.high))
            share = np.mean((values >= quantity.low - margin) & (values <= quantity.high + margin))
            require(share >= INSIDE, f"{share:.0%} of {name} lie in {quantity.low:g} to "
                    f"{quantity.high:g} (SI); the median is {np.median(values):g}")  # fmt: skip


def _streamed(case: _Case) -> None:
    from ipads_stream.stream.stream import Stream

    stream = Stream(case.system, seed=case.seed, split=SPLIT, device="cpu", threads=0)
    delivered = stream.sample(range(case.count))
    same_rows(case.sample.inputs, range(case.count), delivered.inputs)
    same_rows(case.sample.targets, range(case.count), delivered.targets)


def _on_gpu(case: _Case) -> None:
    from ipads_stream.stream.stream import Stream

    stream = Stream(case.system, seed=case.seed, split=SPLIT, device="cuda", threads=0)
    delivered = stream.sample(range(case.count))
    for group in ("inputs", "targets"):
        host = getattr(case.sample, group)
        found = {name: x.cpu().numpy() for name, x in getattr(delivered, group).items()}
        require(found.keys() == host.keys(), f"{group} are {sorted(found)}, not {sorted(host)}")
        for name, expected in host.items():
            if expected.dtype == bool:  # what lies at a threshold may fall to either side
                share = np.mean(found[name] != expected)
                require(share <= SINGLE, f"{share:.2%} of {name} differ")
            else:
                close(found[name], expected, SINGLE, name)


def _forward(case: _Case) -> None:
    assert isinstance(case.system, Forward)
    whole = np.asarray(case.system.forward(case.arguments))
    finite({"the signal": whole}, case.count)
    for rows in case.orders:
        part = case.system.forward({name: x[rows] for name, x in case.arguments.items()})
        close(part, whole[rows], 1e-9, f"the signal of samples {rows} alone")


def _noiseless(case: _Case) -> None:
    assert isinstance(case.system, Forward)
    if case.without_noise is not None:
        signal = case.system.forward(case.arguments)
        for name, expected in case.without_noise(signal, case.sample).items():
            close(case.sample.inputs[name], expected, SINGLE, name)


def _same_shape(name: str, values: Any, case: _Case) -> None:
    require(name in case.sample.targets, f"{name} is no target")
    shape, expected = np.shape(values), np.shape(case.sample.targets[name])
    require(shape == expected, f"{name} has shape {shape}, its target {expected}")


def _bounds(case: _Case) -> None:
    assert isinstance(case.system, Bounded)
    for name, values in case.system.bound(case.sample.params).items():
        _same_shape(name, values, case)
        require((np.asarray(values) >= 0).all(), f"{name} is negative or not a number")


def _baselines(case: _Case) -> None:
    from ipads_stream.baselines import classical_methods

    methods = classical_methods(case.system)
    inputs = {name: np.asarray(x) for name, x in case.sample.inputs.items()}
    for label in methods if case.baselines is None else case.baselines:
        estimates = methods[label](inputs)
        named = estimates.keys() & case.sample.targets.keys()
        require(named, f"{label} estimates {sorted(estimates)}, none of which is a target")
        for name in named:
            _same_shape(name, estimates[name], case)


def _measured(case: _Case) -> None:
    assert isinstance(case.system, Measurable)
    assert case.images is not None
    images, axis = case.images
    inputs, rendered = case.system.measured(images, axis), case.sample.inputs
    finite(inputs, len(next(iter(inputs.values()))))
    for name, values in inputs.items():
        require(name in rendered, f"{name} is no input of the network")
        kinds = [(np.asarray(x).dtype.kind, np.ndim(x)) for x in (values, rendered[name])]
        require(kinds[0] == kinds[1], f"{name} has kind and axes {kinds[0]}, rendered {kinds[1]}")


_IS_FORWARD = _has(Forward)
_PROMISES = [
    Promise("it has a name, draw and render", _protocol, "ipads_stream.systems.base.System"),
    Promise("draws are a function of seed, split and index", _draws,
            "system.draw(keys, progress) of one sample and of several"),
    Promise("samples are a function of seed, split and index", _samples,
            "system.render(params, keys, np) of one sample and of several"),
    Promise("samples are finite, batch axis first", _finite, "sample.inputs, sample.targets"),
    Promise("weights are not negative", _weights, "sample.weight", (_weighted,)),
    Promise("ranges of quantities hold the targets", _ranges, "system.quantities, sample.targets",
            (_has(Quantified),)),
    Promise("the stream delivers what is rendered", _streamed,
            "Stream(system, device='cpu').sample(indices)", (module("torch"),)),
    Promise("a GPU renders the samples of the CPU", _on_gpu,
            "Stream(system, device='cuda').sample(indices)", (module("torch"), gpu)),
    Promise("forward gives every sample its signal", _forward, "system.forward(params)",
            (_IS_FORWARD,)),
    Promise("without noise the inputs are those of the forward signal", _noiseless,
            "system.render(params, keys, np).inputs", (_IS_FORWARD, given("without_noise"))),
    Promise("gradients of forward are its differences",
            lambda case: check_gradient(case.system.forward, case.arguments),
            "system.forward(params) of tensors", (_IS_FORWARD, module("torch"))),
    Promise("bounds have the shape of the targets", _bounds, "system.bound(params)",
            (_has(Bounded),)),
    Promise("baselines answer with the shape of the targets", _baselines,
            "ipads_stream.baselines.classical_methods(system)", (_has(Compared),)),
    Promise("measured images become inputs", _measured, "system.measured(images, axis)",
            (_has(Measurable), given("images"))),
    Promise("its YAML builds its equal", lambda case: check_plain_data(case.system),
            "ipads_stream.config.instantiate(describe(system))",
            (dataclass_of("system"), module("hydra"))),
]  # fmt: skip
