"""What every network promises for the samples of a system."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ipads_stream.systems import Quantified, System
from ipads_stream.testing.contract import SINGLE, Promise, Report, close, examine, finite, require


@dataclass(frozen=True)
class _Case:
    net: Any
    system: System
    count: int

    @cached_property
    def sample(self) -> Any:
        from ipads_stream.stream.stream import Stream

        stream = Stream(self.system, split="contract", device="cpu", threads=0)
        return stream.sample(range(self.count))

    @property
    def asked(self) -> dict[str, Any]:
        """The quantities, or targets that are no inputs."""
        inputs, targets = self.sample.inputs, self.sample.targets
        names = set(targets) - set(inputs)
        if isinstance(self.system, Quantified):
            names = set(self.system.quantities)
        return {name: targets[name] for name in names}

    def predicted(self, rows: Sequence[int]) -> dict[str, Any]:
        import torch

        inputs = {name: x[list(rows)] for name, x in self.sample.inputs.items()}
        with torch.no_grad():
            return self.net(inputs)

    @cached_property
    def whole(self) -> dict[str, Any]:
        return self.predicted(range(self.count))


def check_net(net: Any, system: System, *, count: int = 4) -> Report:
    """Checks all that a network promises for the samples of a system.

    Args:
        net: a torch.nn.Module; forward(inputs) -> predictions, both by name, batch axis first.
        system: that makes the inputs and targets.
        count: samples that are made, at least 2.

    Raises:
        ContractError: a broken promise.
    """
    is_training = net.training
    net.eval()
    try:
        return examine(net, _Case(net, system, count), _PROMISES)
    finally:
        net.train(is_training)


def _shapes(case: _Case) -> None:
    require(isinstance(case.whole, dict), f"{type(case.whole).__name__}, not a dict")
    for name, target in case.asked.items():
        require(name in case.whole, f"no prediction of {name}; it gives {sorted(case.whole)}")
        prediction = case.whole[name]
        shape, expected = tuple(prediction.shape), tuple(target.shape)
        require(shape == expected, f"{name} has shape {shape}, its target {expected}")
        same = prediction.is_complex() == target.is_complex()
        require(same, f"{name} is {prediction.dtype}, its target {target.dtype}")
        finite({name: prediction}, case.count)


def _pure(case: _Case) -> None:
    for rows in ([0], list(range(case.count))[::-1]):
        part = case.predicted(rows)
        for name in case.asked:
            close(part[name], case.whole[name][rows], SINGLE, f"{name} of samples {rows} alone")


def _leaves_inputs(case: _Case) -> None:
    inputs = {name: x.clone() for name, x in case.sample.inputs.items()}
    case.net(inputs)
    for name, x in case.sample.inputs.items():
        require(x.equal(inputs[name]), f"it writes to {name}")


def _learns(case: _Case) -> None:
    case.net.zero_grad()
    predictions = case.net(case.sample.inputs).values()
    sum(p.abs().square().sum() for p in predictions if p.requires_grad).backward()
    for name, parameter in case.net.named_parameters():
        if parameter.requires_grad:
            require(parameter.grad is not None, f"{name} gets no gradient")
            require(parameter.grad.isfinite().all(), f"the gradient of {name} is not finite")
    case.net.zero_grad()


_PROMISES = [
    Promise("predictions have the shape of the targets", _shapes, "net(sample.inputs)"),
    Promise("predictions do not depend on batch and order", _pure,
            "net.eval()(inputs) of one sample and of several"),
    Promise("inputs stay as they were", _leaves_inputs, "net(inputs)"),
    Promise("gradients reach every parameter", _learns, "loss.backward(); net.named_parameters()"),
]  # fmt: skip
