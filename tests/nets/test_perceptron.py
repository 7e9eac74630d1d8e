"""The fully connected networks, plain and on projections."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream import ConfigError
from ipads_stream.nets.fingerprints import ProjectedPerceptron, singular_vectors
from ipads_stream.nets.perceptron import Perceptron
from ipads_stream.physics.epg.fingerprint import fingerprint
from ipads_stream.sequences.fingerprint_schedules import SineLobes

OUTPUTS = {
    "T2": {"low": 20, "high": 500, "unit": "ms", "scale": "log"},
    "f": {"low": 0, "high": 1},
}


def test_predictions_are_quantities_in_SI():
    net = Perceptron(inputs={"x": 3, "y": 1}, outputs=OUTPUTS, widths=[4], activation="relu")
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
        net.layers[2].bias.copy_(torch.tensor([1.0, -1.0]))
        found = net({"x": torch.randn(5, 3), "y": torch.randn(5), "other": torch.randn(2)})
    assert torch.allclose(found["T2"], torch.full((5,), 0.5))
    assert torch.allclose(found["f"], torch.zeros(5))


def test_features_are_used_in_the_order_of_the_configuration():
    net = Perceptron(inputs={"b": 1, "a": 2}, outputs={"f": OUTPUTS["f"]}, widths=[3])
    a, b = torch.randn(4, 2), torch.randn(4)
    expected = net.layers(torch.cat([b[:, None], a], dim=1))[:, 0] * 0.5 + 0.5
    assert torch.allclose(net({"a": a, "b": b})["f"], expected)


def test_a_bounded_end_keeps_predictions_within_their_range():
    net = Perceptron(inputs={"x": 2}, outputs=OUTPUTS, widths=[8], end="tanh")
    found = net({"x": 1e4 * torch.randn(200, 2)})
    assert found["T2"].min() >= 0.02 * (1 - 1e-5)
    assert found["T2"].max() <= 0.5 * (1 + 1e-5)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"inputs": {}}, "inputs"),
        ({"inputs": {"x": 0}}, "inputs.x"),
        ({"widths": []}, "widths"),
        ({"widths": [4, -1]}, "widths"),
        ({"activation": "sine"}, "activation"),
        ({"end": "clip"}, "end"),
        ({"outputs": {"T2": {"low": 1, "high": 0}}}, "T2"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changed, key):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        Perceptron(**({"inputs": {"x": 2}, "outputs": OUTPUTS} | changed))


class TestProjection:
    net = ProjectedPerceptron(
        schedule=SineLobes(num_frames=60), outputs={"T2": OUTPUTS["T2"]}, vectors=8, widths=[16]
    )

    def test_vectors_are_orthonormal_and_keep_the_fingerprints(self):
        vectors = self.net.vectors.double()
        assert torch.allclose(vectors.T @ vectors, torch.eye(8).double(), atol=1e-5)
        T1, T2 = np.array([0.3, 1.0, 2.5]), np.array([0.05, 0.08, 0.4])
        signal = np.imag(fingerprint(*SineLobes(num_frames=60).frames, T1=T1, T2=T2))
        signal /= np.linalg.norm(signal, axis=1, keepdims=True)
        lost = 1 - np.sum((signal @ vectors.numpy()) ** 2, axis=1)
        assert lost.max() < 1e-4  # of the squared norm, with 8 of 60

    def test_the_noise_is_told_from_what_the_vectors_leave(self):
        seen = {}
        self.net.perceptron.register_forward_pre_hook(lambda _, given: seen.update(given[0]))
        random = np.random.Generator(np.random.Philox(1))
        signal = self.net.vectors[:, 0].numpy() + random.normal(size=(3000, 60)) / (
            40 * math.sqrt(60)
        )
        signal /= np.linalg.norm(signal, axis=1, keepdims=True)
        self.net({"signal": torch.from_numpy(signal.astype(np.float32))})
        assert float(seen["log_snr"].mean()) == pytest.approx(math.log(40 / 50), abs=0.02)
        first = seen["coefficients"][:, 0] * self.net.scale[0]
        assert float(first.mean()) == pytest.approx(1, abs=0.01)

    def test_the_projection_is_the_same_every_time_and_kept_with_the_weights(self):
        again = ProjectedPerceptron(
            schedule=SineLobes(num_frames=60), outputs={"T2": OUTPUTS["T2"]}, vectors=8, widths=[16]
        )
        assert torch.equal(again.vectors, self.net.vectors)
        assert {"vectors", "scale"} <= set(self.net.state_dict())

    def test_more_vectors_than_frames_are_refused(self):
        with pytest.raises(ConfigError, match="vectors=60"):
            ProjectedPerceptron(
                schedule=SineLobes(num_frames=60), outputs={"T2": OUTPUTS["T2"]}, vectors=60
            )


def test_singular_vectors_are_those_of_the_decomposition():
    random = np.random.Generator(np.random.Philox(2))
    signals = random.normal(size=(50, 9))
    unit = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    found, squares = singular_vectors(signals, 4)
    _, s, V = np.linalg.svd(unit, full_matrices=False)
    assert np.allclose(squares, s[:4] ** 2 / 50)
    assert np.allclose(np.abs(np.sum(found * V[:4].T, axis=0)), 1)
    assert np.all(found.max(axis=0) >= -found.min(axis=0))
