"""Derivatives by hand inside torch: gradients, their limits, and who has to take the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream.core.handover import is_traced, is_transformed, wants_gradient, with_adjoint

# torch's imports of its own transforms warn.
OWN_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _product(z: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """z^2 x, and n without a gradient; by arrays."""

    def compute(z, x, n):
        assert all(isinstance(a, np.ndarray) for a in (z, x, n))
        return z**2 * x + n

    def pull_back(cotangent, z, x, n):
        return 2 * np.conj(z) * cotangent * x, np.real(cotangent * np.conj(z**2)), None

    return with_adjoint(compute, pull_back, z, x, n)


def _arguments(requires_grad: bool = True) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3)))
    x = torch.from_numpy(rng.normal(size=(4, 3)))
    return [z.requires_grad_(requires_grad), x.requires_grad_(requires_grad), x.detach() + 1]


def test_gradients_of_complex_and_of_real_arrays():
    assert torch.autograd.gradcheck(_product, _arguments())
    z, x, n = _arguments()
    views = {
        "conjugated": (z.conj, lambda: x),
        "strided": (lambda: z, lambda: (-x.T).T[:, [2, 1, 0]]),
        "expanded": (lambda: z[:1].expand(4, 3), lambda: x[::2][[0, 1, 0, 1]]),
    }
    for of_z, of_x in views.values():
        both = []
        for function in (_product, lambda z, x, n: z**2 * x + n):
            loss = (function(of_z(), of_x(), n).sum() * (1 + 2j)).real
            both.append(torch.autograd.grad(loss, (z, x)))
        for mine, theirs in zip(*both, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-12)


def test_gradients_have_the_types_of_the_tensors_and_only_who_asks_gets_one():
    z, x, n = _arguments(requires_grad=False)
    z, x = z.to(torch.complex64).requires_grad_(), x.float()
    out = _product(z, x, n)
    out.abs().sum().backward()
    assert z.grad.dtype == torch.complex64 and x.grad is None
    with torch.no_grad():
        assert not _product(z, x, n).requires_grad
    assert not _product(z.detach(), x, n).requires_grad


@pytest.mark.parametrize("scalar", [lambda out: out.abs().sum(), lambda out: out.sum().real])
def test_a_second_derivative_is_refused(scalar):
    z, x, n = _arguments()
    (slope,) = torch.autograd.grad(scalar(_product(z, x, n)), x, create_graph=True)
    with pytest.raises(RuntimeError, match="written by hand"):
        (slope.sum() + x.sum()).backward()


def test_what_was_overwritten_is_noticed():
    z, x, n = _arguments()
    out = _product(z, x * 1, n)
    with torch.no_grad():
        z += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.abs().sum().backward()


def test_a_wrong_number_of_gradients_is_an_error():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="zip"):
        with_adjoint(lambda x: 2 * x, lambda c, x: (c, c), x).sum().backward()


@OWN_WARNINGS
def test_who_is_followed_how():
    x = torch.ones(2)
    wants, seen = x.clone().requires_grad_(), []
    assert (wants_gradient(wants), is_transformed(wants), is_traced(wants)) == (True, False, True)
    assert not is_traced(x)
    with torch.no_grad():
        assert not is_traced(wants)

    def look(x):
        seen.append((wants_gradient(x), is_transformed(x), is_traced(x)))
        return x.sum()

    torch.vmap(look)(x)
    torch.func.grad(look)(x)
    torch.func.jvp(look, (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        look(torch.autograd.forward_ad.make_dual(x, x))
    assert seen == [(False, True, True)] * 4


@OWN_WARNINGS
def test_a_graph_that_is_compiled_is_a_transform():
    follow = torch.compile(lambda x: x + is_transformed(x), backend="eager")
    assert follow(torch.ones(2)).tolist() == [2, 2]
