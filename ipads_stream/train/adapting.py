"""Adapting a network to a few samples by gradient descent: the inner loop, and at test time.

theta_0 = theta, theta_(k+1) = theta_k - a grad L_support(theta_k). Training that starts from here
(train/meta.py) and adapting to a user's data run the same steps.
"""

import copy
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Whole
from ipads_stream.core.sample import Sample
from ipads_stream.train.objectives import Objective, Predict, summed, weighted

Weights = dict[str, Tensor]


def matching(names: Iterable[str], patterns: Sequence[str], *, key: str) -> list[str]:
    """The names that a pattern such as "*.bias" matches, in their order; ConfigError by ``key``
    where patterns are no list of text, or one of them matches no name."""
    names = list(names)
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise ConfigError(key, patterns, 'a list of patterns such as ["blocks.0.*"]')
    for pattern in patterns:
        if not isinstance(pattern, str) or not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:3] + (["..."] if len(names) > 4 else []) + names[-1:])
            raise ConfigError(key, pattern, f"a pattern that matches a parameter: {shown}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def with_weights(net: torch.nn.Module, weights: Weights) -> Predict:
    """The network as a function, with some of its parameters replaced."""
    return lambda inputs: functional_call(net, weights, (inputs,))


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

    Parameters without a name in ``weights`` stay. With ``second_order`` the derivative of the
    result by ``weights`` is exact; else gradients count as constants, and it is the identity.
    """
    gradient = partial(torch.autograd.grad, create_graph=second_order, materialize_grads=True)
    for step, sample in enumerate(samples):
        errors = summed(objective(with_weights(net, weights), sample, step))
        slopes = gradient(weighted(errors, sample.weight), list(weights.values()))
        weights = {n: x - rate * g for (n, x), g in zip(weights.items(), slopes, strict=True)}
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
    Whole(low=0)("steps", steps)
    Number(above=0, below=1e6)("rate", rate)
    copied = copy.deepcopy(net)
    parameters = dict(copied.named_parameters())
    names = matching(parameters, adapted, key="adapted")
    start = {name: parameters[name].detach().requires_grad_() for name in names}
    with torch.inference_mode(False), torch.enable_grad():
        fast = descend(copied, start, [samples] * steps, rate=rate, objective=loss)
    with torch.no_grad():
        for name, value in fast.items():
            parameters[name].copy_(value)
    return copied
