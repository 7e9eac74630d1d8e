"""Phantoms, random numbers, simulators and users' own systems on an emulated GPU."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Uniform
from ipads_stream.phantoms import (
    BumpField,
    FractalTexture,
    Grid,
    ImageTexture,
    LatticeTexture,
    NoiseField,
    RandomShapes,
    TissueBrain,
    moled_b0,
    moled_b1,
)
from ipads_stream.phantoms.textured_shapes import TexturedShapes
from ipads_stream.physics import bloch, epg
from ipads_stream.physics.closed_forms.multi_echo import gradient_echoes, spin_echoes
from ipads_stream.physics.closed_forms.multi_pool import decay
from ipads_stream.physics.closed_forms.steady_states import (
    bssfp,
    inversion_recovery,
    spoiled_gradient_echo,
)
from ipads_stream.physics.exchange.arguments import Pulses, Solute, Water
from ipads_stream.physics.exchange.saturation import z_spectrum
from ipads_stream.physics.fields import dipole
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials
from ipads_stream.testing import ContractError, check_simulator, check_system

KEYS = Keys(0, "train", np.arange(3, dtype=np.uint64))
PLANE, SPACE = Grid((12, 10), (4e-3, 5e-3)), Grid((6, 8, 7), (4e-3, 4e-3, 5e-3))
B = 4
RNG = np.random.default_rng(0)
T1, T2 = RNG.uniform(0.6, 1.5, B), RNG.uniform(0.04, 0.12, B)
df, B1 = RNG.uniform(-20, 20, B), RNG.uniform(0.8, 1.2, B)


def assert_close(device, host, tolerance=1e-5):
    import cupy

    assert isinstance(device, cupy.ndarray)
    assert (device.dtype, device.shape) == (host.dtype, host.shape)
    size = max(float(np.abs(host).max()), 1e-30)
    assert np.abs(device.get() - host).max() <= tolerance * size


def test_random_numbers_are_those_of_the_cpu(gpu):
    import cupy

    for draw in (random.uniform, random.normal, random.complex_normal,
                 partial(random.integers, low=-3, high=9)):  # fmt: skip
        for shape in ((), (5,), (3, 2)):
            assert_close(draw(KEYS["x"], shape=shape, xp=cupy), draw(KEYS["x"], shape=shape), 2e-6)
    assert_close(random.permutation(KEYS["x"], 9, cupy), random.permutation(KEYS["x"], 9), 0)


@pytest.fixture
def folder(tmp_path):
    from matplotlib.image import imsave

    x, y = np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 50), indexing="ij")
    imsave(tmp_path / "ramp.png", x, cmap="gray", vmin=0, vmax=1)
    imsave(tmp_path / "waves.png", 0.5 + 0.5 * np.sin(20 * y + 9 * x), cmap="gray")
    return str(tmp_path)


FIELDS = {
    "bumps": BumpField(amplitude=Uniform(low=-1, high=1), number=2),
    "noise": NoiseField(),
    "b0": moled_b0(),
    "b1": moled_b1(),
}


@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
@pytest.mark.parametrize("name", FIELDS)
def test_fields(name, grid, gpu):
    import cupy

    field = FIELDS[name]
    assert_close(field.draw(KEYS, grid, xp=cupy), field.draw(KEYS, grid))


@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
def test_textures(grid, gpu, folder):
    import cupy

    textures = [FractalTexture(), LatticeTexture(octaves=2)]
    if grid is PLANE:
        textures.append(ImageTexture(folder=folder))
    for texture in textures:
        device = texture.draw(KEYS, grid, count=2, xp=cupy)
        assert_close(device, texture.draw(KEYS, grid, count=2), 1e-4)


def test_an_atlas_is_moved_once_for_all_threads(gpu, folder):
    import threading

    import cupy

    texture, failures = ImageTexture(folder=folder), []

    def drawn():
        try:
            with cupy.cuda.Stream(non_blocking=True) as stream:
                texture.draw(KEYS, PLANE, count=2, xp=cupy)
                stream.synchronize()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=drawn) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_templates(gpu, folder):
    import cupy

    parts = {
        "shapes": RandomShapes(number=6),
        "T1": Uniform(low=0.5, high=2.0),
        "T2": Uniform(low=0.02, high=0.3),
        "PD": Uniform(low=0.2, high=1.0),
        "body": RandomShapes(number=1),
        "texture": FractalTexture(),
    }
    template = TexturedShapes(**parts)
    device, host = (template.draw(KEYS, PLANE, xp=xp) for xp in (cupy, np))
    for name, values in host.items():
        assert_close(device[name], values, 1e-4)


def test_brains(gpu, data_folder):
    import cupy

    if not (data_folder / "brain").is_dir():
        pytest.skip("measured data: there is no brain")
    brain = TissueBrain()
    device, host = (brain.draw(KEYS, PLANE, xp=xp) for xp in (cupy, np))
    for name, values in host.items():
        assert_close(device[name], values, 1e-4)


FLIP = np.linspace(0.2, 1.0, 8)
RF, GRADIENT = 1e-6 * np.exp(1j * np.linspace(0, 2, 6)), 1e-3 * RNG.normal(size=(6, 3))
PEAKS = {
    "amplitude": RNG.uniform(0.2, 1, (B, 3)),
    "frequency": RNG.uniform(-0.4, 0.4, (B, 3)),
    "phase": RNG.uniform(0, 6, (B, 3)),
    "decay": RNG.uniform(5, 50, (B, 3)),
}
SPINS = {"M": RNG.normal(size=(B, 3)), "position": 0.01 * RNG.normal(size=(B, 3)), "df": df,
         "T1": T1, "T2": T2, "B1": B1}  # fmt: skip


def here(x, like):
    """A table of the host in the library of an array."""
    from ipads_stream.core.backend import is_cupy, namespace

    return namespace(like).asarray(x) if is_cupy(like) else x


def evolved(M, **spins):
    return bloch.evolve(M, here(RF, M), here(GRADIENT, M), 1e-4, **spins)


def fisp(T1, T2, B1):
    return epg.fisp(FLIP, np.zeros(8), 0.012, 0.005, T1, T2, B1, TI=0.02, orders=8)


def trained(T1, T2, B1, df):
    steps = epg.gradient_echoes(FLIP, np.linspace(0, 2, 8), 0.012, 0.005)
    return epg.train(*steps, T1=T1, T2=T2, B1=B1, df=df)


def echoed(simulator, T2, **others):
    return simulator(here(0.01 * np.arange(1, 7), T2).astype(T2.dtype), T2=T2, **others)


def saturated(T1, T2, B1, df):
    pools = [Water(T1=T1, T2=T2), Solute(0.003, 1.0, 0.1, exchange=150.0, shift_ppm=2.5)]
    return z_spectrum(pools, np.linspace(-4, 4, 7), Pulses(5e-7, 1.0), 3.0, 0.01 * df, B1)


SIMULATORS = {
    "bloch": (evolved, SPINS),
    "bssfp": (partial(bssfp, 0.7, 0.005, 0.0025), {"T1": T1, "T2": T2, "df": df, "B1": B1}),
    "damped_exponentials": (partial(damped_exponentials, points=32), PEAKS),
    "decay": (partial(echoed, decay), {"fractions": RNG.uniform(0.1, 1, (B, 2)),
                                       "T2": RNG.uniform(0.01, 0.1, (B, 2))}),
    "dipole": (partial(dipole.field, spacing=(1e-3,) * 3, B0_direction=(0.1, 0.2, 1.0)),
               {"chi_ppm": RNG.normal(size=(B, 6, 5, 4))}),
    "fisp": (fisp, {"T1": T1, "T2": T2, "B1": B1}),
    "gradient_echoes": (partial(echoed, lambda TE, T2, df: gradient_echoes(TE, T2s=T2, df=df)),
                        {"T2": T2, "df": df}),
    "inversion_recovery": (partial(inversion_recovery, 0.5, 3.0), {"T1": T1, "B1": B1}),
    "spin_echoes": (partial(echoed, spin_echoes), {"T2": T2, "M0": B1}),
    "spoiled_gradient_echo": (partial(spoiled_gradient_echo, 0.3, 0.02, 0.005),
                              {"T1": T1, "T2s": T2, "df": df, "B1": B1}),
    "train": (trained, {"T1": T1, "T2": T2, "B1": B1, "df": df}),
    "z_spectrum": (saturated, {"T1": T1, "T2": T2, "B1": B1, "df": df}),
}  # fmt: skip


@pytest.mark.parametrize("name", SIMULATORS)
def test_simulators(name, gpu):
    import cupy

    simulator, arguments = SIMULATORS[name]
    for kind, tolerance in (("f8", 1e-5), ("f4", 1e-4)):
        given = {key: x.astype(kind) for key, x in arguments.items()}
        there = {key: cupy.asarray(x) for key, x in given.items()}
        assert_close(simulator(**there), simulator(**given), tolerance)
        with gpu.of() as counts:
            simulator(**there)
        assert not counts.synchronisations


def test_a_users_simulator_is_compared_with_the_cpu(gpu):
    def signal(T2):
        from ipads_stream.core.backend import namespace

        return namespace(T2).exp(-0.05 / T2)

    def numpys(T2):
        return np.exp(-0.05 / np.asarray(T2))  # only the host can run it

    promise = "a GPU agrees with NumPy"
    assert promise in check_simulator(signal, {"T2": T2}).checked
    with pytest.raises(ContractError):
        check_simulator(numpys, {"T2": T2})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decay:
    """A user's system; ``wrong`` is what a CPU does not show."""

    name: ClassVar[str] = "decay"
    wrong: str = ""

    def draw(self, keys, progress):
        return {"T2": 0.02 + 0.1 * random.uniform(keys["T2"])}

    def render(self, params, keys, xp):
        T2 = xp.asarray(params["T2"].astype(np.float32))
        TE = np.linspace(0.01, 0.1, 8, dtype=np.float32)
        if self.wrong != "mixes libraries":
            TE = xp.asarray(TE)
        signal = xp.exp(-TE / T2[:, None])
        if self.wrong == "counts on zeros":
            signal = signal + 0 * xp.empty(signal.shape, dtype=xp.float32)
        return Sample({"signal": signal}, {"T2": T2}, params)


def test_a_users_system_is_compared_with_the_cpu(gpu):
    promise = "a GPU renders the samples of the CPU"
    assert promise in check_system(Decay()).checked
    for wrong in ("mixes libraries", "counts on zeros"):
        with pytest.raises(ContractError, match=promise):
            check_system(Decay(wrong=wrong))
