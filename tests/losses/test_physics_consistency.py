"""The loss of Eq. 10: what it measures, what it teaches, and when."""

import numpy as np
import pytest
import torch

from ipads_stream.config import compose, instantiate, load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.losses.deep_supervision import DeepSupervision
from ipads_stream.losses.physics_consistency import (
    Forward,
    LinearWeight,
    PhysicsConsistency,
    Undersampling,
)
from ipads_stream.stream.stream import Stream


class Nothing(torch.nn.Module):
    """No supervision."""

    def forward(self, predictions, sample):
        return {}


@pytest.fixture(scope="module")
def system():
    overrides = ["points=32", "snr=null", "num_peaks=2", "decay=20", "rate=0.5"]
    return load_system("dlnmr", overrides)


@pytest.fixture(scope="module")
def sample(system):
    return Stream(system, device="cpu", batch_size=6).batch(2)


def always(indices):
    return np.ones(len(indices))


def test_the_truth_is_consistent(sample):
    loss = PhysicsConsistency(supervised=Nothing(), model=Undersampling(), weight=always)
    terms = loss({"spectrum": sample.targets["spectrum"]}, sample)
    torch.testing.assert_close(terms["consistency"], torch.full((6,), 1e-3), rtol=1e-3, atol=0)


def test_only_measured_points_count(sample):
    loss = PhysicsConsistency(supervised=Nothing(), model=Undersampling(), weight=always)
    mask = sample.inputs["mask"]

    def error(change):
        signal = torch.fft.ifft(
            torch.fft.ifftshift(sample.targets["spectrum"], dim=-1), norm="ortho"
        )
        spectrum = torch.fft.fftshift(torch.fft.fft(signal + change, norm="ortho"), dim=-1)
        return loss({"spectrum": spectrum}, sample)["consistency"]

    torch.testing.assert_close(error((~mask) * 3.0), torch.full((6,), 1e-3), rtol=1e-2, atol=0)
    norm = sample.inputs["fid"].abs().square().sum(1).sqrt()
    change = 0.1 * norm / mask.sum(1).sqrt()
    torch.testing.assert_close(
        error(mask * change[:, None]), torch.full((6,), 0.1), rtol=1e-3, atol=0
    )


def test_the_weight_is_a_function_of_the_sample_index(sample):
    weight = LinearWeight(first=0.2, last=1.0, begin=13, end=17)
    np.testing.assert_allclose(weight(sample.provenance.indices), [0.2, 0.2, 0.4, 0.6, 0.8, 1.0])
    loss = PhysicsConsistency(supervised=Nothing(), model=Undersampling(), weight=weight)
    zero = {"spectrum": torch.zeros_like(sample.targets["spectrum"])}
    torch.testing.assert_close(
        loss(zero, sample)["consistency"], torch.tensor([0.2, 0.2, 0.4, 0.6, 0.8, 1.0])
    )


def test_supervised_terms_are_kept_and_stay_last(sample):
    loss = PhysicsConsistency(supervised=DeepSupervision(), model=Undersampling(), weight=always)
    target = sample.targets["spectrum"]
    predictions = {"spectrum": target, "phases": torch.stack([0 * target, target])}
    terms = loss(predictions, sample)
    assert list(terms) == ["consistency", "phase_1", "phase_2"]
    alone = DeepSupervision()(predictions, sample)
    torch.testing.assert_close(terms["phase_1"], alone["phase_1"])


def test_the_forward_model_alone_teaches_the_parameters(system, sample):
    model = Forward(system=system, parameters=["amplitude"])
    loss = PhysicsConsistency(supervised=Nothing(), model=model, weight=always)
    truth = torch.as_tensor(sample.params["amplitude"], dtype=torch.float64)
    estimate = torch.full_like(truth, 0.5, requires_grad=True)
    optimizer = torch.optim.LBFGS([estimate], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        total = loss({"amplitude": estimate}, sample)["consistency"].sum()
        total.backward()
        return total

    optimizer.step(closure)
    torch.testing.assert_close(estimate.detach(), truth, rtol=0, atol=1e-3)


def test_from_yaml():
    node = compose(["loss=physics_consistency"])["loss"]
    loss = instantiate(node, "loss")
    assert isinstance(loss, PhysicsConsistency)
    np.testing.assert_allclose(loss.weight(np.array([0, 16000])), [0.0, 0.3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearWeight(first=-1), "first=-1: a finite number, at least 0"),
        (lambda: LinearWeight(begin=5, end=5), "end=5: a whole number, at least 6"),
        (lambda: Forward(system=object(), parameters=["amplitude"]), "system"),
        (lambda: Forward(system=load_system("dlnmr"), parameters="amplitude"), "parameters"),
        (lambda: PhysicsConsistency(supervised=Nothing(), model=None, weight=always), "model"),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
