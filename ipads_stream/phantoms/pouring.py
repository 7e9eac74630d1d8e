"""Textures poured into templates.

Source: Yang et al., IEEE Signal Processing Magazine 40(2), 2023, Fig. 6; how a texture becomes a
parameter is not stated there: these are choices of this project.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core.backend import namespace
from ipads_stream.distributions import Distribution
from ipads_stream.phantoms.smooth_fields import normalised


def by_rank(texture: Float[Any, "B ..."], distribution: Distribution) -> Float32[Any, "B ..."]:
    """A parameter whose values over the voxels of each map are spread as a distribution is.

    The voxel of rank r of n gets F^-1((r + 1/2) / n); equal voxels keep their order.

    Args:
        texture: (B, *grid).
        distribution: of the parameter, one that depends on nothing.
    """
    xp = namespace(texture)
    flat = xp.reshape(texture, (texture.shape[0], -1))
    n = flat.shape[1]
    quantiles = distribution.quantile((np.arange(n) + 0.5) / n).astype(np.float32)
    order = xp.argsort(flat, axis=1, stable=True)
    rank = xp.argsort(order, axis=1, stable=True)
    values = xp.take(xp.asarray(quantiles), xp.reshape(rank, (-1,)), axis=0)
    return xp.reshape(values, texture.shape)


def affine(texture: Float[Any, "B ..."], low: Any, high: Any) -> Float[Any, "B ..."]:
    """A parameter from ``low`` at the darkest voxel of each map to ``high`` at the brightest.

    Args:
        texture: (B, *grid).
        low, high: SI, numbers or (B,).
    """
    return normalised(texture, low, high)


def modulated(
    maps: Float[Any, "B ..."],
    texture: Float[Any, "B ..."],
    contrast: Any,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Float[Any, "B ..."]:
    """A map with a texture on it: m (1 + contrast (2 t - 1)), held between low and high.

    Args:
        maps: m, (B, ...).
        texture: t from 0 to 1, of a shape that broadcasts to it.
        contrast: 0 none, 1 from 0 to twice the value; a number or (B,).
        low, high: SI; voxels where m is 0 stay so.
    """
    xp = namespace(maps)
    contrast = xp.asarray(contrast, dtype=maps.dtype)
    if contrast.ndim:
        contrast = xp.reshape(contrast, (-1,) + (1,) * (maps.ndim - 1))
    out = maps * (1 + contrast * (2 * texture - 1))
    if low is not None or high is not None:
        out = xp.where(maps == 0, maps, xp.clip(out, low, high))
    return out


def mixed(shares: Float[Any, "B K ..."], textures: Float[Any, "B K ..."]) -> Float[Any, "B ..."]:
    """Several textures in one map, each where its share is: sum_k s_k t_k / sum_k s_k, 0 outside.

    Shares are maps of shapes whose values are 1 for their own texture and 0 for the others.

    Args:
        shares: (B, K, *grid).
        textures: (B, K, *grid).
    """
    xp = namespace(shares, textures)
    total = xp.sum(shares, axis=1)
    safe = xp.where(total > 1e-6, total, xp.ones_like(total))
    return xp.sum(shares * textures, axis=1) / safe
