"""What a training run takes, before it begins: of its batches, its network and its checkpoints."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import network_device, torch_threads
from ipads_stream.core.sample import Sample
from ipads_stream.stream.estimate import (
    Costs,
    Needs,
    check_needs,
    is_out_of_memory,
    sample_costs,
    within_memory,
)
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System
from ipads_stream.train.objectives import answered, summed
from ipads_stream.train.supervised import Supervised
from ipads_stream.train.transfer import Transfer

COPIES = 4  # of the weights: themselves, gradients and two moments of them
CHECKPOINTS = 3  # one, its successor while it is written, and the best
LINE = 600  # bytes of a step in the log


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """What a step of training takes besides its batch.

    Attributes:
        weights: bytes of the network.
        each: bytes that are kept of a sample for the gradient.
        seconds: of a sample, forward and backward.
    """

    weights: float
    each: float
    seconds: float


def step_costs(
    net: torch.nn.Module, loss: torch.nn.Module, tried: Sample, device: str
) -> StepCosts | None:
    """Measured on copies of the network and its loss; None where the trial fails, as training will.

    Raises:
        MemoryError: memory was refused.
    """
    cuda = [] if device == "cpu" else [torch.cuda.current_device()]
    try:
        with within_memory(device), torch.random.fork_rng(devices=cuda):
            net, loss = (copy.deepcopy(each).to(device) for each in (net, loss))
            weights = {x.untyped_storage().data_ptr(): x.nbytes for x in net.parameters()}
            one = _step(net, loss, tried.rows(slice(0, 1)).to(device), weights)
            started = time.perf_counter()
            all_of_them = _step(net, loss, tried.to(device), weights)
            seconds = (time.perf_counter() - started) / len(tried)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        return None
    each = max(all_of_them - one, 0) / max(len(tried) - 1, 1)
    return StepCosts(weights=sum(weights.values()), each=each, seconds=seconds)


def _step(
    net: torch.nn.Module, loss: torch.nn.Module, sample: Sample, weights: dict[int, int]
) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights aside."""
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return x

    with saved_tensors_hooks(note, lambda x: x):
        total = summed(answered(net, loss, sample)[1]).mean()
    total.backward()
    return sum(num_bytes for place, num_bytes in kept.items() if place not in weights)


def check_run(
    trainer: Supervised,
    streams: tuple[Stream, Stream],
    system: System,
    net: torch.nn.Module,
    loss: torch.nn.Module,
    config: dict[str, Any],
    output: Path,
) -> str:
    """Refuses a run that does not fit, by the key that is to be smaller; what a long or large one
    takes in words, "" of a small one. Nothing is known of measured samples.

    Raises:
        ConfigError: more memory or disk than is free.
    """
    trainer.check_processors()
    if isinstance(trainer, Transfer) and trainer.data is not None:
        return ""
    stream, validation = streams
    costs = sample_costs(system, seed=stream.seed, device=stream.device)
    if costs is None:
        return ""
    name = "batch_size" if stream.batch_size >= stream.depth else "depth"
    key, value = f"stream.{name}", getattr(stream, name)
    memory = max(costs.streamed(stream), validation.batch_size * costs.kept)
    check_needs(Needs(memory=memory), key, value, device=stream.device)
    rows = Needs(disk=LINE * (trainer.max_steps or 0) / trainer.log_every)
    check_needs(rows, "trainer.max_steps", trainer.max_steps, folder=output)
    device = network_device(config["device"])
    if device != "cpu" and torch.version.cuda is None:
        return ""
    try:
        with torch_threads(trainer.num_threads):
            step = step_costs(net, loss, costs.tried, device)
    except MemoryError as error:
        allowed = (
            f"less: {len(costs.tried)} samples on trial take more than the memory that is free"
        )
        raise ConfigError("net", config["net"].get("_target_"), allowed) from error
    if step is None:
        return ""
    samples = max(stream.batch_size, validation.batch_size) * trainer.passes
    network = COPIES * step.weights * (trainer.devices or 1) + samples * step.each
    elsewhere = device.partition(":")[0] != stream.device.partition(":")[0]
    needs = Needs(
        memory=network + (0.0 if elsewhere else memory),
        disk=CHECKPOINTS * (COPIES - 1) * step.weights + rows.disk,
        seconds=seconds_of(trainer, stream, costs, step),
    )
    return check_needs(needs, key, value, device=device, folder=output)


def seconds_of(trainer: Supervised, stream: Stream, costs: Costs, step: StepCosts) -> float:
    """About how long the run takes, its validations included: batches are made while it trains."""
    if trainer.max_time is not None:
        return trainer.max_time
    steps = trainer.steps(stream.batch_size)
    assert steps is not None
    made = costs.seconds / max(1, stream.threads) / stream.repeat
    trained = step.seconds * trainer.passes / trainer.processes
    each = stream.batch_size * (max(made, trained) if stream.threads else made + trained)
    validations = steps // trainer.val_every if trainer.val_every else 0
    return steps * each + validations * trainer.val_samples * (costs.seconds + step.seconds)
