"""Adapting a network to a few samples by gradient descent: the inner loop, and at test time.

theta_0 = theta, theta_(k+1) = theta_k - a grad L_support(theta_k). Training that starts from here
(train/meta.py) and adapting to somebody's data run the same steps.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.train.named import matching
from ipads_stream.train.objectives import Objective, Predict, weighted

Weights = dict[str, Tensor]


def with_weights(net: torch.nn.Module, weights: Weights) -> Predict:
    """The network as a function, with some of its parameters replaced."""
    return lambda inputs: functional_call(net, weights, (inputs,))


def total(objective: Objective, predict: Predict, sample: Sample, step: int) -> Tensor:
    """The objective as one number: its terms summed, the samples' weighted mean taken."""
    terms = objective(predict, sample, step)
    return weighted(torch.stack(list(terms.values())).sum(0), sample.weight)


def descend(
    net: torch.nn.Module,
    weights: Weights,
    samples: Sequence[Sample],
    *,
    rate: float,
    objective: Objective,
    second_order: bool = False,
) -> Weights:
    """Weights after one step of gradient descent on each of the batches, in order.

    Args:
        net: inputs -> predictions.
        weights: to start from, by name; parameters that are not named here stay.
        samples: the batch of each step.
        rate: a, of the steps.
        objective: what falls.
        second_order: keep the graph through the gradients, so that the derivative of the result
            by ``weights`` is exact; else they count as constants, and it is the identity.
    """
    names = list(weights)
    for step, sample in enumerate(samples):
        loss = total(objective, with_weights(net, weights), sample, step)
        slopes = torch.autograd.grad(
            loss, list(weights.values()), create_graph=second_order, materialize_grads=True
        )
        weights = {n: weights[n] - rate * g for n, g in zip(names, slopes, strict=True)}
    return weights


def adapt(
    net: torch.nn.Module,
    samples: Sample,
    *,
    steps: int,
    rate: float,
    loss: Objective,
    adapted: Sequence[str] = ("*",),
) -> torch.nn.Module:
    """A copy of the network after gradient descent on a few samples.

    Args:
        net: stays as it is.
        samples: simulated, or of ``measured_samples``.
        steps: of gradient descent; 0: a plain copy.
        rate: of the steps.
        loss: ``HiddenPoints()`` where nothing but the measured points is known, ``Targets(loss)``
            where the samples have targets.
        adapted: patterns of the names of the parameters that change.

    Raises:
        ConfigError: an argument that makes no sense, a pattern that matches no parameter.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError("steps", steps, "a whole number, at least 0")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 1e6:
        raise ConfigError("rate", rate, "a number above 0")
    copied = copy.deepcopy(net)
    own = dict(copied.named_parameters())
    start = {
        name: own[name].detach().requires_grad_() for name in matching(own, adapted, key="adapted")
    }
    with torch.inference_mode(False), torch.enable_grad():
        found = descend(copied, start, [samples] * steps, rate=rate, objective=loss)
    with torch.no_grad():
        for name, value in found.items():
            own[name].copy_(value)
    return copied
