"""Magnetisation of spins at the readouts of a sequence, beside the signal that it gives."""

import dataclasses

import numpy as np
import torch

from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences import gradient_echo

SEQUENCE = gradient_echo(matrix=8)


def phantom():
    rng = np.random.default_rng(0)
    position = rng.uniform(-0.1, 0.1, (12, 3)) * [1, 1, 0.01]
    return Phantom(position=position, df=rng.normal(0, 20, 12), T1=1.0, T2=0.08)


def test_it_sums_up_to_the_first_sample_of_each_readout():
    M = bloch.magnetisation(SEQUENCE, phantom())
    assert M.shape == (8, 12, 3)
    total = np.sum(M[..., 0] + 1j * M[..., 1], axis=-1)
    receiver = SEQUENCE.waveforms().receiver.reshape(8, -1)[:, 0]
    first = bloch.signal(SEQUENCE, phantom()).reshape(8, -1)[:, 0]
    np.testing.assert_allclose(total * np.exp(-1j * receiver), first, atol=1e-12)
    assert np.abs(first).min() > 1e-4


def test_it_starts_from_what_is_given():
    start = np.zeros((2, 12, 3))
    start[1, :, 2] = 1.0
    dark = bloch.magnetisation(SEQUENCE, phantom(), M=start[0])
    usual = bloch.magnetisation(SEQUENCE, phantom(), M=start[1])
    np.testing.assert_array_equal(usual, bloch.magnetisation(SEQUENCE, phantom()))
    assert np.abs(dark[0, :, :2]).max() < 0.1 * np.abs(usual[0, :, :2]).max()


def test_tensors_with_and_without_a_gradient():
    expected = bloch.magnetisation(SEQUENCE, phantom())
    for needed in (False, True):
        df = torch.tensor(phantom().df, requires_grad=needed)
        position = torch.tensor(phantom().position)
        M = bloch.magnetisation(SEQUENCE, dataclasses.replace(phantom(), position=position, df=df))
        np.testing.assert_allclose(M.detach().numpy(), expected, atol=1e-12)
    M[..., 0].sum().backward()
    step = 1e-4
    near = [
        bloch.magnetisation(SEQUENCE, dataclasses.replace(phantom(), df=phantom().df + x))
        for x in (-step, step)
    ]
    slope = (near[1] - near[0])[..., 0].sum(axis=0) / (2 * step)
    np.testing.assert_allclose(df.grad.numpy(), slope, atol=1e-6)
    assert np.abs(slope).max() > 1e-4
