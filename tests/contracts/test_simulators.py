"""Simulators of the package keep what functions of arrays promise."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from ipads_stream.physics import bloch, epg
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.closed_forms.multi_echo import gradient_echoes, spin_echoes
from ipads_stream.physics.closed_forms.multi_pool import decay
from ipads_stream.physics.closed_forms.steady_states import (
    bssfp,
    inversion_recovery,
    spoiled_gradient_echo,
)
from ipads_stream.physics.fields import dipole
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials
from ipads_stream.testing import check_simulator

B = 5
RNG = np.random.default_rng(0)
T1, T2 = RNG.uniform(0.6, 1.5, B), RNG.uniform(0.04, 0.12, B)
df, B1 = RNG.uniform(-20, 20, B), RNG.uniform(0.8, 1.2, B)
FLIP = np.linspace(0.2, 1.0, 12)
RF = 1e-6 * np.exp(1j * np.linspace(0, 2, 20))
GRADIENT = 1e-3 * RNG.normal(size=(20, 3))
PEAKS = {
    "amplitude": RNG.uniform(0.2, 1, (B, 3)),
    "frequency": RNG.uniform(-0.4, 0.4, (B, 3)),
    "phase": RNG.uniform(0, 6, (B, 3)),
    "decay": RNG.uniform(5, 50, (B, 3)),
}
SPINS = {
    "M": RNG.normal(size=(B, 3)),
    "position": 0.01 * RNG.normal(size=(B, 3)),
    "df": df,
    "T1": T1,
    "T2": T2,
    "B1": B1,
}


def fisp(T1, T2, B1):
    return epg.fisp(FLIP, np.zeros(12), 0.012, 0.005, T1, T2, B1, TI=0.02, orders=12)


def fisp_formula(T1, T2, B1):
    return epg.fisp_formula(FLIP, np.zeros(12), 0.012, 0.005, T1, T2, B1, TI=0.02, orders=12)


def played(evolve, M, **spins):
    """A fixed train of RF and gradients, in the library and precision of the spins."""
    rf = as_float(RF.real, M) + 1j * as_float(RF.imag, M)
    return evolve(M, rf, as_float(GRADIENT, M), 1e-4, **spins)


def echoes(simulator, T2, **others):
    """At echo times in the library and precision of the arguments."""
    return simulator(as_float(0.01 * np.arange(1, 7), T2), T2=T2, **others)


def gradient_echoes_of(TE, T2, df):
    return gradient_echoes(TE, T2s=T2, df=df)


CASES = {
    "bloch": (partial(played, bloch.evolve), SPINS, partial(played, bloch.evolve_formula)),
    "bssfp": (partial(bssfp, 0.7, 0.005, 0.0025), {"T1": T1, "T2": T2, "df": df, "B1": B1}, None),
    "damped_exponentials": (partial(damped_exponentials, points=32), PEAKS, None),
    "decay": (partial(echoes, decay), {"fractions": RNG.uniform(0.1, 1, (B, 2)),
                                   "T2": RNG.uniform(0.01, 0.1, (B, 2))}, None),
    "dipole": (partial(dipole.field, spacing=(1e-3,) * 3, B0_direction=(0.1, 0.2, 1.0)),
               {"chi_ppm": RNG.normal(size=(B, 6, 5, 4))}, None),
    "fisp": (fisp, {"T1": T1, "T2": T2, "B1": B1}, fisp_formula),
    "gradient_echoes": (partial(echoes, gradient_echoes_of), {"T2": T2, "df": df}, None),
    "inversion_recovery": (partial(inversion_recovery, 0.5, 3.0), {"T1": T1, "B1": B1}, None),
    "spin_echoes": (partial(echoes, spin_echoes), {"T2": T2, "M0": B1}, None),
    "spoiled_gradient_echo": (partial(spoiled_gradient_echo, 0.3, 0.02, 0.005),
                              {"T1": T1, "T2s": T2, "df": df, "B1": B1}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_keeps_its_promises(name):
    simulator, arguments, formula = CASES[name]
    # The kernel of isochromats divides steps by the worst of the spins that it plays together.
    rounding = 1e-7 if name == "bloch" else 0.0
    report = check_simulator(simulator, arguments, formula=formula, rounding=rounding)
    left_out = set(report.skipped) - {"a GPU agrees with NumPy"}
    assert left_out == ({"it is its formula"} if formula is None else set())
