"""Cramer-Rao bounds: how well any unbiased estimate could do, from the derivative of the signal.

The derivative comes from the caller: torch.func.jacfwd or jacrev of a forward model, finite
differences, or a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.epg_arguments import host

_SHARE = 0.05  # of a unit vector: parameters with less of a combination are not named


def fisher_information(
    jacobian: Float[Any, "*batch samples P"] | Complex[Any, "*batch samples P"],
    sigma: Float[Any, "..."] | float,
) -> Float[Any, "*batch P P"]:
    """The information that samples with Gaussian noise carry about the parameters.

    I_ij = sum_n Re(conj(ds_n / dp_i) ds_n / dp_j) / sigma_n^2

    Args:
        jacobian: ds_n / dp_i, real or complex, (*batch, samples, P), in units of the signal per
            unit of the parameter.
        sigma: standard deviation of the noise in each real channel, so of the real and of the
            imaginary part of a complex sample; number, (samples,) or (*batch, samples).

    Raises:
        ValueError: sigma is not positive and finite (checked where it is a number or of NumPy), the
            jacobian is not finite (by sample and parameter), or a shape does not fit.

    Source: Kay, Fundamentals of statistical signal processing: estimation theory, 1993, Eqs. (3.31)
    and (15.52).
    """
    xp = namespace(jacobian)
    if jacobian.ndim < 2:
        raise ValueError(f"jacobian of shape {tuple(jacobian.shape)}: (*batch, samples, P) is "
                         "allowed")  # fmt: skip
    _check_finite("jacobian", jacobian, ("sample", "parameter"))
    if is_numpy(sigma) or not hasattr(sigma, "shape"):
        values = np.asarray(sigma, float)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise ValueError(f"sigma={values[bad].flat[0]}: a positive and finite standard "
                             "deviation is allowed")  # fmt: skip
    spread: Any = sigma
    if hasattr(sigma, "shape") and len(sigma.shape):
        try:
            np.broadcast_shapes(tuple(sigma.shape), tuple(jacobian.shape[:-1]))
        except ValueError as error:
            raise ValueError(
                f"sigma of shape {tuple(sigma.shape)}: one that fits the samples, "
                f"{tuple(jacobian.shape[:-1])}, is allowed"
            ) from error
        spread = spread[..., None]
    parts = [jacobian]
    if xp.isdtype(jacobian.dtype, "complex floating"):
        parts = [xp.real(jacobian), xp.imag(jacobian)]
    if is_numpy(spread):
        spread = xp.asarray(spread, dtype=parts[0].dtype, device=device_of(jacobian))
    scaled = xp.concat([part / spread for part in parts], axis=-2)
    return xp.matmul(xp.matrix_transpose(scaled), scaled)


def bound(
    fisher: Float[Any, "*batch P P"], prior: Float[Any, "..."] | Sequence[float] | None = None
) -> Float[Any, "*batch P"]:
    """The least standard deviation of an unbiased estimate of every parameter, the others unknown.

    sd_i = sqrt((I^-1)_ii); with a Gaussian prior sqrt(((I + diag(1 / prior^2))^-1)_ii), where I is
    to be the average over the prior: the bound on the root mean square error of any estimate.

    Args:
        fisher: I, (*batch, P, P).
        prior: standard deviation of the prior of every parameter in its unit, (P,); inf: none.

    Raises:
        ValueError: prior is not positive, its shape does not fit, or the information is not finite.
        LinAlgError: of NumPy: the information is singular, to its precision, or not positive
            definite; the message gives the number of the parameters and of the member, and
            identifiable() says in which combination. Neither is seen where torch hides the values.

    Source: Kay 1993 (as above), Eq. (3.20); van Trees, Detection, estimation, and modulation
    theory I, 1968, section 2.4.2.
    """
    xp = namespace(fisher)
    num = fisher.shape[-1]
    unit = xp.eye(num, dtype=fisher.dtype, device=device_of(fisher))
    if prior is not None:
        if not hasattr(prior, "shape") or is_numpy(prior):
            values = np.asarray(prior, float)
            if values.shape != (num,):
                raise ValueError(f"prior of shape {values.shape}: ({num},) is allowed")
            if not np.all(values > 0):
                wrong = values[~(values > 0)].flat[0]
                raise ValueError(f"prior={wrong}: a positive standard deviation is allowed")
            spread: Any = xp.asarray(values, dtype=fisher.dtype, device=device_of(fisher))
        else:
            spread = prior
        fisher = fisher + unit / (spread * spread)
    _check_definite(fisher)
    size = xp.sqrt(xp.sum(fisher * unit, axis=-1))  # units of the parameters differ by decades
    inverse = xp.linalg.inv(fisher / (size[..., :, None] * size[..., None, :]))
    return xp.sqrt(xp.sum(inverse * unit, axis=-1)) / size


def _check_finite(name: str, x: Any, axes: tuple[str, str]) -> np.ndarray | None:
    """The values on the host, None where torch hides them; refuses what is not finite."""
    values = host(x)
    if values is not None and not np.isfinite(values).all():
        *member, i, j = (int(n) for n in np.argwhere(~np.isfinite(values))[0])
        of = f", member {tuple(member)}" if member else ""
        raise ValueError(f"{name}={values[(*member, i, j)]} of {axes[0]} {i}, {axes[1]} {j}{of}: "
                         "a finite number is allowed")  # fmt: skip
    return values


def _check_definite(fisher: Any) -> None:
    """Refuses information of which no bound follows: the inverse would hold no digit, or NaN."""
    values = _check_finite("fisher", fisher, ("row", "column"))
    if values is None or values.size == 0:
        return
    matrices = values.reshape(-1, *values.shape[-2:])
    diagonal = np.einsum("...ii->...i", matrices)
    size = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    scaled = matrices * size[:, :, None] * size[:, None, :]
    least, vectors = (x[..., 0] for x in np.linalg.eigh(scaled))
    # The bound of a matrix with this eigenvalue is off by the share that rounding has of it.
    singular = least <= 10 * scaled.shape[-1] * np.finfo(scaled.dtype).eps
    wrong = singular | (diagonal <= 0).any(axis=-1)
    if wrong.any():
        at = int(np.argmax(wrong))
        bare = np.flatnonzero(diagonal[at] <= 0)
        which = bare if bare.size else np.flatnonzero(np.abs(vectors[at]) > _SHARE)
        raise np.linalg.LinAlgError(
            f"fisher: parameter {', '.join(map(str, which))} of member {at}: a positive definite "
            f"matrix is allowed, its least eigenvalue is {least[at]:.1e} where the diagonal is 1; "
            "identifiable() says which combination the signal does not carry"
        )


def identifiable(
    fisher: Float[Any, "*batch P P"],
    names: Sequence[str],
    scale: Sequence[float] | None = None,
    tolerance: float | None = None,
) -> None:
    """Refuse a configuration whose signal does not change along some combination of parameters.

    The smallest eigenvalue of I_ij scale_i scale_j must exceed tolerance times the largest; its
    eigenvector is the combination that the signal does not carry.

    Args:
        fisher: I, (*batch, P, P); every member is tested.
        names: of the parameters, P of them.
        scale: a typical size or range of every parameter in its unit, (P,); None: 1 / sqrt(I_ii)
            of every member, which finds combinations but hides a parameter that by rounding alone
            has any information.
        tolerance: None: 1e-12, in float32 1e-6.

    Raises:
        ValueError: the information is singular to the tolerance, or not finite; the message names
            the parameters; or names, scale do not fit.
    """
    num = fisher.shape[-1]
    if len(names) != num:
        raise ValueError(f"names={list(names)}: {num} names are needed")
    if scale is not None and (len(scale) != num or not all(0 < x < float("inf") for x in scale)):
        raise ValueError(f"scale={list(scale)}: {num} positive and finite sizes are needed")
    xp = namespace(fisher)
    if tolerance is None:
        tolerance = 1e-12 if fisher.dtype == xp.float64 else 1e-6
    matrices = xp.reshape(fisher, (-1, num, num))
    if not bool(xp.all(xp.isfinite(matrices))):
        raise ValueError("fisher: a member is not finite, finite numbers are needed")
    unit = xp.eye(num, dtype=fisher.dtype, device=device_of(fisher))
    diagonal = xp.sum(matrices * unit, axis=-1)
    if scale is None:
        size = xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)) ** -0.5
    else:
        size = xp.asarray(list(scale), dtype=fisher.dtype, device=device_of(fisher))
        size = xp.broadcast_to(size, diagonal.shape)
    values, vectors = xp.linalg.eigh(matrices * size[:, :, None] * size[:, None, :])
    singular = values[:, 0] <= tolerance * values[:, -1]
    count = int(xp.sum(xp.astype(singular, xp.int64)))
    if not count:
        return
    member = int(xp.argmax(xp.astype(singular, xp.int64)))
    weights = [float(vectors[member, i, 0]) for i in range(num)]
    share = float(values[member, 0]) / (float(values[member, -1]) or 1.0)
    kept = [(w, name) for w, name in zip(weights, names, strict=True) if abs(w) > _SHARE]
    units = [float(x) for x in size[member, :]]
    steps = dict(zip(names, units, strict=True))
    change = ", ".join(f"{name} by {w * steps[name]:+.3g}" for w, name in kept)
    raise ValueError(
        f"{', '.join(name for _, name in kept)}: not identifiable in {count} of "
        f"{matrices.shape[0]} members; the signal stays as it is when one changes {change} "
        f"(information {share:.1e} of the best known combination, more than {tolerance:.1e} is "
        "needed)"
    )
