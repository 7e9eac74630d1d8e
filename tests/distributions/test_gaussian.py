"""The normal law in cells, and straight lines between knots, against SciPy and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from ipads_stream.distributions.gaussian import CERTAIN, LEAST, normal_level, normal_quantile
from ipads_stream.distributions.tabulated import FEW, Lines


def numbers(words):
    """32-bit uniform numbers, as the package draws them."""
    return (words + 0.5) * 2.0**-32


MIDDLE = 2**31
WORDS = {
    "first": np.arange(50_000),
    "middle": np.arange(MIDDLE - 25_000, MIDDLE + 25_000),
    "last": np.arange(2**32 - 50_000, 2**32),
    "all over": np.arange(0, 2**32, 65_521),
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_quantile_is_that_of_scipy_and_rises_with_every_word(words):
    z = normal_quantile(numbers(words))
    assert np.abs(z - ndtri(numbers(words))).max() < 1e-10
    assert np.diff(z).min() > 5e-10


def test_the_quantile_is_odd():
    u = numbers(np.arange(0, 2**32, 1_000_003))
    assert np.array_equal(normal_quantile(u), -normal_quantile(1.0 - u))


def test_the_quantile_rises_across_every_octave_and_cell():
    edges = np.array([2.0**-n * (1 + k / 64) for n in range(2, 27) for k in range(64)])
    words = np.rint(edges * 2**32).astype(np.int64)
    below, above = normal_quantile(numbers(words - 1)), normal_quantile(numbers(words))
    assert np.all(above - below > 5e-10)


def test_the_level_is_that_of_scipy():
    z = np.linspace(-9, 9, 100_003)
    u = normal_level(z)
    inside = np.abs(z) < 8
    assert np.abs(u - ndtr(z)).max() < 2e-11
    assert np.abs(u / ndtr(z) - 1)[inside & (z > -7)].max() < 1e-7
    assert np.diff(u).min() > -1e-13


def test_the_level_stays_inside_the_open_interval():
    u = normal_level(np.array([-np.inf, -50.0, -8.5, 8.5, 50.0, np.inf]))
    assert u.min() > 0
    assert u.max() == CERTAIN


@pytest.mark.parametrize("f", [normal_quantile, normal_level])
def test_a_number_has_one_result_in_any_array(f):
    """Also where a processor treats what does not fill a vector register otherwise."""
    at = numbers(np.arange(0, 2**32, 2**32 // 400)) * (1 if f is normal_quantile else 9)
    whole = f(at)
    for i in range(at.size):
        assert np.array_equal(f(at[i : i + 1]), whole[i : i + 1])
        assert np.array_equal(f(at[i:]), whole[i:])
    assert np.array_equal(f(at.reshape(-1, 1, 1)[::3]).ravel(), whole[::3])


def test_the_ends_of_what_is_drawn():
    assert normal_quantile(np.array([LEAST]))[0] == pytest.approx(ndtri(LEAST), rel=1e-10)


@pytest.mark.parametrize("count", [2, 3, FEW + 1, FEW + 2, 60, 700])
def test_lines_are_those_of_numpy(count):
    """Few pieces and many take different ways; both have jumps and flat pieces here."""
    rng = np.random.default_rng(count)
    x, y = np.sort(rng.random((2, count)), axis=1)
    x[0], x[-1] = 0.0, 1.0
    if count > 3:
        y[count // 3] = y[count // 3 - 1]
    lines = Lines(x, y)
    u = np.concatenate([numbers(rng.integers(0, 2**32, 5000)), x[1:-1]])
    assert np.allclose(lines(u), np.interp(u, x, y), rtol=0, atol=1e-15)
    if count > 3:
        x[count // 2] = x[count // 2 - 1]
        jumping = Lines(x, y)
        u = u[np.isin(u, x, invert=True)]
        assert np.allclose(jumping(u), np.interp(u, x, y), rtol=0, atol=1e-15)
        at = jumping(x[count // 2 : count // 2 + 1])
        assert at[0] == y[count // 2]  # the quantile is continuous from above
