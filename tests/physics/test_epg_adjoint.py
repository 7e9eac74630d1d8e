"""Gradients of the phase graphs through their kernels: against differences and the formula."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.core import handover
from ipads_stream.physics import epg


def _case(num=40, atoms=19, one_axis=False, seed=0):
    rng = np.random.default_rng(seed)
    phase = 0.4 + np.pi * rng.integers(0, 4, num) if one_axis else rng.uniform(-9, 9, num)
    TR = rng.uniform(0.008, 0.02, num)
    train = [rng.uniform(-0.2, 1.6, num), phase, TR, 0.4 * TR]
    T1 = rng.uniform(0.3, 2, atoms)
    tissue = [T1, T1 * rng.uniform(0.03, 0.8, atoms), rng.uniform(0.6, 1.3, atoms)]
    return train, tissue, rng.uniform(0, 0.5, atoms)


def _tensors(*arrays, dtype=torch.float64):
    return [torch.from_numpy(np.array(x)).to(dtype).requires_grad_() for x in arrays]


def _loss(signal, seed=1):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((*signal.shape, 2))
    return (torch.view_as_real(signal) * torch.from_numpy(weight).to(signal.real.dtype)).sum()


@pytest.fixture
def only_kernels(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the formula ran")

    monkeypatch.setattr(epg, "fisp_formula", fail)
    monkeypatch.setattr(epg, "cpmg_formula", fail)


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("one_axis", [True, False])
@pytest.mark.parametrize("orders", [3, 8])
def test_gradients_of_fisp_against_differences(one_axis, orders):
    train, tissue, TI = _case(13, 4, one_axis)
    inputs = _tensors(*train, *tissue, TI)
    real = lambda *x: torch.view_as_real(epg.fisp(*x, orders=orders))  # noqa: E731
    assert torch.autograd.gradcheck(real, inputs)
    phase = inputs[1].detach()  # not asked for: trains of one axis stay real
    real = lambda a, *x: torch.view_as_real(epg.fisp(a, phase, *x, orders=orders))  # noqa: E731
    assert torch.autograd.gradcheck(real, [inputs[0], *inputs[2:]])


@pytest.mark.usefixtures("only_kernels")
@pytest.mark.parametrize("num", [1, 2, 11])
def test_gradients_of_cpmg_against_differences(num):
    _, tissue, _ = _case(4, 5)
    inputs = _tensors(0.012, *tissue)
    real = lambda s, *x: torch.view_as_real(epg.cpmg(s, num, *x))  # noqa: E731
    assert torch.autograd.gradcheck(real, inputs)


@pytest.mark.parametrize("one_axis", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 3e-5), (torch.float64, 1e-12)])
def test_fisp_has_the_gradient_of_the_formula(one_axis, dtype, bound):
    train, tissue, TI = _case(60, 19, one_axis)
    given_ = _tensors(*train) + _tensors(*tissue, TI, dtype=dtype)
    exact = _tensors(*train, *(x.detach().double().numpy() for x in given_[4:]))
    _loss(epg.fisp(*given_, orders=30)).backward()
    _loss(epg.fisp_formula(*exact, orders=30)).backward()
    for ours, theirs in zip(given_, exact, strict=True):
        assert ours.grad.dtype == ours.dtype
        scale = theirs.grad.abs().max()
        assert scale > 1e-3
        assert (ours.grad - theirs.grad).abs().max() < bound * scale


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_cpmg_has_the_gradient_of_the_formula(dtype, bound):
    _, tissue, _ = _case(4, 33)
    given_ = _tensors(0.01, *tissue, dtype=dtype)
    exact = _tensors(*(x.detach().double().numpy() for x in given_))
    _loss(epg.cpmg(given_[0], 32, *given_[1:])).backward()
    _loss(epg.cpmg_formula(exact[0], 32, *exact[1:])).backward()
    for ours, theirs in zip(given_, exact, strict=True):
        scale = theirs.grad.abs().max()
        assert scale > 1e-3
        assert (ours.grad - theirs.grad).abs().max() < bound * scale


def test_without_B1_the_gradient_stays_finite():
    T1, T2, B1 = _tensors(np.ones(3), np.full(3, 0.1), np.zeros(3))
    _loss(epg.cpmg(0.01, 8, T1, T2, B1)).backward()
    assert torch.isfinite(B1.grad).all()
    assert not T2.grad.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40))
def test_random_trains_have_the_gradient_of_the_formula(seed, num, atoms, orders):
    train, tissue, TI = _case(num, atoms, seed % 2 == 0, seed)
    ours, theirs = _tensors(*train, *tissue, TI), _tensors(*train, *tissue, TI)
    _loss(epg.fisp(*ours, orders=orders)).backward()
    _loss(epg.fisp_formula(*theirs, orders=min(orders, (num + 1) // 2))).backward()
    for x, y in zip(ours, theirs, strict=True):
        exact = torch.zeros_like(y) if y.grad is None else y.grad  # None: of no influence
        assert (x.grad - exact).abs().max() < 1e-10 * (1 + exact.abs().max())


def test_arguments_broadcast_and_mix_with_plain_ones():
    train, _, _ = _case(20)
    T1, T2 = torch.rand(5, 1).double() + 0.5, (torch.rand(3).double() / 10 + 0.05).requires_grad_()
    angle = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    flip = angle.expand(20)
    ours = epg.fisp(flip, *train[1:], T1, T2, 0.9, orders=10)
    assert ours.shape == (5, 3, 20)
    _loss(ours).backward()
    found = angle.grad.clone(), T2.grad.clone()
    angle.grad, T2.grad = None, None
    _loss(epg.fisp_formula(flip, *train[1:], T1, T2, 0.9, None, 10)).backward()
    assert torch.allclose(found[0], angle.grad) and torch.allclose(found[1], T2.grad)


def test_the_batch_of_atoms_changes_no_bit_of_their_gradients():
    train, tissue, _ = _case(50, 40)
    whole = _tensors(*tissue)
    signal = epg.fisp(*train, *whole, orders=9)
    signal.abs().pow(2).sum().backward()
    for part in (slice(0, 7), slice(7, 40)):
        some = _tensors(*(x[part] for x in tissue))
        epg.fisp(*train, *some, orders=9).abs().pow(2).sum().backward()
        for x, y in zip(some, whole, strict=True):
            assert torch.equal(x.grad, y.grad[part])


def test_the_gradient_has_no_gradient_but_the_formula_does():
    train, tissue, _ = _case(6, 3)
    given_ = _tensors(*tissue)
    power = epg.fisp(*train, *given_).abs().pow(2).sum()
    slope = torch.autograd.grad(power, given_, create_graph=True)[1]
    with pytest.raises(RuntimeError, match="written by hand"):
        slope.sum().backward()
    again = torch.autograd.grad(_loss(epg.fisp_formula(*train, *given_)), given_, create_graph=True)
    assert torch.autograd.grad(again[1].sum(), given_[1])[0].abs().max() > 0


def test_memory_is_that_of_the_arguments():
    """Bytes that autograd saves: the formula's grow with pulses and orders, the kernel's do not."""
    train, tissue, _ = _case(100, 64)
    saved = {}
    for name, call in (("kernel", epg.fisp), ("formula", epg.fisp_formula)):
        kept = {}

        def keep(x, kept=kept):
            kept[x.data_ptr(), x.shape] = x.numel() * x.element_size()
            return x

        given_ = _tensors(*train, *tissue)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            call(*given_, orders=20)
        saved[name] = sum(kept.values())
    assert saved["kernel"] < 1e5
    assert saved["formula"] > 50 * saved["kernel"]


def test_the_gpu_gets_what_its_kernels_take(tmp_path, monkeypatch):
    """NumPy in the place of CuPy, and the CUDA text on the CPU: arguments, parts, sums."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
    from harness import host_kernel

    from ipads_stream.core.backend import cuda_text
    from ipads_stream.physics.epg import launch as epg_adjoint

    @functools.cache
    def built(text, name):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.cu"
        path.write_text(text)
        return host_kernel(path, name, "double")

    def launch(text, name, num, *arguments):
        built(text, name)(num, *arguments)

    def module(text, options):
        defined = (option.removeprefix("-D").replace("=", " ") for option in options[1:])
        return "".join(f"#define {line}\n" for line in defined) + cuda_text(text)

    for one_axis in (True, False):
        train, tissue, _ = _case(14, 7, one_axis)
        columns = [*tissue, np.linspace(-1, 1, 7)]
        slopes = np.random.default_rng(2).standard_normal((7, 28)).view(complex)
        exact = epg_adjoint.fisp_pull_back(slopes, train, columns, 7, False)
        echoes = epg_adjoint.cpmg_pull_back(slopes.real.copy(), 0.01, tissue)
        with monkeypatch.context() as patch:
            patch.setattr(epg_adjoint, "launch", launch)
            patch.setattr(epg_adjoint, "cuda_module", module)
            patch.setattr(epg_adjoint, "is_cupy", lambda x: True)
            patch.setattr(epg_adjoint, "_WORK", 8000)  # two atoms at a time
            parts = epg_adjoint.fisp_pull_back(slopes, train, columns, 7, False)
            pieces = epg_adjoint.cpmg_pull_back(slopes.real.copy(), 0.01, tissue)
        assert parts.keys() == exact.keys() and pieces.keys() == echoes.keys()
        for ours, theirs in ((parts, exact), (pieces, echoes)):
            for name, slope in theirs.items():
                assert np.abs(ours[name] - slope).max() < 1e-11 * (1 + np.abs(slope).max())


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("one_axis", [True, False])
def test_cuda_agrees(one_axis):
    train, tissue, TI = _case(60, 300, one_axis)
    for dtype, bound in ((torch.float32, 3e-5), (torch.float64, 1e-11)):
        given_ = _tensors(*train) + _tensors(*tissue, TI, dtype=dtype)
        there = [x.detach().cuda().requires_grad_() for x in given_]
        weight = torch.randn(300, 60, 2, dtype=dtype)
        (torch.view_as_real(epg.fisp(*given_, orders=30)) * weight).sum().backward()
        (torch.view_as_real(epg.fisp(*there, orders=30)) * weight.cuda()).sum().backward()
        for x, y in zip(given_, there, strict=True):
            assert (x.grad - y.grad.cpu()).abs().max() < bound * x.grad.abs().max()
        handed = [x.detach().cuda().requires_grad_() for x in given_[4:7]]
        plain = [x.detach().requires_grad_() for x in given_[4:7]]
        epg.cpmg(0.01, 24, *handed).real.sum().backward()
        epg.cpmg(0.01, 24, *plain).real.sum().backward()
        for x, y in zip(plain, handed, strict=True):
            assert (x.grad - y.grad.cpu()).abs().max() < bound * x.grad.abs().max()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_the_kernel_is_asked_only_in_plain_reverse_mode():
    assert handover.wants_gradient(torch.ones(1, requires_grad=True))
    train, tissue, _ = _case(8, 3)
    T1, T2, B1 = map(torch.from_numpy, tissue)
    one = lambda t2: torch.view_as_real(epg.fisp(*train, T1, t2, B1, orders=4))  # noqa: E731
    forward, reverse = torch.func.jacfwd(one)(T2), torch.func.jacrev(one)(T2)
    plain = torch.autograd.functional.jacobian(one, T2)
    assert torch.allclose(forward, reverse) and torch.allclose(plain, reverse)
