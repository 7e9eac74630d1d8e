"""Every system of the package keeps what systems promise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import Stream, load_system
from ipads_stream.config import conf_dir
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Emphasized, Normal, Uniform
from ipads_stream.phantoms import Grid, PolynomialField
from ipads_stream.stream.replay import digest
from ipads_stream.testing import check_system

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))
VOLUME = ["shape=[12,10,8]"]
SMALL = {
    "deepspio": VOLUME,
    "oled": ["sequence.matrix=32"],
    "drone": ["schedule.num_frames=30"],
    "qsmnet": VOLUME,
    "qsmnet_unrolled": VOLUME,
}
KEYS = Keys(0, "contract", np.arange(3, dtype=np.uint64))
# tests/baselines runs them, too
SLOW = ("posterior mean", "Lorentzian fit", "full model fit", "non-linear fit", "total variation")


def images(*shape):
    return np.random.default_rng(0).uniform(0.5, 1.0, size=shape)


def complex_images(*shape):
    return images(*shape) * np.exp(1j * np.random.default_rng(1).normal(size=shape))


MEASURED = {
    "ann_mwf": lambda system: (images(3, 4, system.num_echoes), system.TE),
    "ann_mwf_cpmg": lambda system: (images(3, 4, system.num_echoes), None),
    "anncest": lambda system: (images(5, len(system.powers) * len(system.offsets_ppm)), None),
    "deepspio": lambda system: (complex_images(8, 9, 7, 1), None),
    "drone": lambda system: (complex_images(4, 3, 30), system.schedule.frames.TE),
    "oled": lambda system: (complex_images(system.matrix, system.matrix, 3, 1), None),
    "qsmnet": lambda system: (images(8, 9, 7, 1) - 0.7, None),
    "qsmnet_unrolled": lambda system: (images(8, 9, 7, 2) - 0.7, None),
    "t1_inversion": lambda system: (
        images(3, 4, 5),
        np.array([[0.05, 0.3, 0.8, 1.5, 3.0], [5.0] * 5]),
    ),
    "t1_map": lambda system: (images(3, 4, 3), np.array([[0.06, 0.15, 0.35], [0.01] * 3])),
    "t2_cpmg": lambda system: (images(3, 4, 6), 0.01 * np.arange(1, 7)),
    "t2_map": lambda system: (images(3, 4, 6), 0.01 * np.arange(1, 7)),
    "t2star_map": lambda system: (images(3, 4, 6), 0.004 * np.arange(1, 7)),
}
# What forward reads of systems whose parameters are drawn as shapes.
MAPS = {
    "deepspio": lambda system: lambda sample: system.maps(sample.params, KEYS, np)[0],
    "oled": lambda system: lambda sample: system.maps(KEYS, np),
    "qsmnet": lambda system: lambda sample: {"chi_ppm": sample.targets["chi_ppm"]},
}
MAPS["qsmnet_unrolled"] = MAPS["qsmnet"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_keeps_its_promises(name):
    system = load_system(name, SMALL.get(name, []))
    maps, measured = MAPS.get(name), MEASURED.get(name)
    report = check_system(
        system,
        count=3,
        forward_params=None if maps is None else maps(system),
        images=None if measured is None else measured(system),
        baselines=[label for label in system.baselines if label not in SLOW],
    )
    assert len(report.checked) + len(report.skipped) == 15
    left_out = {"weights are not negative", "without noise the inputs are those of the forward "
                "signal", "ranges of quantities hold the targets", "measured images become inputs",
                "bounds have the shape of the targets",
                "a GPU renders the samples of the CPU"}  # fmt: skip
    assert set(report.skipped) <= left_out


def test_inputs_without_noise_are_those_of_the_forward_signal():
    dlnmr = load_system("dlnmr", ["snr=null"])
    drone = load_system("drone", ["schedule.num_frames=30", "snr=null"])
    qsmnet = dataclasses.replace(load_system("qsmnet", VOLUME), noise=Constant(value=0.0))

    def unit(signal, sample):
        real = np.imag(signal)
        real /= np.linalg.norm(real, axis=1, keepdims=True)
        along = np.sum(real * drone.reference, axis=1, keepdims=True)
        return {"signal": real * np.sign(along)}

    cases = [
        (dlnmr, lambda signal, sample: {"fid": signal * sample.inputs["mask"]}, None),
        (drone, unit, None),
        (qsmnet, lambda signal, sample: {"field_ppm": signal * sample.inputs["mask"]},
         MAPS["qsmnet"](qsmnet)),
    ]  # fmt: skip
    for system, without_noise, maps in cases:
        report = check_system(
            system, count=3, without_noise=without_noise, forward_params=maps, baselines=()
        )
        assert "without noise the inputs are those of the forward signal" in report.checked


def test_weights_of_a_reshared_parameter_are_checked():
    often = Emphasized(
        distribution=Uniform(low=0.05, high=1), edges=[0.5], shares=[0.9, 0.1], weighted=True
    )
    system = dataclasses.replace(load_system("dlnmr"), rate=often)
    assert "weights are not negative" in check_system(system, baselines=()).checked


LARGE = 2**18  # bytes of a temporary array whose memory NumPy reuses, swapping the factors


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_sample_is_the_same_bits_in_a_batch_of_any_size(name):
    system = load_system(name, SMALL.get(name, []))
    stream = Stream(system, seed=3, batch_size=1, device="cpu", threads=0)
    sample = stream.sample([0])
    alone = [digest(sample, 0), digest(stream.sample([1]), 0)]
    size = max(array.nbytes for array in (*sample.inputs.values(), *sample.targets.values()))
    for count in (2, 5, min(max(2 * LARGE // size, 7), 600)):
        whole = stream.sample(range(count))
        assert [digest(whole, row) for row in (0, 1)] == alone, f"batch of {count}"
        last = stream.sample([count - 1])
        assert digest(last, 0) == digest(whole, count - 1), f"last of {count}"


def test_a_polynomial_field_is_the_same_bits_in_a_batch_of_any_size():
    terms = ("x", "y", "z", "xx", "yy", "zz", "xy", "xz", "yz", "xyz")
    field = PolynomialField(terms={term: Normal(mean=0, std=1) for term in terms})
    grid = Grid((40, 40, 12), (1.0, 1.1, 0.9))

    def drawn(*indices):
        return field.draw(Keys(0, "train", np.array(indices, np.uint64)), grid)

    whole = drawn(*range(64))
    for index in (0, 1, 63):
        assert np.array_equal(whole[index], drawn(index)[0])
    assert np.array_equal(whole[:7], drawn(*range(7)))
