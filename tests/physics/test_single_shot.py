"""Single-shot images in parts: against the whole sequence played to isochromats, every sample."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import single_shot
from ipads_stream.physics.bloch.line_readout import Lines, lines_of, read_lines
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences.epi import epi, spin_echo_epi
from ipads_stream.sequences.moled import moled

N, SPACING = 16, (0.22 / 16, 0.22 / 16)


@pytest.fixture(scope="module")
def sequence():
    return moled(matrix=16)


@pytest.fixture(scope="module")
def shot(sequence):
    return single_shot.parts_of(sequence)


def maps(dtype=np.float32, hertz=200.0, batch=1):
    rng = np.random.default_rng(0)
    shape = (batch, N, N)
    T2 = 0.02 * 35 ** rng.random(shape)
    found = {
        "M0": rng.random(shape),
        "T2": T2,
        "T1": np.maximum(rng.uniform(0.6, 4, shape), T2),
        "df": rng.uniform(-hertz, hertz, shape),
        "B1": rng.uniform(0.7, 1.3, shape),
    }
    return {name: x.astype(dtype) for name, x in found.items()}


def played_to_isochromats(sequence, of, lanes=8):
    """The signal by the Bloch equation at every dwell; lanes resolve the crushers."""
    w = sequence.waveforms()
    crusher = (
        GAMMA_BAR_1H * (w.gradient[: w.pulses[-1].first, 2] * w.dt[: w.pulses[-1].first]).sum()
    )
    c = (np.arange(N) - N // 2) * SPACING[0]
    position = np.zeros((N, N, lanes, 3))
    position[..., 0], position[..., 1] = c[:, None, None], c[:, None]
    position[..., 2] = np.arange(lanes) / lanes / crusher
    spread = {name: np.repeat(x[0].reshape(-1), lanes).astype(float) for name, x in of.items()}
    spread["M0"] /= lanes
    return bloch.signal(sequence, Phantom(position=position.reshape(-1, 3), **spread))


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def k_space(shot, of, **settings):
    return single_shot.k_space(shot, of["M0"], SPACING, **{k: of[k] for k in of if k != "M0"},
                               **settings)  # fmt: skip


class TestAgainstTheWholeSequence:
    def test_the_signal_is_that_of_every_dwell(self, sequence, shot):
        of = maps()
        expected = played_to_isochromats(sequence, of)
        assert error(k_space(shot, of).reshape(-1), expected) < 2e-3

    def test_finer_pulses_and_more_moments_leave_roundings_alone(self, sequence):
        of = maps(np.float64)
        expected = played_to_isochromats(sequence, of)
        fine = single_shot.parts_of(sequence, parts=1000)
        assert error(k_space(fine, of, moments=7).reshape(-1), expected) < 3e-5

    def test_without_crushing_the_two_differ(self, sequence, shot):
        """So that what crushers do is in the comparison above."""
        of = maps()
        uncrushed = played_to_isochromats(sequence, of, lanes=1)
        assert error(k_space(shot, of).reshape(-1), uncrushed) > 0.02

    def test_another_sequence_with_another_refocusing_angle(self):
        of = maps()
        other = moled(
            matrix=16,
            flip=math.radians(50),
            refocusing=math.radians(140),
            pulse_times=[0.0, 20e-3],
            offsets_x=[0.2, -0.2],
            offsets_y=[0.2, -0.3],
        )
        expected = played_to_isochromats(other, of)
        assert error(k_space(single_shot.parts_of(other), of).reshape(-1), expected) < 3e-3


class TestEchoes:
    def test_places_and_times_are_those_of_the_sequence(self, shot):
        extent = 16 / 0.22
        whole = moled(matrix=64)  # whose train passes each place when it refocuses
        TE = single_shot.parts_of(whole).TE
        assert np.allclose(TE, whole.definitions["TE"], atol=1e-3)
        expected = np.array([[1 / 6, 3 / 8], [-1 / 6, 1 / 8], [1 / 6, -1 / 8], [-1 / 6, -3 / 8]])
        assert shot.echoes / extent == pytest.approx(expected, abs=1e-6)

    def test_k_space_of_a_disc_peaks_there(self):
        n = 48
        shot = single_shot.parts_of(moled(matrix=n))
        r = (np.arange(n) - n // 2) / n
        disc = (np.hypot(r[:, None], r) < 0.35)[None].astype(np.float32)
        even = {name: np.full_like(disc, x) for name, x in
                {"T1": 2.0, "T2": 0.3, "df": 0.0, "B1": 1.0}.items()}  # fmt: skip
        signal = single_shot.k_space(shot, disc, (0.22 / n, 0.22 / n), **even)
        image = single_shot.image(signal, shot.lines)
        k = np.abs(np.fft.fftshift(np.fft.fft2(image[0])))
        for place in shot.echoes * 0.22:
            i, j = np.round(place + n // 2).astype(int)
            around = k[i - 4 : i + 5, j - 4 : j + 5]
            at = np.unravel_index(around.argmax(), around.shape)
            assert max(abs(at[0] - 4), abs(at[1] - 4)) <= 1
            assert around.max() > 0.25 * k.max()


class TestImage:
    def test_a_point_stands_where_it_is(self):
        """Lines of a point without echoes: the image of ones with its phases."""
        n = 12
        k = (np.arange(n) - n // 2) / 0.22
        kx = np.broadcast_to(k, (n, n)).copy()
        kx[1::2] = kx[1::2, ::-1]
        trajectory = np.stack([kx, np.broadcast_to(k[:, None], (n, n))], axis=-1)
        t = 1e-3 * np.arange(n)[:, None] + 1e-5 * np.arange(n)
        lines = lines_of(trajectory, t)
        M = np.zeros((1, n, n), np.complex64)
        M[0, 2, 7] = 1 + 1j
        long, none = np.full((1, n, n), 1e6, np.float32), np.zeros((1, n, n), np.float32)
        signal = read_lines(M, lines, (0.22 / n, 0.22 / n), T2=long, df=none)
        image = single_shot.image(signal, lines)
        assert image == pytest.approx(n * M, abs=1e-4)  # orthonormal: n^2 samples of 1 over n

    def test_other_samples_are_refused(self):
        lines = Lines(np.zeros((2, 4)), np.linspace(-1, 1, 4), 0.0, 1e-3, np.zeros((2, 4)))
        with pytest.raises(ValueError, match="Cartesian"):
            single_shot.image(np.zeros((1, 4, 4), np.complex64), lines)


class TestLines:
    @pytest.mark.parametrize(("L", "X", "Y"), [(9, 5, 8), (2, 7, 3), (16, 4, 16)])
    def test_they_are_the_sum_over_the_grid(self, L, X, Y):
        rng = np.random.default_rng(1)
        S = 6
        kx = np.stack([np.linspace(-20, 18, S), np.linspace(18, -20, S)])
        since = np.stack([np.linspace(-3e-4, 2e-4, S)] * 2)
        lines = Lines(kx, np.linspace(-30, 25, L), 5e-3, 9e-4, since)
        M = rng.normal(size=(2, X, Y)) + 1j * rng.normal(size=(2, X, Y))
        T2, df = rng.uniform(0.02, 0.5, M.shape), rng.uniform(-200, 200, M.shape)
        spacing = (4e-3, 3e-3)
        x, y = ((np.arange(n) - n // 2) * d for n, d in zip((X, Y), spacing, strict=True))
        expected = np.zeros((2, L, S), complex)
        for line in range(L):
            for s in range(S):
                t = 5e-3 + 9e-4 * line + since[line % 2, s]
                turns = df * t + kx[line % 2, s] * x[:, None] + lines.ky[line] * y
                decay = np.exp(-t / T2 - 2j * np.pi * turns)
                expected[:, line, s] = (M * decay).sum(axis=(1, 2))
        found = [read_lines(M, lines, spacing, T2=T2, df=df, moments=m) for m in (2, 3, 8)]
        errors = [error(one, expected) for one in found]
        assert errors[2] < 1e-7 and errors[1] < 2e-3 and errors[1] < errors[0] / 4

    @pytest.mark.parametrize("change", ["bent", "late", "uneven", "single"])
    def test_other_trajectories_are_refused(self, change):
        n = 6
        k = np.zeros((n, n, 2))
        k[..., 0], k[..., 1] = np.arange(n), np.arange(n)[:, None]
        t = np.arange(n * n).reshape(n, n) * 1e-5
        if change == "bent":
            k[2, 3, 1] += 0.2
        elif change == "late":
            t[3:] += 1e-4
        elif change == "uneven":
            k[4, :, 0] += 0.5
        else:
            k, t = k[:1], t[:1]
        with pytest.raises(ValueError, match="lines"):
            lines_of(k, t)


class TestRefusals:
    def test_a_sequence_without_refocusing(self):
        with pytest.raises(ValueError, match="refocusing"):
            single_shot.parts_of(epi(matrix=16, thickness=None))

    def test_a_spin_echo_is_a_single_echo(self):
        found = single_shot.parts_of(spin_echo_epi(matrix=16, thickness=None, TE=60e-3))
        assert np.allclose(found.TE, [0.06], atol=1e-5)

    def test_a_sequence_that_selects_a_slice(self):
        with pytest.raises(ValueError, match="crushers"):
            single_shot.parts_of(spin_echo_epi(matrix=16, TE=60e-3))

    def test_crushers_may_be_left_out_on_demand(self, sequence, shot):
        w = sequence.waveforms()
        with pytest.raises(ValueError, match="gradient: one along z"):
            single_shot.parts_of(w, crushed=False)
        without = dataclasses.replace(w, gradient=w.gradient * [1.0, 1.0, 0.0])
        with pytest.raises(ValueError, match="crushers"):
            single_shot.parts_of(without)
        same = single_shot.parts_of(without, crushed=False)
        np.testing.assert_array_equal(same.echoes, shot.echoes)
        np.testing.assert_array_equal(same.before.gradient, shot.before.gradient)

    def test_no_crushers(self):
        with pytest.raises(ValueError, match="crushers"):
            single_shot.parts_of(moled(matrix=16, crushing=1e-3))


class TestArrays:
    def test_a_sample_does_not_depend_on_its_batch(self, shot, monkeypatch):
        of = maps(batch=5)
        whole = k_space(shot, of)
        monkeypatch.setattr(single_shot, "CACHED", 2 * N * N)
        assert error(k_space(shot, of), whole) < 1e-5
        alone = k_space(shot, {name: x[3:4] for name, x in of.items()})
        assert error(alone, whole[3:4]) < 1e-5

    def test_torch_gives_the_same(self, shot):
        of = maps(batch=2)
        tensors = {name: torch.from_numpy(x) for name, x in of.items()}
        found = k_space(shot, tensors)
        assert found.dtype == torch.complex64
        assert error(found.numpy(), k_space(shot, of)) < 1e-5
        image = single_shot.image(found, shot.lines)
        assert error(image.numpy(), single_shot.image(k_space(shot, of), shot.lines)) < 1e-5

    def test_it_is_differentiable_in_the_maps(self, shot):
        of = {name: torch.from_numpy(x) for name, x in maps(np.float64, hertz=50).items()}
        weights = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 16, 16)))

        def loss(name, x):
            return (k_space(shot, {**of, name: x}).real * weights).sum()

        for name, step in (("T2", 1e-6), ("df", 1e-4), ("B1", 1e-6), ("M0", 1e-5)):
            x = of[name].clone().requires_grad_()
            (slope,) = torch.autograd.grad(loss(name, x), x)
            away = torch.zeros_like(x)
            away[0, 5, 9] = step
            with torch.no_grad():
                expected = (loss(name, x + away) - loss(name, x - away)) / (2 * step)
            assert float(slope[0, 5, 9]) == pytest.approx(float(expected), rel=1e-4, abs=1e-9), name
