"""Cramer-Rao bounds against closed forms; what a signal does not carry is refused by name."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.physics import cramer_rao, epg

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
BACKENDS = {"numpy": np.asarray, "strict": array_api_strict.asarray, "torch": torch.from_numpy}


def _jacobian(model, parameters):
    """ds / dp per member, (members, samples, P), of model(p) with p of one member."""
    return torch.func.vmap(torch.func.jacfwd(model))(torch.as_tensor(parameters))


def _decay(p, t):
    return p[0] * torch.exp(-t / p[1])


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_a_single_exponential(convert):
    """The 2 x 2 inverse by hand, for amplitude and decay time."""
    t = torch.linspace(0.005, 0.2, 40, dtype=torch.float64)
    p = np.array([[1.0, 0.05], [2.0, 0.08]])
    sigma = np.array([0.01, 0.03])
    jacobian = _jacobian(lambda x: _decay(x, t), p).numpy()
    fisher = cramer_rao.fisher_information(convert(jacobian), convert(sigma[:, None] * np.ones(40)))
    sd = np.asarray(cramer_rao.bound(fisher))
    for i, (a, tau) in enumerate(p):
        n = t.numpy()
        e = np.exp(-n / tau)
        s = (e**2).sum(), (e**2 * n).sum() * a / tau**2, (e**2 * n**2).sum() * a**2 / tau**4
        det = s[0] * s[2] - s[1] ** 2
        expected = sigma[i] * np.sqrt(np.array([s[2], s[0]]) / det)
        assert np.allclose(sd[i], expected, rtol=1e-9)


def test_the_frequency_of_a_free_induction_decay():
    """var(f) >= 12 sigma^2 / ((2 pi)^2 A^2 dt^2 N (N^2 - 1)), phase unknown, sigma per channel.

    Rife and Boorstyn, Single-tone parameter estimation from discrete-time observations, IEEE
    Transactions on Information Theory 20(5), 1974.
    """
    num, dwell, amplitude, sigma = 200, 1e-3, 1.7, 0.2
    n = torch.arange(num, dtype=torch.float64)

    def model(p):
        angle = 2 * np.pi * p[0] * n * dwell + p[1]
        return torch.view_as_real(p[2] * torch.polar(torch.ones_like(angle), angle)).flatten()

    jacobian = _jacobian(model, [[37.0, 0.4, amplitude]]).numpy()
    sd = cramer_rao.bound(cramer_rao.fisher_information(jacobian, sigma))[0]
    turn = 2 * np.pi * dwell * amplitude
    assert np.isclose(sd[0], np.sqrt(12 * sigma**2 / (turn**2 * num * (num**2 - 1))))
    assert np.isclose(sd[2], sigma / np.sqrt(num))
    pairs = jacobian.reshape(1, num, 2, 3)
    by_parts = cramer_rao.fisher_information(pairs[:, :, 0] + 1j * pairs[:, :, 1], sigma)
    assert np.allclose(cramer_rao.bound(by_parts)[0], sd)


def test_a_fit_reaches_the_bound():
    rng = np.random.default_rng(0)
    t = np.linspace(0.005, 0.2, 40)
    jacobian = _jacobian(lambda x: _decay(x, torch.from_numpy(t)), [[1.0, 0.05]]).numpy()[0]
    fisher = cramer_rao.fisher_information(jacobian, 1e-3)
    noise = 1e-3 * rng.standard_normal((20_000, 40))
    errors = noise @ jacobian @ np.linalg.inv(jacobian.T @ jacobian)  # first step of the fit
    assert np.allclose(errors.std(0), cramer_rao.bound(fisher), rtol=0.03)


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_a_prior_bounds_what_the_data_do_not_say(convert):
    fisher = np.array([[4.0, 0.0], [0.0, 0.0]])
    sd = np.asarray(cramer_rao.bound(convert(fisher), [np.inf, 0.3]))
    assert np.allclose(sd, [0.5, 0.3])
    sd = np.asarray(cramer_rao.bound(convert(fisher), convert(np.array([0.5, 0.3]))))
    assert np.allclose(sd, [np.sqrt(1 / 8), 0.3])


def test_the_bound_is_that_of_the_linear_gaussian_posterior():
    rng = np.random.default_rng(0)
    A, prior = rng.standard_normal((3, 12, 4)), np.array([0.1, 1.0, 3.0, 10.0])
    sd = cramer_rao.bound(cramer_rao.fisher_information(A, 0.5), prior)
    for i in range(3):
        gain = np.diag(prior**2) @ A[i].T
        posterior = np.diag(prior**2) - gain @ np.linalg.solve(
            A[i] @ gain + 0.25 * np.eye(12), gain.T
        )
        assert np.allclose(sd[i], np.sqrt(np.diag(posterior)))


def test_the_bound_is_differentiable():
    t = torch.linspace(0.005, 0.2, 20, dtype=torch.float64)

    def spread(times):
        jacobian = torch.func.jacfwd(lambda p: _decay(p, times))(torch.tensor([1.0, 0.05]).double())
        return cramer_rao.bound(cramer_rao.fisher_information(jacobian, 0.01))

    assert torch.autograd.gradcheck(spread, t.requires_grad_())


def test_units_do_not_matter():
    rng = np.random.default_rng(1)
    jacobian, units = rng.standard_normal((30, 3)), np.array([1e-9, 1.0, 1e7])
    plain = cramer_rao.bound(cramer_rao.fisher_information(jacobian, 1.0))
    scaled = cramer_rao.fisher_information(jacobian / units, 1.0)
    assert np.allclose(cramer_rao.bound(scaled), plain * units)
    cramer_rao.identifiable(scaled, ["a", "b", "c"])


def _fingerprint(flip, TE, spoiled):
    """ds / d(T1, T2, PD) of a fingerprint; ideally spoiled: only Z_0 survives to the next pulse."""
    num, TR = len(flip), 0.015
    angle = torch.as_tensor(flip)

    def model(p):
        if not spoiled:
            echoes = epg.fisp(angle, torch.zeros_like(angle), TR, TE, p[:1], p[1:2], TI=0.02)[0]
            return p[2] * torch.view_as_real(echoes).flatten()
        z, out = 1 - 2 * torch.exp(-0.02 / p[0]), []
        for n in range(num):
            out.append(torch.sin(angle[n]) * z * torch.exp(-TE[n] / p[1]))
            z = torch.cos(angle[n]) * z
            z = 1 + (z - 1) * torch.exp(-TR / p[0])
        return p[2] * torch.stack(out)

    return _jacobian(model, torch.tensor([[1.0, 0.08, 1.0], [0.5, 0.04, 0.7]]).double())


def _schedule(num=60):
    return np.abs(np.sin(np.arange(num) / 9)) * 1.1 + 0.1


def test_constant_echo_time_and_ideal_spoiling_carry_no_T2():
    flip, names = _schedule(), ["T1", "T2", "PD"]
    constant = np.full(60, 0.005)
    varying = np.linspace(0.002, 0.014, 60)
    refused = cramer_rao.fisher_information(_fingerprint(flip, constant, True), 0.01)
    with pytest.raises(ValueError, match=r"T2, PD: not identifiable in 2 of 2 members.*T2 by"):
        cramer_rao.identifiable(refused, names)
    for jacobian in (_fingerprint(flip, varying, True), _fingerprint(flip, constant, False)):
        fisher = cramer_rao.fisher_information(jacobian, 0.01)
        cramer_rao.identifiable(fisher, names)
        assert bool(torch.all(torch.isfinite(cramer_rao.bound(fisher))))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_no_bound_follows_from_what_is_not_positive_definite(convert):
    constant = _fingerprint(_schedule(), np.full(60, 0.005), True).numpy()
    fisher = cramer_rao.fisher_information(constant, 0.01)
    for wrong, message in (
        (fisher, "parameter 1, 2 of member 0"),
        (fisher[1], "parameter 1, 2 of member 0"),
        (fisher.astype("float32"), "parameter 1, 2 of member 0"),
        (np.array([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]), "parameter 0, 1 of member 1"),
        (np.diag([3.0, 0.0, 1.0]), "parameter 1 of member 0"),
        (np.diag([3.0, 1.0, -1.0]), "parameter 2 of member 0"),
    ):
        with pytest.raises(np.linalg.LinAlgError, match=message):
            cramer_rao.bound(convert(wrong))
    # Nearly singular is not singular: the bound is large and right.
    e = 1e-6
    sd = np.asarray(cramer_rao.bound(convert(np.array([[1.0, 1 - e], [1 - e, 1.0]]))))
    assert np.allclose(sd, 1 / np.sqrt(1 - (1 - e) ** 2), rtol=1e-8)


def test_a_normalised_signal_without_T2_is_refused_with_its_scale():
    """After normalisation the derivative for T2 is rounding error, which a scale unmasks."""
    jacobian = _fingerprint(_schedule(), np.full(60, 0.005), True)[0].numpy()
    signal = jacobian[:, 2]  # ds/dPD is the signal's shape
    unit = signal / np.linalg.norm(signal)
    normalised = (jacobian - np.outer(unit, unit @ jacobian))[:, :2]
    fisher = cramer_rao.fisher_information(normalised, 0.01)
    assert normalised[:, 1].any()
    with pytest.raises(ValueError, match=r"^T2: not identifiable in 1 of 1"):
        cramer_rao.identifiable(fisher, ["T1", "T2"], scale=[1.0, 0.1])


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_a_parameter_without_any_effect_is_refused(convert):
    fisher = convert(np.diag([3.0, 0.0, 1e-6]))
    with pytest.raises(ValueError, match=r"^b: not identifiable"):
        cramer_rao.identifiable(fisher, ["a", "b", "c"])
    with pytest.raises(ValueError, match="not identifiable"):
        cramer_rao.identifiable(convert(np.zeros((2, 3, 3))), ["a", "b", "c"])
    cramer_rao.identifiable(convert(np.diag([3.0, 1e-9, 1e-6])), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cramer_rao.fisher_information(np.ones((4, 2)), 0.0), "sigma=0.0"),
        (lambda: cramer_rao.fisher_information(np.ones((4, 2)), float("nan")), "sigma=nan"),
        (
            lambda: cramer_rao.fisher_information(np.ones((4, 2)), np.ones(3)),
            r"sigma \(3,\), jacobian",
        ),
        (lambda: cramer_rao.bound(np.eye(2), [1.0]), r"prior: shape \(1,\)"),
        (lambda: cramer_rao.bound(np.eye(2), [1.0, -1.0]), "prior=-1.0"),
        (
            lambda: cramer_rao.fisher_information(np.array([[1.0, 2], [3, np.nan]]), 1.0),
            "jacobian=nan of sample 1, parameter 1",
        ),
        (
            lambda: cramer_rao.fisher_information(torch.full((3, 2, 1), torch.inf), 1.0),
            r"jacobian=inf of sample 0, parameter 0, member \(0,\)",
        ),
        (lambda: cramer_rao.bound(np.array([[1.0, np.inf], [0, 1]])), "fisher=inf of row 0"),
        (lambda: cramer_rao.identifiable(np.eye(2), ["a"]), "names="),
        (lambda: cramer_rao.identifiable(np.eye(2), ["a", "b"], [1.0]), "scale="),
        (lambda: cramer_rao.identifiable(np.full((2, 2), np.nan), ["a", "b"]), "not finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
