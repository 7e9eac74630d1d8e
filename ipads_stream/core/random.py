"""Keyed random numbers: word p of a draw of sample i is a function of (seed, split, name, i, p).

No generator objects: Philox4x32-10 with the draw's name in the key, the sample's index in the
counter. Words, uniforms and integers are equal bit by bit everywhere, normals to 2e-6. Axes: B
sample.
Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float32, Float64, Int64, UInt32

from ipads_stream.core import philox
from ipads_stream.core.backend import cuda_module, is_numpy, launch, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import keep

_LIMIT = 2**63
_CUDA_TEXT = Path(__file__).with_name("philox.cu")


@dataclass(frozen=True)
class Key:
    """One random stream of some samples.

    Args:
        words: the two halves of the 64-bit Philox key.
        indices: the samples' numbers, uint64, (B,).
    """

    words: tuple[int, int]
    indices: np.ndarray


@dataclass(frozen=True)
class Keys:
    """The random streams of some samples; ``keys[name]`` is that of a draw.

    Args:
        seed: 0 <= seed < 2**63.
        split: train, validation, test or any other name.
        indices: the samples' numbers, integers from 0 to 2**63 - 1, (B,).

    Raises:
        ConfigError: an argument is out of range; the message names it and what is allowed.
    """

    seed: int
    split: str
    indices: np.ndarray

    def __post_init__(self) -> None:
        is_integer = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool)
        if not is_integer or not 0 <= self.seed < _LIMIT:
            raise ConfigError("seed", self.seed, "a whole number, 0 to 2**63 - 1")
        if not isinstance(self.split, str) or not self.split:
            raise ConfigError("split", self.split, "a name that is not empty")
        indices = np.asarray(self.indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            given = f"{indices.dtype} of shape {indices.shape}"
            raise ConfigError("indices", given, "whole numbers along one axis")
        if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < _LIMIT):
            given = f"{indices.min()} to {indices.max()}"
            raise ConfigError("indices", given, "from 0 to 2**63 - 1")
        keep(self, seed=int(self.seed), indices=indices.astype(np.uint64))

    def __getitem__(self, name: str) -> Key:
        """The stream of one draw: key = BLAKE2b-64 of (seed, split, name)."""
        return Key(_key_words(self.seed, self.split, name), self.indices)


@lru_cache(maxsize=4096)  # a batch asks for those of the batch before
def _key_words(seed: int, split: str, name: str) -> tuple[int, int]:
    parts = [part.encode() for part in (str(seed), split, name)]
    # Lengths in front: ("a", "bc") and ("ab", "c") must differ.
    text = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    low, high = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), "<u4").tolist()
    return low, high


def words(key: Key, count: int, xp: Any = np) -> UInt32[Any, "B {count}"]:
    """Random 32-bit words, (B, count); word p is word p % 4 of counter block (index, p // 4)."""
    return _draw(key, count, False, xp)


def uniform(key: Key, shape: tuple[int, ...] = (), xp: Any = np) -> Float64[Any, "B ..."]:
    """Uniform numbers of the open interval (0, 1), (B, *shape): (word + 1/2) 2^-32, exact."""
    return _shaped((words(key, math.prod(shape), xp) + 0.5) * 2.0**-32, shape)


def integers(
    key: Key, low: int, high: int, shape: tuple[int, ...] = (), xp: Any = np
) -> Int64[Any, "B ..."]:
    """Integers from low to high, both included, (B, *shape): low + floor(word n / 2^32).

    With n = high - low + 1 the probability of each value differs from 1/n by less than 2^-32.

    Raises:
        ValueError: the range is empty or holds more than 2**32 integers.
    """
    n = high - low + 1
    if not 1 <= n <= 2**32 or not (low >= -_LIMIT and high < _LIMIT):
        allowed = "low <= high, integers of 64 bits and at most 2**32 of them are allowed"
        raise ValueError(f"low={low}, high={high}: {allowed}")
    scaled = words(key, math.prod(shape), xp).astype(xp.uint64) * xp.uint64(n) >> xp.uint64(32)
    return _shaped(scaled.astype(xp.int64) + low, shape)


def normal(key: Key, shape: tuple[int, ...] = (), xp: Any = np) -> Float32[Any, "B ..."]:
    """Standard normal numbers, (B, *shape): sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v).

    u and v are the uniforms of two words in turn. Within 1e-6 of this formula in float64; no value
    is beyond 6.77, the limit of a 32-bit uniform.
    Source: Box and Muller, Annals of Mathematical Statistics 29:610 (1958).
    """
    return _shaped(_draw(key, math.prod(shape), True, xp), shape)


def complex_normal(key: Key, shape: tuple[int, ...] = (), xp: Any = np) -> Complex[Any, "B ..."]:
    """Circular complex normal numbers, E|z|^2 = 1, (B, *shape); each from one pair of words."""
    pairs = _draw(key, 2 * math.prod(shape), True, xp)
    return _shaped((pairs * 0.5**0.5).view(xp.complex64), shape)


def permutation(key: Key, n: int, xp: Any = np) -> Int64[Any, "B {n}"]:
    """Random orders of 0 .. n - 1, (B, n): the stable order of n words.

    Equal words, of probability below n^2 2^-33, stay in place.
    """
    order = words(key, n, xp)
    return namespace(order).argsort(order, axis=-1, stable=True)


def _shaped(values: Any, shape: tuple[int, ...]) -> Any:
    return values.reshape(values.shape[0], *shape)


def _draw(key: Key, count: int, is_normal: bool, xp: Any) -> Any:
    if not 0 <= count <= 2**34:
        raise ValueError(f"count={count}: 0 <= count <= 2**34 is allowed")
    out = xp.empty((key.indices.size, count), dtype=xp.float32 if is_normal else xp.uint32)
    if out.size == 0:
        return out
    if is_numpy(out):
        if count > 4 and count % 4:  # whole blocks are placed without a branch: twice as fast
            whole = np.empty((key.indices.size, -(-count // 4) * 4), out.dtype)
            philox.draw(*key.words, key.indices, is_normal, whole)
            return whole[:, :count]
        philox.draw(*key.words, key.indices, is_normal, out)
    else:
        name, size = "normals" if is_normal else "words", key.indices.size
        counts = xp.asarray(key.indices), np.uint64(size), np.uint64(count)
        halves = (np.uint32(word) for word in key.words)
        launch(cuda_module(_CUDA_TEXT), name, size * -(-count // 4), *counts, *halves, out)
    return out
