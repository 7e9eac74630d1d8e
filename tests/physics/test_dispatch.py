"""Which of kernel, formula and adjoint computes, for every kind of array, by a toy simulator."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.core.backend import namespace
from ipads_stream.physics.dispatch import dispatched

X, A = np.array([1.0, 2.0, 3.0]), 2.0


class Toy:
    """x -> a x^2, which counts who computes."""

    def __init__(self, has_adjoint=True):
        self.calls, self.has_adjoint = [], has_adjoint

    def __call__(self, x, a=A):
        def kernel(out, given):
            assert type(out) is np.ndarray and type(given["x"]) is np.ndarray
            self.calls.append("kernel")
            out[...] = given["a"] * given["x"] ** 2

        def formula():
            self.calls.append("formula")
            return a * x**2

        def adjoint(cotangent, given, wanted):
            self.calls.append("adjoint")
            slopes = {"x": 2 * given["a"] * given["x"] * cotangent,
                      "a": np.asarray(np.sum(given["x"] ** 2 * cotangent))}  # fmt: skip
            return {name: slopes[name] for name in wanted}

        return dispatched(
            {"x": x, "a": a}, kernel, formula, like=x, shape=tuple(x.shape), dtype="float64",
            adjoint=adjoint if self.has_adjoint else None,
        )  # fmt: skip


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_plain_arrays_run_in_the_kernel(convert):
    toy, x = Toy(), convert(X)
    out = toy(x)
    assert toy.calls == ["kernel"]
    assert namespace(out) is namespace(x)
    np.testing.assert_array_equal(np.asarray(out), A * X**2)


def test_other_libraries_take_the_formula():
    toy = Toy()
    out = toy(array_api_strict.asarray(X))
    assert toy.calls == ["formula"]
    np.testing.assert_array_equal(np.asarray(out), A * X**2)


def test_a_gradient_is_that_of_the_adjoint():
    toy, x = Toy(), torch.from_numpy(X).requires_grad_()
    a = torch.tensor(A, dtype=torch.float64, requires_grad=True)
    out = toy(x, a)
    assert toy.calls == ["kernel"]
    slopes = torch.autograd.grad(out.sum(), (x, a))
    assert toy.calls == ["kernel", "adjoint"]
    np.testing.assert_array_equal(slopes[0], 2 * A * X)
    assert slopes[1] == np.sum(X**2)
    with torch.no_grad():
        assert not toy(x, a).requires_grad
    assert toy.calls[-1] == "kernel"


def test_only_wanted_slopes_are_asked_for():
    toy, x = Toy(), torch.from_numpy(X).requires_grad_()
    toy(x, torch.tensor(A, dtype=torch.float64)).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * A * X)


def test_a_gradient_without_an_adjoint_is_that_of_the_formula():
    toy, x = Toy(has_adjoint=False), torch.from_numpy(X).requires_grad_()
    (slope,) = torch.autograd.grad(toy(x).sum(), x)
    assert toy.calls == ["formula"]
    np.testing.assert_array_equal(slope, 2 * A * X)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_transforms_take_the_formula():
    toy, x = Toy(), torch.from_numpy(X)
    transforms = (torch.vmap(toy), torch.func.jacfwd(toy), torch.func.jacrev(toy))
    expected = (A * X**2, np.diag(2 * A * X), np.diag(2 * A * X))
    for transform, values in zip(transforms, expected, strict=True):
        np.testing.assert_array_equal(transform(x), values)
    assert {*toy.calls} == {"formula"}
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        toy(dual)
    assert toy.calls[-1] == "formula"


def test_a_graph_being_compiled_takes_the_formula(monkeypatch):
    toy = Toy()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    toy(torch.from_numpy(X))
    assert toy.calls == ["formula"]


def test_what_is_a_number_is_handed_on():
    toy = Toy()
    np.testing.assert_array_equal(toy(X, 3), 3 * X**2)


@pytest.mark.gpu
def test_the_gpu_gets_arrays_of_cupy():
    import cupy

    def kernel(out, given):
        assert isinstance(out, cupy.ndarray) and isinstance(given["x"], cupy.ndarray)
        out[...] = given["x"] + 1

    for x in (cupy.asarray(X), torch.from_numpy(X).cuda()):
        out = dispatched({"x": x}, kernel, lambda: None, like=x, shape=(3,), dtype="float64")
        assert type(out) is type(x)
        np.testing.assert_array_equal(np.asarray(out.tolist()), X + 1)
