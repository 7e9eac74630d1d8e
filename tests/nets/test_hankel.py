"""Hankel products against the matrix itself, and the factors against its singular values."""

import math

import pytest
import torch

from ipads_stream.nets.dhmf import (
    antidiagonal_mean,
    counts,
    hankel_times,
    harmonics,
    update_factors,
)


def hankel(x, width):
    return x.unfold(-1, width, 1)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex128)


@pytest.mark.parametrize(("points", "width"), [(32, 17), (31, 16), (16, 5), (12, 12), (9, 1)])
def test_products_are_those_of_the_matrix(points, width):
    x, q = random(3, points), random(3, width, 4, seed=1)
    p = hankel(x, width) @ q
    torch.testing.assert_close(hankel_times(x, q), p)
    torch.testing.assert_close(hankel_times(x.conj(), p), hankel(x, width).mH @ p)


@pytest.mark.parametrize(("points", "width"), [(32, 17), (16, 5), (9, 1)])
def test_antidiagonal_mean_is_the_mean(points, width):
    p, q = random(2, points - width + 1, 3), random(2, width, 3, seed=1)
    matrix = (p @ q.mH).flip(-2)
    rows = points - width + 1
    offsets = range(1 - rows, width)
    expected = torch.stack([matrix.diagonal(k, -2, -1).mean(-1) for k in offsets], dim=-1)
    torch.testing.assert_close(antidiagonal_mean(p, q), expected)
    lengths = torch.tensor([matrix.diagonal(k, -2, -1).shape[-1] for k in offsets])
    torch.testing.assert_close(counts(points, width, torch.device("cpu")), lengths)


def test_a_signal_is_the_mean_over_its_own_hankel_matrix():
    x = random(2, 20)
    identity = torch.eye(11, dtype=x.dtype).expand(2, -1, -1)
    torch.testing.assert_close(antidiagonal_mean(hankel_times(x, identity), identity), x)


def test_repeated_updates_shrink_singular_values_as_stated():
    x = random(3, 24)
    width = 13
    left, values, right = torch.linalg.svd(hankel(x, width), full_matrices=False)
    threshold = 0.5 * (values[:, 4] + values[:, 5])
    q = random(3, width, 12, seed=2)
    for _ in range(800):
        p, q = update_factors(x, q, threshold)
    square = threshold.square()[:, None]
    kept = torch.where(values > threshold[:, None], values - square / values, 0)
    assert ((kept > 0).sum(-1) == 5).all()
    expected = (left * kept[:, None]).to(x.dtype) @ right
    torch.testing.assert_close(p @ q.mH, expected, rtol=1e-6, atol=1e-6)


def test_one_exponential_is_found_at_once_and_its_gradient_is_finite():
    time = torch.arange(32, dtype=torch.float64)
    x = torch.exp((2j * math.pi * 0.21 - 0.05) * time)[None].requires_grad_()
    p, q = update_factors(x, harmonics(17, 8, x), torch.tensor([1e-6]))
    torch.testing.assert_close(antidiagonal_mean(p, q), x, rtol=1e-6, atol=1e-6)
    antidiagonal_mean(p, q).abs().sum().backward()
    assert torch.isfinite(torch.view_as_real(x.grad)).all()


def test_gradients_of_an_update():
    x, q = random(1, 12).requires_grad_(), random(1, 7, 3, seed=1).requires_grad_()
    threshold = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: antidiagonal_mean(*update_factors(*inputs)), (x, q, threshold)
    )
