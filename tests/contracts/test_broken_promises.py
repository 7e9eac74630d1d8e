"""Every promise can be broken: toys that break one each, and the error that says so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from ipads_stream import load_system
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import normal, uniform
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Distribution, Emphasized, Truncated, Uniform
from ipads_stream.distributions.given import UNCONDITIONAL
from ipads_stream.testing import (
    ContractError,
    check_distribution,
    check_net,
    check_simulator,
    check_system,
)

TE = np.array([0.01, 0.03, 0.06])


@dataclass(frozen=True, kw_only=True)
class Decay:
    """S = exp(-TE / T2) and noise; keeps every promise."""

    name: ClassVar[str] = "decay"
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("EchoTime", "s")
    baselines: ClassVar[dict[str, str]] = {"log": f"{__name__}.log_fit"}
    quantities: ClassVar[dict[str, Quantity]] = {"T2": Quantity(low=0.02, high=0.2, unit="ms")}

    snr: float = 100.0
    weight: float | None = 1.0

    def draw(self, keys, progress):
        return {"T2": 0.03 + 0.1 * uniform(keys["T2"])}

    def forward(self, params):
        T2 = params["T2"]
        xp = torch if isinstance(T2, torch.Tensor) else np
        return xp.exp(-xp.asarray(TE) / T2[:, None])

    def render(self, params, keys, xp):
        noise = 0.0 if self.snr == np.inf else normal(keys["noise"], (3,)) / self.snr
        count = len(params["T2"])
        return Sample(
            inputs={"signal": (Decay.forward(self, params) + noise).astype(np.float32)},
            targets={"T2": params["T2"].astype(np.float32)},
            params=params,
            weight=None if self.weight is None else np.full(count, self.weight, np.float32),
        )

    def bound(self, params):
        return {"T2": 0.01 * params["T2"]}

    def measured(self, images, axis):
        return {"signal": images.reshape(-1, 3).astype(np.float32)}


def log_fit(system):
    def fit(inputs):
        signal = np.maximum(inputs["signal"], 1e-3)
        return {"T2": (TE[2] - TE[0]) / np.maximum(np.log(signal[:, 0] / signal[:, 2]), 1e-3)}

    return fit


def column(system):
    return lambda inputs: {"T2": log_fit(system)(inputs)["T2"][:, None]}


IMAGES = np.random.default_rng(0).uniform(0.1, 1, (4, 5, 3))


def changed(result, **groups):
    return replace(result, **groups)


class Nameless(Decay):
    name = ""


class DrawsByPosition(Decay):
    def draw(self, keys, progress):
        return {"T2": np.linspace(0.03, 0.12, len(keys.indices))}


class ForgetsTheSeed(Decay):
    def render(self, params, keys, xp):
        sample = super().render(params, keys, xp)
        shift = np.float32(np.mean(sample.inputs["signal"]))
        return changed(sample, inputs={"signal": sample.inputs["signal"] + shift})


class Endless(Decay):
    def render(self, params, keys, xp):
        sample = super().render(params, keys, xp)
        return changed(sample, targets={"T2": sample.targets["T2"] * np.float32(np.inf)})


class Milliseconds(Decay):
    def render(self, params, keys, xp):
        sample = super().render(params, keys, xp)
        return changed(sample, targets={"T2": 1000 * sample.targets["T2"]})


class Slope(Decay):
    def forward(self, params):
        T2 = params["T2"]
        if isinstance(T2, torch.Tensor):
            T2 = T2.detach() + 0.5 * (T2 - T2.detach())
        return super().forward({"T2": T2})


class Negative(Decay):
    def bound(self, params):
        return {"T2": -params["T2"]}


class Column(Decay):
    baselines: ClassVar[dict[str, str]] = {"column": f"{__name__}.column"}


class Missing(Decay):
    baselines: ClassVar[dict[str, str]] = {"none": f"{__name__}.no_such_fit"}


class Complex(Decay):
    def measured(self, images, axis):
        return {"signal": images.reshape(-1, 3).astype(np.complex64)}


class Mean(Decay):
    def forward(self, params):
        signal = super().forward(params)
        return signal - signal.mean()


class Half(Decay):
    def render(self, params, keys, xp):
        sample = super().render(params, keys, xp)
        return changed(sample, inputs={"signal": 0.5 * sample.inputs["signal"]})


@dataclass(frozen=True, kw_only=True)
class Forgetful(Decay):
    made: list = field(default_factory=list, compare=True)

    def __post_init__(self):
        self.made.append(len(self.made))


@dataclass(kw_only=True)
class Thawed:
    __qualname__ = "Thawed"
    name: ClassVar[str] = "thawed"
    snr: float = 100.0
    draw = Decay.draw
    render = Decay.render
    forward = Decay.forward
    weight: float | None = None


SYSTEMS = {
    "it has a name": Nameless(),
    "draws are a function": DrawsByPosition(),
    "samples are a function": ForgetsTheSeed(),
    "samples are finite": Endless(),
    "weights are not negative": Decay(weight=-1.0),
    "ranges of quantities hold": Milliseconds(),
    "forward gives every sample": Mean(),
    "without noise the inputs": Half(snr=np.inf),
    "gradients of forward": Slope(),
    "bounds have the shape": Negative(),
    "baselines answer": Column(),
    "measured images become": Complex(),
    "its YAML builds": Forgetful(),
}


def as_signal(signal, sample):
    return {"signal": signal}


def test_a_right_system_passes():
    report = check_system(Decay(snr=np.inf), without_noise=as_signal, images=(IMAGES, None))
    assert set(report.skipped) <= {"a GPU renders the samples of the CPU"}
    assert "Decay: 14 promises kept" in str(report)


@pytest.mark.parametrize("promise", SYSTEMS)
def test_a_broken_system_is_named(promise):
    system = SYSTEMS[promise]
    noiseless = as_signal if "without noise" in promise else None
    with pytest.raises(ContractError, match=promise) as error:
        check_system(system, without_noise=noiseless, images=(IMAGES, None))
    assert error.value.subject == type(system).__name__
    assert error.value.see in str(error.value)


def test_a_baseline_that_is_not_there_is_named():
    with pytest.raises(ContractError, match=r"no_such_fit.*the full name of a function"):
        check_system(Missing())


def test_fields_that_can_be_set_are_refused():
    with pytest.raises(ContractError, match="frozen=True"):
        check_system(Thawed())


def test_what_is_not_there_is_skipped_with_the_reason():
    report = check_system(load_system("dlnmr"), baselines=())
    assert report.skipped["ranges of quantities hold the targets"] == "it is not Quantified"
    assert report.skipped["weights are not negative"] == "all samples count alike"


# Distributions


@dataclass(frozen=True, kw_only=True)
class Line(Distribution):
    """Uniform from 0 to 1; keeps every promise."""

    @property
    def support(self):
        return 0.0, 1.0

    def quantile(self, u, given=UNCONDITIONAL):
        return np.asarray(u, float)


class Squares(Line):
    def cdf(self, x, given=UNCONDITIONAL):
        return np.clip(np.asarray(x), 0, 1) ** 2


class Outside(Line):
    @property
    def support(self):
        return 0.0, 0.5


class Falls(Line):
    def quantile(self, u, given=UNCONDITIONAL):
        return 1 - np.asarray(u, float)

    def cdf(self, x, given=UNCONDITIONAL):
        return np.clip(np.asarray(x), 0, 1)


class NeverOne(Line):
    def cdf(self, x, given=UNCONDITIONAL):
        x = np.asarray(x, float)
        return np.where(x > 1.05, 0.9, np.clip(x, 0, 1))


class ByBatch(Line):
    def quantile(self, u, given=UNCONDITIONAL):
        u = np.asarray(u, float)
        return u if u.ndim < 2 else np.roll(u, 1, axis=0)

    def cdf(self, x, given=UNCONDITIONAL):
        return np.clip(np.asarray(x), 0, 1)


class Constantly(Line):
    def quantile(self, u, given=UNCONDITIONAL):
        u = np.asarray(u, float)
        return u if u.ndim < 2 else np.broadcast_to(u[:, :1], u.shape)


class Overweight(Emphasized):
    def importance(self, x):
        return 2 * super().importance(x)


DISTRIBUTIONS = {
    "draws follow": Squares(),
    "draws stay in the support": Outside(),
    "the quantile is the inverse": Falls(),
    "the cumulative distribution rises": NeverOne(),
    "draws are a function": ByBatch(),
    "seeds and positions": Constantly(),
    "weights undo": Overweight(distribution=Uniform(low=0, high=1), edges=[0.2], shares=[0.6, 0.4]),
    "what it depends on": Truncated(distribution=Uniform(low=0, high=1), below="other"),
}


def test_a_right_distribution_passes():
    report = check_distribution(Line(), others={"other": Uniform(low=0, high=1)})
    assert set(report.skipped) == {"weights undo the reshared draws"}


@pytest.mark.parametrize("promise", DISTRIBUTIONS)
def test_a_broken_distribution_is_named(promise):
    distribution = DISTRIBUTIONS[promise]
    with pytest.raises(ContractError, match=promise) as error:
        check_distribution(distribution)
    assert error.value.subject == type(distribution).__name__


# Simulators


def xp_of(x):
    if isinstance(x, torch.Tensor):
        return torch
    return np if isinstance(x, np.ndarray) else __import__("array_api_strict")


def decay(T2):
    return xp_of(T2).exp(-0.05 / T2)


def infinite(T2):
    return decay(T2) / 0.0


def by_the_mean(T2):
    return decay(T2) - xp_of(T2).mean(T2)


def in_place(T2):
    signal = decay(T2)
    if isinstance(T2, np.ndarray):
        T2 *= 2
    return signal


def doubled(T2):
    signal = decay(T2)
    return signal.astype(np.float64) if isinstance(T2, np.ndarray) else signal


def numpy_alone(T2):
    return np.exp(-0.05 / np.asarray(T2))


def another_in_torch(T2):
    return decay(T2) * (1.1 if isinstance(T2, torch.Tensor) else 1.0)


def no_gradient(T2):
    return decay(T2.detach() if isinstance(T2, torch.Tensor) else T2)


def half_a_gradient(T2):
    signal = decay(T2)
    if isinstance(T2, torch.Tensor):
        signal = signal.detach() + 0.5 * (signal - signal.detach())
    return signal


SIMULATORS = {
    "every sample has a finite": infinite,
    "results do not depend": by_the_mean,
    "arguments stay": in_place,
    "the precision is kept": doubled,
    "torch agrees": another_in_torch,
    "a strict array library": lambda T2: decay(T2) if isinstance(T2, (np.ndarray, torch.Tensor))
    else np.asarray(decay(T2)),
    "it is its formula": lambda T2: 1.01 * decay(T2),
    "gradients are": half_a_gradient,
    "torch sees no gradient": no_gradient,
    "arrays of torch give one of numpy": numpy_alone,
}  # fmt: skip


def test_a_right_simulator_passes():
    report = check_simulator(decay, {"T2": np.linspace(0.02, 0.1, 5)}, formula=decay)
    assert set(report.skipped) <= {"a GPU agrees with NumPy"}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("promise", SIMULATORS)
def test_a_broken_simulator_is_named(promise):
    formula = decay if "formula" in promise else None
    with pytest.raises(ContractError, match=promise):
        check_simulator(SIMULATORS[promise], {"T2": np.linspace(0.02, 0.1, 5)}, formula=formula)


# Networks


class Net(torch.nn.Module):
    """Two layers; keeps every promise."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )

    def forward(self, inputs):
        return {"T2": self.layers(inputs["signal"])[:, 0]}


class Columns(Net):
    def forward(self, inputs):
        return {"T2": self.layers(inputs["signal"])}


class Unnamed(Net):
    def forward(self, inputs):
        return {"T1": self.layers(inputs["signal"])[:, 0]}


class BySize(Net):
    def forward(self, inputs):
        prediction = super().forward(inputs)["T2"]
        return {"T2": prediction / len(prediction)}


class Scales(Net):
    def forward(self, inputs):
        inputs["signal"] /= 2
        return super().forward(inputs)


class Idle(Net):
    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Linear(3, 3)


NETS = {
    "predictions have the shape": Columns,
    "no prediction of T2": Unnamed,
    "predictions do not depend": BySize,
    "inputs stay": Scales,
    "idle.weight gets no gradient": Idle,
}


def test_a_right_network_passes_and_stays_in_its_mode():
    net = Net().train()
    assert not check_net(net, Decay()).skipped
    assert net.training


@pytest.mark.parametrize("promise", NETS)
def test_a_broken_network_is_named(promise):
    with pytest.raises(ContractError, match=promise) as error:
        check_net(NETS[promise](), Decay())
    assert error.value.subject == NETS[promise].__name__


def test_suites_import_no_torch():
    import subprocess
    import sys

    code = "import sys, ipads_stream.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
