"""Keyed random numbers: known answers, independence of the batch, distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from philox_formula import philox4x32
from scipy import stats

from ipads_stream.core import random
from ipads_stream.core.random import Key, Keys

# Random123 1.14, tests/kat_vectors: counter, key, answer of philox4x32 10.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
DRAWS = {
    "words": lambda key, n: random.words(key, n),
    "uniform": lambda key, n: random.uniform(key, (n,)),
    "integers": lambda key, n: random.integers(key, -5, 1000, (n,)),
    "normal": lambda key, n: random.normal(key, (n,)),
    "complex_normal": lambda key, n: random.complex_normal(key, (n,)),
}


def _key(num, name="x", seed=0):
    return Keys(seed, "train", np.arange(num))[name]


def _numbers(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    words = philox4x32(np.array(_numbers(counter), np.uint64), tuple(_numbers(key)))
    assert words.tolist() == _numbers(answer)


def test_kernel_known_answer():
    key = Key((0, 0), np.zeros(1, np.uint64))
    assert random.words(key, 4)[0].tolist() == _numbers(KNOWN[0][2])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=70),
    st.integers(1, 140),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_kernel_is_the_formula(indices, count, key):
    indices = np.array(indices, np.uint64)
    counter = np.zeros((indices.size, -(-count // 4), 4), np.uint64)
    counter[..., 0] = (indices & np.uint64(2**32 - 1))[:, None]
    counter[..., 1] = (indices >> np.uint64(32))[:, None]
    counter[..., 2] = np.arange(counter.shape[1])
    formula = philox4x32(counter, key).reshape(indices.size, -1)[:, :count]
    assert np.array_equal(random.words(Key(key, indices), count), formula)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("count", [1, 3, 8, 257])
def test_a_sample_is_the_same_in_any_batch(draw, count):
    whole = draw(_key(1000), count)[777]
    for indices in ([777], [5, 777, 3], range(700, 900)):
        place = list(indices).index(777)
        part = draw(Keys(0, "train", np.array(indices))["x"], count)
        assert np.array_equal(part[place], whole)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_longer_draw_extends_a_shorter_one(draw):
    long = draw(_key(50), 300)
    for count in (1, 2, 5, 64, 127):
        assert np.array_equal(draw(_key(50), count), long[:, :count])


def test_streams_are_distinct():
    index = np.arange(1)
    keys = {
        Keys(seed, split, index)[name].words
        for seed in range(20)
        for split in ("train", "test", "t", "")
        if split
        for name in ("T1", "T2", "rain", "rainT1", "estT1", "")
    }
    assert len(keys) == 20 * 3 * 6
    assert Keys(1, "a", index)["bc"].words != Keys(1, "ab", index)["c"].words


def test_no_two_blocks_are_equal():
    words = np.concatenate([random.words(_key(50_000, name), 20).reshape(-1, 4) for name in "abcd"])
    blocks = np.ascontiguousarray(words).view("V16")
    assert len(set(blocks[:, 0].tolist())) == len(words) == 1_000_000


def test_uniforms_are_uniform():
    u = random.uniform(_key(1000), (200,))
    assert u.dtype == np.float64 and u.min() > 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3


def test_normals_are_normal():
    z = random.normal(_key(2000), (500,))
    assert z.dtype == np.float32
    z = z.astype(np.float64)
    assert stats.kstest(z.ravel()[:200_000], "norm").pvalue > 1e-3
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - moment) < 4.5 * (spread / z.size) ** 0.5


def test_normals_follow_the_float64_formula():
    key = _key(4000)
    u = (random.words(key, 256) + 0.5) * 2.0**-32
    exact = np.sqrt(-2 * np.log(u[:, ::2])) * np.exp(2j * np.pi * u[:, 1::2])
    assert np.abs(random.normal(key, (256,)).view(np.complex64) - exact).max() < 1e-6


def test_normals_reach_the_ends_of_the_words():
    from ipads_stream.core.philox import fill_normals

    ends = np.r_[np.arange(64), 2**32 - 1 - np.arange(64), 0xB504F333 + np.arange(-32, 32)]
    angles = np.r_[[k * 2**29 + d for k in range(8) for d in (-1, 0, 1)], np.arange(40) * 107374182]
    for end in ends:
        words = np.r_[np.full(64, end), angles % 2**32].astype(np.uint32)
        values = np.empty(128, np.float32)
        fill_normals(words, values)
        radius = np.sqrt(-2 * np.log1p(-(2**32 - 0.5 - end) * 2.0**-32) if end else 66 * np.log(2))
        angle = 2 * np.pi * (words[64:] + 0.5) * 2.0**-32
        assert np.abs(values[:64] - radius * np.cos(angle)).max() < 1e-6
        assert np.abs(values[64:] - radius * np.sin(angle)).max() < 1e-6


def test_complex_normals_have_unit_power():
    z = random.complex_normal(_key(1000), (300,))
    assert z.dtype == np.complex64
    assert abs((np.abs(z) ** 2).mean() - 1) < 0.01
    assert abs((z**2).mean()) < 0.01


def test_neighbours_and_streams_are_uncorrelated():
    a, b = random.normal(_key(2001), (200,)), random.normal(_key(2001, "y"), (200,))
    bound = 4.5 / 400_000**0.5
    pairs = ((a[:-1], a[1:]), (a, b), (a[:, :-1], a[:, 1:]), (a[:, :-1] ** 2, a[:, 1:] ** 2))
    for left, right in pairs:
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < bound


def test_integers_hit_every_value_equally():
    draws = random.integers(_key(1000), -2, 4, (100,))
    assert draws.dtype == np.int64
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == list(range(-2, 5))
    assert stats.chisquare(counts).pvalue > 1e-3
    wide = random.integers(_key(1000), 0, 2**32 - 1, (4,))
    assert np.array_equal(wide, random.words(_key(1000), 4))
    assert (random.integers(_key(10), 7, 7) == 7).all()


def test_permutations_are_permutations():
    orders = random.permutation(_key(6000), 3)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(3), (6000, 1)))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-3


def test_shapes():
    key = _key(3)
    assert random.uniform(key).shape == (3,)
    assert random.normal(key, (2, 5)).shape == (3, 2, 5)
    assert random.words(key, 0).shape == (3, 0)
    assert random.normal(Keys(0, "train", np.arange(0))["x"], (4,)).shape == (0, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Keys(-1, "train", np.arange(2)), "seed=-1: a whole number"),
        (lambda: Keys(2**63, "train", np.arange(2)), r"0 to 2\*\*63 - 1"),
        (lambda: Keys(True, "train", np.arange(2)), "seed=True"),
        (lambda: Keys(0, "", np.arange(2)), "split=''"),
        (lambda: Keys(0, "train", np.array([-1, 2])), "indices='-1 to 2'"),
        (lambda: Keys(0, "train", np.array([2**63], np.uint64)), r"0 to 2\*\*63 - 1"),
        (lambda: Keys(0, "train", np.array([0.5])), "whole numbers along one axis"),
        (lambda: Keys(0, "train", np.zeros((2, 2), int)), "whole numbers along one axis"),
        (lambda: random.integers(_key(1), 3, 2), "low=3, high=2"),
        (lambda: random.integers(_key(1), 0, 2**32), "at most 2"),
        (lambda: random.words(_key(1), -1), "count=-1"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
