"""The classical estimates from z-spectra, where the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.z_spectra import fitted_lines, full_model_fit
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant


def _voxels(snr, count=12):
    system = dataclasses.replace(load_system("anncest"), snr=Constant(value=snr), repeats=1)
    keys = Keys(0, "test", np.arange(count, dtype=np.uint64))
    params = system.draw(keys, np.zeros(count))
    return system, params, system.render(params, keys, np).inputs


def test_lorentzian_spectra_give_their_lines():
    system, _, _ = _voxels(100.0, 1)
    rng = np.random.default_rng(0)
    lines = np.empty((20, 19))
    lines[:, 0] = rng.uniform(-0.25, 0.25, 20)
    spectra = []
    for x in lines:
        x[1:] = rng.uniform(
            [0.6, 0.1, 0.02, 0.3, 0.02, 0.3] * 3, [0.95, 0.5, 0.1, 0.6, 0.2, 0.6] * 3
        )
        for power in range(3):
            Z = np.ones(24)
            for pool, shift in enumerate((0.0, 1.95, 2.5)):
                height, width = x[1 + 6 * power + 2 * pool : 3 + 6 * power + 2 * pool]
                away = np.array(system.offsets_ppm) - shift - x[0]
                Z -= height * (width / 2) ** 2 / ((width / 2) ** 2 + away**2)
            spectra.append(Z)
    found = fitted_lines(system, np.array(spectra).reshape(20, 72))
    assert np.abs(found - lines).max() < 0.01


@pytest.mark.slow
def test_without_noise_the_model_fit_finds_the_shift_and_the_spectrum():
    system, params, _ = _voxels(100.0)
    clean = np.asarray(system.forward(params))
    found = full_model_fit(system)({"spectrum": clean})
    assert np.abs(found["df_ppm"] - params["df_ppm"]).max() < 1e-3
    assert np.median(np.abs(np.log(found["PCr"] / params["PCr"]))) < 0.1


@pytest.mark.slow
def test_estimates_have_the_order_of_the_truth():
    system, params, inputs = _voxels(400.0, 60)
    methods = classical_methods(system)
    assert set(methods) == {"Lorentzian fit", "full model fit", "posterior mean"}
    found = methods["Lorentzian fit"](inputs)
    assert found.keys() == system.quantities.keys()
    assert np.corrcoef(np.log(found["PCr"]), np.log(params["PCr"]))[0, 1] > 0.6
    assert np.corrcoef(found["B1"], params["B1"])[0, 1] > 0.6
    assert np.abs(found["df_ppm"] - params["df_ppm"]).max() < 0.15
